//! Reads qcow2 images of both versions.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use zerocopy::FromBytes;
use zerocopy::byteorder::{BE, U64};

use super::entry::{self, Mapping, OFFSET_MASK};
use super::header::{CheckedHeader, CompressionType};
use super::info::facts;
use super::layout::Incompatible;
use super::overlaps::Search;
use super::snapshots;
use crate::error::{Error, ErrorKind, Result};
use crate::reading::cache::Cache;
use crate::reading::extent::{Extent, ExtentKind, clip, clip_read, push_extent};
use crate::reading::image_info::ImageInfo;
use crate::reading::map;
use crate::reading::map::MapEntry;
use crate::reading::mapping::MAX_STEPS;
use crate::reading::mapping::push_below;
use crate::reading::opening::Opening;
use crate::reading::reader::DiskReader;
use crate::reading::source_file::SourceFile;

/// Memory for L2 tables in bytes: 16 GiB of guest disk with the usual clusters.
const L2_CACHE_BYTES: u64 = 2 << 20;
/// Memory for inflated clusters in bytes, so that reads smaller than a cluster do not inflate it again.
const CLUSTER_CACHE_BYTES: u64 = 4 << 20;
/// Extents returned at once.
const MAX_EXTENTS: usize = 4096;

/// An opened qcow2 image with its backing chain.
pub(crate) struct Qcow2Reader {
    file: SourceFile,
    header: CheckedHeader,
    l1: Vec<U64<BE>>,
    l2: Cache<Vec<U64<BE>>>,
    clusters: Cache<Vec<u8>>,
    backing: Option<Box<dyn DiskReader>>,
    /// Holds the guest data when the image keeps it elsewhere.
    data_file: Option<SourceFile>,
}

impl Qcow2Reader {
    /// Opens the disk, as it is or as it was when a snapshot was taken.
    pub(crate) fn open(file: SourceFile, snapshot: Option<&str>, opening: &Opening<'_>) -> Result<Self> {
        let mut header = CheckedHeader::read(&file)?;
        if let Some(snapshot) = snapshot {
            header = snapshots::header_of(&file, &header, snapshot)?;
        }
        opening.check_virtual_size(header.size, &file, 24)?;
        let l1_bytes = file.read_table(header.l1_offset, u64::from(header.l1_entries) * 8, "the l1 table")?;
        let l1 = <[U64<BE>]>::ref_from_bytes(&l1_bytes).map_err(|_| Error::corrupt("the l1 table"))?.to_vec();
        let data_file = match (&header.data_file, header.incompatible & Incompatible::EXTERNAL_DATA != 0) {
            (_, false) => None,
            (Some(name), true) => Some(opening.open_named(name, &file, 72)?),
            (None, true) => return Err(file.error(ErrorKind::Corrupt, "the external data file has no name").at(72)),
        };
        let backing = match &header.backing_name {
            None => None,
            Some(name) => Some(opening.open_backing(name, header.backing_format.as_deref(), &file, 8)?),
        };
        let cluster_size = header.cluster_size();
        Ok(Self {
            l2: Cache::new(L2_CACHE_BYTES / cluster_size),
            clusters: Cache::new(CLUSTER_CACHE_BYTES / cluster_size),
            file,
            header,
            l1,
            backing,
            data_file,
        })
    }

    /// Returns the L2 table for an L1 index; `None` when the whole range is unallocated.
    fn l2_table(&self, index: usize) -> Result<Option<Arc<Vec<U64<BE>>>>> {
        let l1_entry = self.l1.get(index).map_or(0, |entry| entry.get());
        let offset = l1_entry & OFFSET_MASK;
        if offset == 0 {
            return Ok(None);
        }
        if !offset.is_multiple_of(self.header.cluster_size()) {
            let at = self.header.l1_offset + index as u64 * 8;
            return Err(self.file.error(ErrorKind::Corrupt, "an l2 table is not aligned to a cluster").at(at));
        }
        self.l2
            .get(offset, || {
                let bytes = self.file.read_table(offset, self.header.cluster_size(), "an l2 table")?;
                let table = <[U64<BE>]>::ref_from_bytes(&bytes).map_err(|_| Error::corrupt("an l2 table"))?;
                Ok(table.to_vec())
            })
            .map(Some)
    }

    /// Returns what is at `guest` and how many bytes from there on it holds for (at most up to a cluster's end, or to the end of
    /// an unallocated L2 range).
    fn place(&self, guest: u64) -> Result<(Mapping, u64)> {
        self.entry(guest).map(|(mapping, len, _)| (mapping, len))
    }

