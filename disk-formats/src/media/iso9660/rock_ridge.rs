//! Rock Ridge (IEEE P1282 as it was at RRIP 1.10) on the System Use Sharing Protocol 1.10: POSIX names, modes and times.

use zerocopy::IntoBytes;

use super::super::time::MediaTime;
use super::layout::SECTOR_BYTES;
use super::records::{Both32, MAX_RECORD_BYTES, RecordTime, record_prefix_bytes};

/// File type bits of a POSIX mode: directory.
pub(super) const MODE_DIRECTORY: u32 = 0o040_000;
/// File type bits of a POSIX mode: regular file.
pub(super) const MODE_FILE: u32 = 0o100_000;

/// Bytes of the entry that points to a continuation.
const CONTINUATION_ENTRY_BYTES: usize = 28;
/// Longest piece of a name: an entry has a length of one byte, and five bytes before the piece.
const NAME_PIECE_BYTES: usize = 250;
/// The name goes on in the next entry.
const NAME_CONTINUES: u8 = 1;
/// The time entry holds modification, access and attribute change, in the short form.
const TIME_FLAGS: u8 = 0b1110;

/// The extension announced to readers. Its texts are fixed by the specification.
const EXTENSION: &[u8] = b"RRIP_1991A";
const EXTENSION_DESCRIPTION: &[u8] =
    b"THE ROCK RIDGE INTERCHANGE PROTOCOL PROVIDES SUPPORT FOR POSIX FILE SYSTEM SEMANTICS";
const EXTENSION_SOURCE: &[u8] =
    b"PLEASE CONTACT DISC PUBLISHER FOR SPECIFICATION SOURCE.  SEE PUBLISHER IDENTIFIER IN \
PRIMARY VOLUME DESCRIPTOR FOR CONTACT INFORMATION.";

/// What stands behind the identifier of a directory record.
#[derive(Clone, Debug, Default)]
pub(super) struct SystemUse {
    /// What fits into the record.
    inline: Vec<u8>,
    /// The rest, in the continuation area.
    continuation: Option<Continuation>,
}

#[derive(Clone, Copy, Debug)]
struct Continuation {
    /// Offset from the start of the area in bytes.
    offset: usize,
    bytes: usize,
}

/// What did not fit into directory records; follows the directories on the CD.
#[derive(Clone, Debug, Default)]
pub(super) struct ContinuationArea {
    bytes: Vec<u8>,
}

impl ContinuationArea {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Stores a piece; no piece crosses the end of a sector, because readers load one sector per piece.
    fn store(&mut self, piece: &[u8]) -> Continuation {
        assert!(piece.len() <= SECTOR_BYTES, "a name is at most 255 bytes");
        let left = self.bytes.len().next_multiple_of(SECTOR_BYTES) - self.bytes.len();
        if left < piece.len() {
            self.bytes.resize(self.bytes.len() + left, 0);
        }
        let offset = self.bytes.len();
        self.bytes.extend_from_slice(piece);
        Continuation { offset, bytes: piece.len() }
    }
}

impl SystemUse {
    /// Makes the system use of a named entry.
    pub(super) fn named(
        name: &str,
        mode: u32,
        links: u32,
        time: MediaTime,
        identifier: &[u8],
        area: &mut ContinuationArea,
    ) -> Self {
        let mut entries = vec![attributes(mode, links), times(time)];
        entries.extend(name_entries(name));
        Self::fit(&entries, identifier, area)
    }

    /// Makes the system use of `.` or `..`.
    pub(super) fn unnamed(links: u32, time: MediaTime, identifier: &[u8], area: &mut ContinuationArea) -> Self {
        Self::fit(&[attributes(MODE_DIRECTORY | 0o755, links), times(time)], identifier, area)
    }

