//! Reads a descriptor, line by line: never by searching for words, which would find `CID` inside `parentCID`.

use super::encoding::Encoding;
use crate::error::{ErrorKind, Result};
use crate::reading::opening::Opening;
use crate::reading::source_file::SourceFile;

/// Longest descriptor in bytes (qemu's limit for stand-alone ones).
pub(crate) const MAX_DESCRIPTOR: u64 = 1 << 20;
/// Most lines.
const MAX_LINES: usize = 4096;

/// What may be done with an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ParsedKind {
    /// Bytes as they are, from this sector of the file on.
    Flat(u64),
    /// A hosted sparse file.
    Sparse,
    /// ESX's copy-on-write file.
    VmfsSparse,
    /// ESX's space-efficient sparse file.
    SeSparse,
    /// Zeroes without a file.
    Zero,
}

impl ParsedKind {
    /// Returns the word of a line in a descriptor of this type.
    pub(crate) fn word(self, create_type: &str) -> &'static str {
        match self {
            Self::Flat(_) if create_type.starts_with("vmfs") => "VMFS",
            Self::Flat(_) => "FLAT",
            Self::Sparse => "SPARSE",
            Self::VmfsSparse => "VMFSSPARSE",
            Self::SeSparse => "SESPARSE",
            Self::Zero => "ZERO",
        }
    }
}

/// The name of another file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct FileName {
    pub(crate) text: String,
    /// Why its bytes are no text. That matters only to whoever opens the file: a descriptor in a sparse file names that one.
    broken: Option<String>,
}

impl FileName {
    /// Opens the file that `from` names at `at`, if the policy allows it.
    pub(crate) fn open(&self, opening: &Opening<'_>, from: &SourceFile, at: u64) -> Result<SourceFile> {
        match &self.broken {
            None => opening.open_named(&self.text, from, at),
            Some(rule) => Err(from
                .error(ErrorKind::Corrupt, rule.clone())
                .at(at)
                .with_hint("correct the descriptor's line `encoding=`, or rename the file there and on the disk")),
        }
    }
}

/// One extent line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ParsedExtent {
    pub(crate) sectors: u64,
    pub(crate) kind: ParsedKind,
    /// File name; empty for [`ParsedKind::Zero`].
    pub(crate) file: FileName,
    /// Offset of the line in the file that holds the descriptor.
    pub(crate) at: u64,
}

/// A descriptor that was read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct ParsedDescriptor {
    pub(crate) content_id: Option<u32>,
    /// Content identifier of the parent; `None` without parent.
    pub(crate) parent_content_id: Option<u32>,
    pub(crate) parent_hint: Option<FileName>,
    /// The disk's own UUID (`ddb.uuid.image`), and its parent's (`ddb.uuid.parent`, `None` without parent): by this alone VirtualBox says that
    /// there is one, for its `parentCID` is that of a disk without.
    pub(crate) uuid: Option<String>,
    pub(crate) parent_uuid: Option<String>,
    /// Offset of the first line about the parent.
    pub(crate) parent_at: u64,
    pub(crate) create_type: String,
    pub(crate) extents: Vec<ParsedExtent>,
}

impl ParsedDescriptor {
    /// Reads the text up to its first zero byte; `offset` is its place in the file.
    pub(crate) fn parse(bytes: &[u8], offset: u64, file: &SourceFile) -> Result<Self> {
        let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let lines = || bytes[..end].split_inclusive(|byte| *byte == b'\n');
        let encoding = lines().take(MAX_LINES).find_map(declared_encoding).unwrap_or_default();
        let mut descriptor = Self::default();
        let mut next = offset;
        // No encoding that is taken has the bytes of line feed, quote or equals sign inside other characters.
        for (number, line) in lines().enumerate() {
            let at = next;
            next += line.len() as u64;
            let (text, broken) = encoding.decode(line);
            let line = text.trim();
            if number >= MAX_LINES {
                return Err(file.error(ErrorKind::Corrupt, "the descriptor has more than 4096 lines").at(at));
            }
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let has_parent = descriptor.has_parent();
            let told = |rule: &str| format!("line {} of the descriptor: {rule}", number + 1);
            let broken = broken.map(|rule| told(&rule));
            let is_header = descriptor.header_line(line, broken.as_deref());
            if descriptor.has_parent() != has_parent {
                descriptor.parent_at = at;
            }
            if is_header {
                continue;
            }
            let extent = parse_extent(line).map_err(|rule| file.error(ErrorKind::Corrupt, told(rule)).at(at))?;
            descriptor.extents.extend(extent.map(|extent| {
                let name = FileName { broken, ..extent.file };
                ParsedExtent { at, file: name, ..extent }
            }));
        }
        Ok(descriptor)
    }