    /// The same, with the offset of the cluster that is kept for it, where there is one.
    fn entry(&self, guest: u64) -> Result<(Mapping, u64, Option<u64>)> {
        let header = &self.header;
        let l2_span_bits = header.cluster_bits + header.l2_bits();
        let l1_index = (guest >> l2_span_bits) as usize;
        let Some(table) = self.l2_table(l1_index)? else {
            let span = 1 << l2_span_bits;
            return Ok((Mapping::Unallocated, span - guest % span, None));
        };
        let l2_index = (guest >> header.cluster_bits) as usize & ((1 << header.l2_bits()) - 1);
        let within = guest % header.cluster_size();
        if !header.extended_l2() {
            let mapping = entry::standard(table[l2_index].get(), header.cluster_bits, header.version);
            let mapping = self.at_offset_zero(mapping, table[l2_index].get());
            self.check_alignment(mapping, guest)?;
            return Ok((mapping, header.cluster_size() - within, kept(mapping, table[l2_index].get())));
        }
        let subcluster_bits = header.cluster_bits - 5;
        let (first, bitmap) = (table[l2_index * 2].get(), table[l2_index * 2 + 1].get());
        let mapping = entry::extended(first, bitmap, (within >> subcluster_bits) as u32, header.cluster_bits);
        let mapping = mapping.ok_or_else(|| {
            let rule = format!("the sub-cluster bits of guest offset {guest:#x} contradict each other");
            let l1_entry = self.l1.get(l1_index).map_or(0, |entry| entry.get());
            self.file.error(ErrorKind::Corrupt, rule).at((l1_entry & OFFSET_MASK) + l2_index as u64 * 16)
        })?;
        let unit = match mapping {
            Mapping::Compressed { .. } => header.cluster_size(),
            _ => 1 << subcluster_bits,
        };
        Ok((mapping, unit - within % unit, kept(mapping, first)))
    }

    /// In an external data file, offset 0 is a place like any other; there the COPIED bit says that it is meant.
    fn at_offset_zero(&self, mapping: Mapping, entry: u64) -> Mapping {
        match mapping {
            Mapping::Unallocated if self.data_file.is_some() && entry & entry::COPIED != 0 => Mapping::Data(0),
            mapping => mapping,
        }
    }

    fn check_alignment(&self, mapping: Mapping, guest: u64) -> Result<()> {
        match mapping {
            Mapping::Data(offset) if !offset.is_multiple_of(self.header.cluster_size()) => {
                let rule = format!("the data of guest offset {guest:#x} is not aligned to a cluster");
                Err(self.file.error(ErrorKind::Corrupt, rule).at(offset))
            }
            _ => Ok(()),
        }
    }

    /// Reads one mapped run. `buf` does not reach past what `mapping` holds for.
    fn read_mapped(&self, mapping: Mapping, guest: u64, buf: &mut [u8]) -> Result<()> {
        match (mapping, &self.backing) {
            (Mapping::Zero, _) | (Mapping::Unallocated, None) => buf.fill(0),
            (Mapping::Unallocated, Some(backing)) => backing.read_at(guest, buf)?,
            (Mapping::Data(offset), _) => {
                let unit =
                    if self.header.extended_l2() { self.header.cluster_bits - 5 } else { self.header.cluster_bits };
                let within = guest % (1 << unit);
                let file = self.data_file.as_ref().unwrap_or(&self.file);
                if offset >= file.len() {
                    return Err(file
                        .error(ErrorKind::Truncated, "a data cluster lies behind the end of the file")
                        .at(offset));
                }
                // QEMU may leave the last cluster of the file short; the rest is zero.
                file.read_padded_at(offset + within, buf)?;
            }
            (Mapping::Compressed { offset, length }, _) if buf.len() as u64 == self.header.cluster_size() => {
                self.unpack(offset, length, buf)?;
            }
            (Mapping::Compressed { offset, length }, _) => {
                let cluster = self.clusters.get(offset, || {
                    let mut cluster = vec![0; self.header.cluster_size() as usize];
                    self.unpack(offset, length, &mut cluster)?;
                    Ok(cluster)
                })?;
                let within = (guest % self.header.cluster_size()) as usize;
                buf.copy_from_slice(&cluster[within..within + buf.len()]);
            }
        }
        Ok(())
    }

    /// Unpacks a compressed cluster.
    fn unpack(&self, offset: u64, length: u64, cluster: &mut [u8]) -> Result<()> {
        // The entry counts whole sectors, the last of which need not be there in full.
        let length = length.min(self.file.len().saturating_sub(offset));
        let packed = self.file.read_table(offset, length, "a compressed cluster")?;
        let full = match self.header.compression {
            CompressionType::Deflate => inflate(&packed, cluster),
            CompressionType::Zstd => unpack_zstd(&packed, cluster, self.header.cluster_bits),
        };
        match full {
            true => Ok(()),
            false => Err(self.file.error(ErrorKind::Corrupt, "a compressed cluster cannot be unpacked").at(offset)),
        }
    }
}

/// Returns the offset of the cluster that an L2 entry keeps for its guest cluster, even if it is not read.
fn kept(mapping: Mapping, entry: u64) -> Option<u64> {
    match (mapping, entry & OFFSET_MASK) {
        (Mapping::Compressed { .. }, _) => None,
        (Mapping::Data(0), _) => Some(0),
        (_, 0) => None,
        (_, offset) => Some(offset),
    }
}

/// Unpacks raw deflate, ignoring what follows it; false unless it fills the cluster exactly.
fn inflate(packed: &[u8], cluster: &mut [u8]) -> bool {
    let length = libdeflater::Decompressor::new().deflate_decompress(packed, cluster);
    length.is_ok_and(|length| length == cluster.len())
}

