//! Directory entries of a floppy: names checked, long names cut into parts, the volume label.

use super::super::time::MediaTime;
use super::error::FloppyError;
use super::layout::{ATTRIBUTE_LABEL, LAST_LONG_ENTRY, LONG_ENTRY_UNITS, LongEntry, ShortEntry};
use super::short_name::ShortName;

/// Characters of a volume label.
const LABEL_BYTES: usize = 11;
/// Most UTF-16 units of a long name.
const MAX_NAME_UNITS: usize = 255;

/// A volume label as it is stored, padded with spaces.
pub(super) struct VolumeLabel([u8; LABEL_BYTES]);

impl VolumeLabel {
    pub(super) fn new(label: &str) -> Result<Self, FloppyError> {
        let refuse = |reason| Err(FloppyError::Label { label: label.to_owned(), reason });
        if !label.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
            return refuse("only printable ASCII characters are possible");
        }
        if label.len() > LABEL_BYTES {
            return refuse("it is longer than 11 characters");
        }
        if label.bytes().any(|byte| b"\"*+,./:;<=>?[\\]|".contains(&byte)) {
            return refuse("none of \"*+,./:;<=>?[\\]| may be in it");
        }
        if label.starts_with(' ') {
            return refuse("it starts with a space");
        }
        let mut bytes = *b"NO NAME    ";
        if !label.is_empty() {
            bytes = [b' '; LABEL_BYTES];
            bytes[..label.len()].copy_from_slice(label.as_bytes());
        }
        Ok(Self(bytes))
    }

    pub(super) const fn bytes(&self) -> &[u8; LABEL_BYTES] {
        &self.0
    }

    pub(super) fn entry(&self, time: MediaTime) -> ShortEntry {
        ShortEntry::new(self.0, ATTRIBUTE_LABEL, time, 0, 0)
    }
}

/// Says why FAT cannot store a name, if it cannot.
pub(super) fn name_problem(name: &str) -> Option<&'static str> {
    if name.encode_utf16().count() > MAX_NAME_UNITS {
        return Some("the name is longer than 255 characters");
    }
    if name.chars().any(|character| character < ' ' || character == '\u{7f}') {
        return Some("the name contains a control character");
    }
    if name.chars().any(|character| "\"*/:<>?\\|".contains(character)) {
        return Some("the name contains one of \" * / : < > ? \\ |");
    }
    if name.ends_with(['.', ' ']) {
        return Some("the name ends with a dot or a space, which guests would drop");
    }
    None
}

/// Returns the number of parts a long name takes.
pub(super) fn long_entry_count(name: &str) -> usize {
    name.encode_utf16().count().div_ceil(LONG_ENTRY_UNITS)
}

/// Returns the parts of a long name in the order in which they are stored: the end of the name first.
pub(super) fn long_entries(name: &str, short: &ShortName) -> Vec<LongEntry> {
    let units: Vec<u16> = name.encode_utf16().collect();
    let checksum = short.checksum();
    let count = units.len().div_ceil(LONG_ENTRY_UNITS);
    let mut entries: Vec<LongEntry> = units
        .chunks(LONG_ENTRY_UNITS)
        .enumerate()
        .map(|(index, chunk)| {
            // A name that does not fill its last part ends with 0, and the rest is FFFF.
            let mut padded = [0xFFFF; LONG_ENTRY_UNITS];
            padded[..chunk.len()].copy_from_slice(chunk);
            if let Some(end) = padded.get_mut(chunk.len()) {
                *end = 0;
            }
            // At most 255 units: at most 20 parts.
            let last = if index + 1 == count { LAST_LONG_ENTRY } else { 0 };
            LongEntry::new((index + 1) as u8 | last, checksum, padded)
        })
        .collect();
    entries.reverse();
    entries
}