    /// Makes the system use of `.` in the root, which also announces the protocol.
    pub(super) fn root(links: u32, time: MediaTime, identifier: &[u8], area: &mut ContinuationArea) -> Self {
        let entries = [sharing_protocol(), attributes(MODE_DIRECTORY | 0o755, links), times(time), extension()];
        Self::fit(&entries, identifier, area)
    }

    fn fit(entries: &[Vec<u8>], identifier: &[u8], area: &mut ContinuationArea) -> Self {
        let room = MAX_RECORD_BYTES - record_prefix_bytes(identifier);
        let total: usize = entries.iter().map(Vec::len).sum();
        if total <= room {
            return Self { inline: entries.concat(), continuation: None };
        }
        let mut inline = Vec::new();
        let mut rest = Vec::new();
        for entry in entries {
            // Entries keep their order: once one has gone to the continuation, all that follow go there too.
            if rest.is_empty() && inline.len() + entry.len() + CONTINUATION_ENTRY_BYTES <= room {
                inline.extend_from_slice(entry);
            } else {
                rest.extend_from_slice(entry);
            }
        }
        let continuation = Some(area.store(&rest));
        Self { inline, continuation }
    }

    pub(super) const fn record_bytes(&self) -> usize {
        self.inline.len() + if self.continuation.is_some() { CONTINUATION_ENTRY_BYTES } else { 0 }
    }

    /// Returns the bytes for the record, now that the sector of the continuation area is known.
    pub(super) fn bytes(&self, area_first_sector: u32) -> Vec<u8> {
        let mut bytes = self.inline.clone();
        if let Some(Continuation { offset, bytes: length }) = self.continuation {
            let sector = area_first_sector + (offset / SECTOR_BYTES) as u32;
            let fields = [sector, (offset % SECTOR_BYTES) as u32, length as u32].map(Both32::new);
            bytes.extend(entry(b"CE", fields.as_bytes()));
        }
        bytes
    }
}

fn entry(signature: &[u8; 2], payload: &[u8]) -> Vec<u8> {
    const VERSION: u8 = 1;
    let length = payload.len() + 4;
    let mut bytes = Vec::with_capacity(length);
    bytes.extend_from_slice(signature);
    // All callers stay below 256 bytes; the longest is a piece of a name.
    bytes.extend([length as u8, VERSION]);
    bytes.extend_from_slice(payload);
    bytes
}

/// `SP`: the protocol is in use, and system use starts right behind the identifier.
fn sharing_protocol() -> Vec<u8> {
    entry(b"SP", &[0xBE, 0xEF, 0])
}

/// `ER`: which extension is in use.
fn extension() -> Vec<u8> {
    let lengths = [EXTENSION, EXTENSION_DESCRIPTION, EXTENSION_SOURCE].map(|text| text.len() as u8);
    let mut payload = lengths.to_vec();
    payload.push(1);
    payload.extend([EXTENSION, EXTENSION_DESCRIPTION, EXTENSION_SOURCE].concat());
    entry(b"ER", &payload)
}

/// `PX`: mode, number of links, and root as owner and group.
fn attributes(mode: u32, links: u32) -> Vec<u8> {
    entry(b"PX", [mode, links, 0, 0].map(Both32::new).as_bytes())
}

/// `TF`: times.
fn times(time: MediaTime) -> Vec<u8> {
    let mut payload = vec![TIME_FLAGS];
    payload.extend_from_slice([RecordTime::new(time); 3].as_bytes());
    entry(b"TF", &payload)
}

/// `NM`: the name as it is, in one or two pieces.
fn name_entries(name: &str) -> Vec<Vec<u8>> {
    let count = name.len().div_ceil(NAME_PIECE_BYTES);
    name.as_bytes()
        .chunks(NAME_PIECE_BYTES)
        .enumerate()
        .map(|(index, piece)| {
            let mut payload = vec![if index + 1 < count { NAME_CONTINUES } else { 0 }];
            payload.extend_from_slice(piece);
            entry(b"NM", &payload)
        })
        .collect()
}