/// Unpacks zstd until the cluster is full, ignoring what follows; false when there is too little.
fn unpack_zstd(packed: &[u8], cluster: &mut [u8], cluster_bits: u32) -> bool {
    use zstd::zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer};
    let mut context = DCtx::create();
    // A larger window than the cluster can only be meant to use up memory; zstd's own minimum is 10.
    let window = DParameter::WindowLogMax((cluster_bits + 1).max(10));
    if context.set_parameter(window).is_err() {
        return false;
    }
    let full = cluster.len();
    let mut input = InBuffer::around(packed);
    let mut output = OutBuffer::around(cluster);
    while output.pos() < full {
        let before = (input.pos(), output.pos());
        if context.decompress_stream(&mut output, &mut input).is_err() || before == (input.pos(), output.pos()) {
            return false;
        }
    }
    true
}

impl DiskReader for Qcow2Reader {
    fn virtual_size(&self) -> u64 {
        self.header.size
    }

    fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        let mut extents = Vec::new();
        let Some(range) = clip(&range, self.header.size) else { return Ok(extents) };
        let mut offset = range.start;
        let mut steps = 0;
        while offset < range.end && extents.len() < MAX_EXTENTS && steps < MAX_STEPS {
            steps += 1;
            let (mapping, len) = self.place(offset)?;
            let end = offset.saturating_add(len).min(range.end);
            let kind = match (mapping, &self.backing) {
                (Mapping::Unallocated, Some(backing)) => {
                    offset = below(&**backing, offset..end, &mut extents)?;
                    continue;
                }
                (Mapping::Unallocated, None) => ExtentKind::Hole,
                (Mapping::Zero, _) => ExtentKind::Zero,
                (Mapping::Data(_) | Mapping::Compressed { .. }, _) => ExtentKind::Data,
            };
            push_extent(&mut extents, Extent { offset, len: end - offset, kind });
            offset = end;
        }
        Ok(extents)
    }

    fn map(&self, range: Range<u64>) -> Result<Vec<MapEntry>> {
        let mut entries = Vec::new();
        let Some(range) = clip(&range, self.header.size) else { return Ok(entries) };
        let mut offset = range.start;
        let mut steps = 0;
        while offset < range.end && entries.len() < MAX_EXTENTS && steps < MAX_STEPS {
            steps += 1;
            let (mapping, len, cluster) = self.entry(offset)?;
            let part = offset..offset.saturating_add(len).min(range.end);
            let file = self.data_file.as_ref().unwrap_or(&self.file);
            let at = cluster.and_then(|cluster| file.place(cluster + offset % self.header.cluster_size()));
            let entry = match (mapping, &self.backing) {
                (Mapping::Unallocated, Some(backing)) => {
                    offset = push_below(&**backing, &part, &mut entries)?;
                    continue;
                }
                (Mapping::Unallocated, None) => MapEntry { offset: at, ..MapEntry::hole(&part) },
                (Mapping::Zero, _) => MapEntry { offset: at, ..MapEntry::zero(&part) },
                (Mapping::Data(_), _) => MapEntry::data(&part, at),
                (Mapping::Compressed { .. }, _) => MapEntry { compressed: true, ..MapEntry::data(&part, None) },
            };
            map::push(&mut entries, entry);
            offset = part.end;
        }
        Ok(entries)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        let mut rest = clip_read(offset, buf, self.header.size)?;
        let mut offset = offset;
        while !rest.is_empty() {
            let (mapping, len) = self.place(offset)?;
            let len = len.min(rest.len() as u64) as usize;
            let (part, behind) = rest.split_at_mut(len);
            self.read_mapped(mapping, offset, part)?;
            offset += len as u64;
            rest = behind;
        }
        Ok(())
    }

    fn info(&self) -> ImageInfo {
        let mut files = vec![self.file.path().to_path_buf()];
        files.extend(self.data_file.iter().map(|file| file.path().to_path_buf()));
        files.extend(self.backing.iter().flat_map(|backing| backing.info().files));
        ImageInfo { files, ..facts(&self.header) }
    }

    fn refuse_overlaps(&self, stop: &AtomicBool) -> Result<()> {
        let data_file = self.data_file.as_ref();
        Search { file: &self.file, data_file, header: &self.header, l1: &self.l1, stop }.run()?;
        self.backing.as_ref().map_or(Ok(()), |backing| backing.refuse_overlaps(stop))
    }
}

/// Adds what the backing disk has in `range`; behind its end there is nothing. Returns where it stopped.
pub(crate) fn below(backing: &dyn DiskReader, range: Range<u64>, extents: &mut Vec<Extent>) -> Result<u64> {
    let mut offset = range.start;
    for extent in backing.extents(range.clone())? {
        push_extent(extents, extent);
        offset = extent.end();
    }
    if offset >= backing.virtual_size() && offset < range.end {
        push_extent(extents, Extent { offset, len: range.end - offset, kind: ExtentKind::Hole });
        offset = range.end;
    }
    Ok(offset)
}