    /// Takes `key = value`; the first of several counts. False when the line is something else.
    fn header_line(&mut self, line: &str, broken: Option<&str>) -> bool {
        let Some((key, value)) = line.split_once('=') else { return false };
        let key = key.trim().to_ascii_lowercase();
        if key.contains([' ', '"']) {
            return false;
        }
        let value = value.trim().trim_matches('"');
        let hex = u32::from_str_radix(value, 16).ok();
        match key.as_str() {
            "cid" => self.content_id = self.content_id.or(hex),
            "parentcid" => {
                self.parent_content_id = self.parent_content_id.or(hex.filter(|id| *id != u32::MAX));
            }
            "parentfilenamehint" if self.parent_hint.is_none() => {
                self.parent_hint = Some(FileName { text: printable(value), broken: broken.map(str::to_owned) });
            }
            "ddb.uuid.image" if self.uuid.is_none() => self.uuid = Some(value.to_ascii_lowercase()),
            "ddb.uuid.parent" if self.parent_uuid.is_none() && value.contains(|c| !matches!(c, '0' | '-')) => {
                self.parent_uuid = Some(value.to_ascii_lowercase());
            }
            "createtype" if self.create_type.is_empty() => self.create_type = printable(value),
            _ => {}
        }
        true
    }

    /// Whether the disk lies on another.
    pub(crate) fn has_parent(&self) -> bool {
        self.parent_content_id.is_some() || self.parent_uuid.is_some()
    }

    /// Returns the sum of all extents in sectors.
    pub(crate) fn sectors(&self) -> Option<u64> {
        self.extents.iter().try_fold(0u64, |sum, extent| sum.checked_add(extent.sectors))
    }
}

/// Reads the line `encoding="NAME"`.
fn declared_encoding(line: &[u8]) -> Option<Encoding> {
    let (key, value) = std::str::from_utf8(line).ok()?.split_once('=')?;
    key.trim().eq_ignore_ascii_case("encoding").then(|| Encoding::named(value.trim().trim_matches('"')))
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// Reads `ACCESS SECTORS TYPE "NAME" OFFSET`; `None` for a line that is no extent.
fn parse_extent(line: &str) -> Result<Option<ParsedExtent>, &'static str> {
    let (before, name, after) = match line.split_once('"') {
        Some((before, rest)) => match rest.split_once('"') {
            Some((name, after)) => (before, name, after),
            None => return Err("a file name without its closing quote"),
        },
        None => (line, "", ""),
    };
    let mut words = before.split_whitespace();
    match words.next() {
        Some(access) if access.eq_ignore_ascii_case("RW") || access.eq_ignore_ascii_case("RDONLY") => {}
        Some(access) if access.eq_ignore_ascii_case("NOACCESS") => return Err("an extent that may not be read"),
        _ => return Ok(None),
    }
    let sectors = words.next().and_then(|word| word.parse().ok()).ok_or("an extent without its number of sectors")?;
    let offset = match after.split_whitespace().next() {
        Some(word) => word.parse().map_err(|_| "an extent's offset is not a number")?,
        None => 0,
    };
    let kind = match words.next().unwrap_or_default().to_ascii_uppercase().as_str() {
        "FLAT" => ParsedKind::Flat(offset),
        "VMFS" => ParsedKind::Flat(0),
        "SPARSE" => ParsedKind::Sparse,
        "VMFSSPARSE" => ParsedKind::VmfsSparse,
        "SESPARSE" => ParsedKind::SeSparse,
        "ZERO" => ParsedKind::Zero,
        _ => return Err("an extent of an unsupported type"),
    };
    if name.is_empty() && kind != ParsedKind::Zero {
        return Err("an extent without its file name");
    }
    Ok(Some(ParsedExtent { sectors, kind, file: FileName { text: name.to_owned(), broken: None }, at: 0 }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extent_lines_of_all_kinds_are_read() {
        let parsed = |line| parse_extent(line).unwrap().unwrap();
        let named = |text: &str| FileName { text: text.to_owned(), broken: None };
        assert_eq!(
            parsed("RW 2048 FLAT \"a b-flat.vmdk\" 128"),
            ParsedExtent { sectors: 2048, kind: ParsedKind::Flat(128), file: named("a b-flat.vmdk"), at: 0 }
        );
        assert_eq!(parsed("RDONLY 1 sparse \"x\"").kind, ParsedKind::Sparse);
        assert_eq!(parsed("RW 63 ZERO").kind, ParsedKind::Zero);
        assert_eq!(parse_extent("ddb.foo"), Ok(None));
        for line in ["NOACCESS 1 ZERO", "RW x FLAT \"a\"", "RW 1 FLAT \"a", "RW 1 FLAT", "RW 1 VMFSRDM \"a\""] {
            assert!(parse_extent(line).is_err(), "{line}");
        }
    }

    #[test]
    fn keys_are_told_apart_and_the_first_counts() {
        let mut descriptor = ParsedDescriptor::default();
        for line in ["parentCID=ffffffff", "CID=12ab", "CID=99", "createType=\"vmfs\"", "ddb.x = \"CID=5\""] {
            assert!(descriptor.header_line(line, None));
        }
        assert_eq!(descriptor.content_id, Some(0x12ab));
        assert_eq!(descriptor.parent_content_id, None);
        assert_eq!(descriptor.create_type, "vmfs");
    }
}
