//! Replays the log into memory: the user's file is never changed (MS-VHDX section 2.3).

use std::collections::BTreeMap;
use std::ops::Range;

use zerocopy::FromBytes;
use zerocopy::byteorder::{LE, U32, U64};
use zerocopy::{Immutable, IntoBytes, KnownLayout, Unaligned};

use super::crc32c::is_whole;
use super::layout::{Header, MAX_LOG};
use crate::error::{ErrorKind, Result};
use crate::reading::source_file::SourceFile;

/// Unit of the log and of what it replaces in bytes.
const SECTOR: usize = 4096;
/// Most memory that replayed zeroes may be spread over, in sectors.
const MAX_ZERO_SECTORS: u64 = 1 << 16;

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct EntryHeader {
    /// `loge`.
    signature: [u8; 4],
    checksum: U32<LE>,
    /// Bytes of the entry, a multiple of 4 KiB.
    length: U32<LE>,
    /// Offset in the log of the oldest entry that is still needed.
    tail: U32<LE>,
    sequence: U64<LE>,
    descriptors: U32<LE>,
    reserved: U32<LE>,
    log_guid: [u8; 16],
    flushed_file_offset: U64<LE>,
    last_file_offset: U64<LE>,
}

const _: () = assert!(size_of::<EntryHeader>() == 64);

#[derive(Debug, Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct Descriptor {
    /// `desc` or `zero`.
    signature: [u8; 4],
    /// The last four bytes of the sector that is replaced.
    trailing: [u8; 4],
    /// The first eight bytes of that sector, or the length of the zeroes.
    leading: U64<LE>,
    file_offset: U64<LE>,
    sequence: U64<LE>,
}

const _: () = assert!(size_of::<Descriptor>() == 32);

/// What the log changes: 4 KiB sectors by their offset in the file.
#[derive(Debug, Default)]
pub(crate) struct Replayed {
    sectors: BTreeMap<u64, Box<[u8; SECTOR]>>,
}

/// A valid entry, its data sectors included.
struct Entry {
    bytes: Vec<u8>,
    header: EntryHeader,
    /// Offset in the log.
    at: u64,
}

impl Replayed {
    /// Replays the log of an image that was not closed cleanly.
    pub(crate) fn read(file: &SourceFile, header: &Header) -> Result<Self> {
        let (offset, length) = (header.log_offset.get(), u64::from(header.log_length.get()));
        if header.log_version.get() != 0 {
            return Err(file.error(ErrorKind::Unsupported, "an unknown version of the log").at(offset));
        }
        if length > MAX_LOG || length == 0 || !length.is_multiple_of(SECTOR as u64) {
            let rule = "the log's length is not a multiple of 4 KiB up to 64 MiB";
            return Err(file.error(ErrorKind::Corrupt, rule).at(offset));
        }
        let log = file.read_table(offset, length, "the log")?;
        let Some(sequence) = newest_sequence(&log, &header.log_guid) else {
            return Err(file
                .error(ErrorKind::Corrupt, "the log has to be replayed but holds no valid entries")
                .at(offset));
        };
        let mut replayed = Self::default();
        for entry in &sequence {
            replayed.apply(file, entry).map_err(|error| error.at(offset + entry.at))?;
        }
        Ok(replayed)
    }

    /// Puts replayed bytes over those that were read from `offset`.
    pub(crate) fn overlay(&self, offset: u64, buf: &mut [u8]) {
        if self.sectors.is_empty() {
            return;
        }
        let range: Range<u64> = offset / SECTOR as u64 * SECTOR as u64..offset.saturating_add(buf.len() as u64);
        for (at, sector) in self.sectors.range(range) {
            let from = at.max(&offset) - at;
            let to = at.max(&offset) - offset;
            let len = (SECTOR - from as usize).min(buf.len() - to as usize);
            buf[to as usize..to as usize + len].copy_from_slice(&sector[from as usize..from as usize + len]);
        }
    }

    fn apply(&mut self, file: &SourceFile, entry: &Entry) -> Result<()> {
        let wrong = |rule: &'static str| Err(file.error(ErrorKind::Corrupt, rule));
        let count = entry.header.descriptors.get() as usize;
        let descriptors_end = size_of::<EntryHeader>() + count * size_of::<Descriptor>();
        let mut data =
            entry.bytes.get(descriptors_end.next_multiple_of(SECTOR)..).unwrap_or_default().chunks_exact(SECTOR);
        let Some(descriptors) = entry.bytes.get(size_of::<EntryHeader>()..descriptors_end) else {
            return wrong("a log entry has more descriptors than room");
        };
        for bytes in descriptors.chunks_exact(size_of::<Descriptor>()) {
            let Ok(descriptor) = Descriptor::read_from_bytes(bytes) else { return wrong("a log descriptor") };
            let offset = descriptor.file_offset.get();
            if !offset.is_multiple_of(SECTOR as u64) || descriptor.sequence != entry.header.sequence {
                return wrong("a log descriptor contradicts its entry");
            }
            match &descriptor.signature {
                b"desc" => {
                    let Some(sector) = data.next() else { return wrong("a log entry lacks a data sector") };
                    let high = u64::from(u32::from_le_bytes([sector[4], sector[5], sector[6], sector[7]]));
                    let low = u64::from(u32::from_le_bytes([sector[4092], sector[4093], sector[4094], sector[4095]]));
                    if !sector.starts_with(b"data") || high << 32 | low != entry.header.sequence.get() {
                        return wrong("a log data sector does not belong to its entry");
                    }
                    let mut whole = Box::new([0; SECTOR]);
                    whole.copy_from_slice(sector);
                    whole[..8].copy_from_slice(&descriptor.leading.get().to_le_bytes());
                    whole[4092..].copy_from_slice(&descriptor.trailing);
                    self.sectors.insert(offset, whole);
                }
                b"zero" => {
                    let sectors = descriptor.leading.get() / SECTOR as u64;
                    if sectors > MAX_ZERO_SECTORS || offset.checked_add(descriptor.leading.get()).is_none() {
                        return wrong("a log entry zeroes more than 256 MiB");
                    }
                    for index in 0..sectors {
                        self.sectors.insert(offset + index * SECTOR as u64, Box::new([0; SECTOR]));
                    }
                }
                _ => return wrong("an unknown log descriptor"),
            }
        }
        Ok(())
    }
}

/// Returns the valid sequence that ends at the highest sequence number, oldest entry first.
fn newest_sequence(log: &[u8], guid: &[u8; 16]) -> Option<Vec<Entry>> {
    let mut best: Option<Vec<Entry>> = None;
    for start in (0..log.len()).step_by(SECTOR) {
        let Some(run) = run_from(log, start as u64, guid) else { continue };
        let newest = |run: &[Entry]| run.last().map(|entry| entry.header.sequence.get());
        if best.as_deref().and_then(newest) < newest(&run) {
            best = Some(run);
        }
    }
    let run = best?;
    // The newest entry says where the sequence begins; what comes before was written to its place already.
    let tail = u64::from(run.last()?.header.tail.get());
    let begin = run.iter().position(|entry| entry.at == tail)?;
    Some(run.into_iter().skip(begin).collect())
}

/// Collects consecutive valid entries from `start` on, around the end of the log.
fn run_from(log: &[u8], start: u64, guid: &[u8; 16]) -> Option<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut at = start;
    let mut total = 0;
    while let Some(entry) = entry_at(log, at, guid) {
        let follows = entries
            .last()
            .is_none_or(|last| last.header.sequence.get().checked_add(1) == Some(entry.header.sequence.get()));
        total += entry.bytes.len();
        if !follows || total > log.len() {
            break;
        }
        at = (at + entry.bytes.len() as u64) % log.len() as u64;
        entries.push(entry);
    }
    (!entries.is_empty()).then_some(entries)
}

fn entry_at(log: &[u8], at: u64, guid: &[u8; 16]) -> Option<Entry> {
    let front = around(log, at, size_of::<EntryHeader>());
    let header = EntryHeader::read_from_bytes(&front).ok()?;
    let length = header.length.get() as usize;
    let fits = length >= SECTOR && length.is_multiple_of(SECTOR) && length <= log.len();
    if header.signature != *b"loge" || header.log_guid != *guid || !fits || header.sequence.get() == 0 {
        return None;
    }
    let bytes = around(log, at, length);
    is_whole(&bytes).then_some(Entry { bytes, header, at })
}

/// Copies bytes out of the ring.
fn around(log: &[u8], at: u64, len: usize) -> Vec<u8> {
    let at = at as usize % log.len();
    let first = len.min(log.len() - at);
    [&log[at..at + first], &log[..len - first]].concat()
}
