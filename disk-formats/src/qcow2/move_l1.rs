//! Gives a qcow2 image a larger L1 table, at the end of the file, without a moment at which a crash would damage the image.
//!
//! New clusters first, then their reference counts, then the header with one write inside one sector, and last the old clusters
//! are given back. A crash in between leaves clusters that nobody uses, and no more.

use std::io;

use zerocopy::byteorder::{BE, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::header::CheckedHeader;
use super::layout::Header;
use super::medium::Medium;
use crate::error::{Error, ErrorKind, Operation, Result};

/// Largest reference count table in bytes (qemu's QCOW_MAX_REFTABLE_SIZE).
const MAX_TABLE_BYTES: u64 = 8 << 20;

/// The header's fields that change, which follow each other.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct ChangedFields {
    size: U64<BE>,
    encryption: U32<BE>,
    l1_entries: U32<BE>,
    l1_offset: U64<BE>,
    refcount_table_offset: U64<BE>,
    refcount_table_clusters: U32<BE>,
}

const FIELDS_OFFSET: u64 = std::mem::offset_of!(Header, size) as u64;
const _: () = assert!(std::mem::offset_of!(Header, refcount_table_clusters) - FIELDS_OFFSET as usize == 32);

/// The image being changed.
struct Image<'a> {
    file: &'a dyn Medium,
    cluster: u64,
    /// Log2 of the bits of a reference count.
    refcount_order: u32,
    table: Vec<U64<BE>>,
}

/// Moves the L1 table behind the end of the file, with `entries` entries, and sets the disk's size.
pub(super) fn move_l1(file: &dyn Medium, header: &CheckedHeader, entries: u64, new_size: u64) -> Result<()> {
    let fail = |error| Error::io(Operation::Resize, error);
    let corrupt = |rule: &'static str| Error::new(ErrorKind::Corrupt, Operation::Resize, rule);
    let mut bytes = [0; size_of::<Header>()];
    file.read_exact_at(&mut bytes, 0).map_err(fail)?;
    let raw = Header::read_from_bytes(&bytes).map_err(|_| corrupt("no qcow2 header"))?;
    let refcount_order = if header.version == 2 { 4 } else { raw.refcount_order.get() };
    let (table_offset, table_clusters) = (raw.refcount_table_offset.get(), raw.refcount_table_clusters.get());
    let cluster = header.cluster_size();
    let table_bytes = u64::from(table_clusters) * cluster;
    if refcount_order > 6 || table_bytes > MAX_TABLE_BYTES || !table_offset.is_multiple_of(cluster) {
        return Err(corrupt("the reference count table is damaged"));
    }
    let mut table = vec![U64::ZERO; table_bytes as usize / 8];
    file.read_exact_at(table.as_mut_bytes(), table_offset).map_err(fail)?;
    let mut image = Image { file, cluster, refcount_order, table };

    let first = file.length().map_err(fail)?.div_ceil(cluster);
    let l1_clusters = (entries * 8).div_ceil(cluster);
    let plan = image.plan(first, l1_clusters);
    if plan.table_clusters * cluster > MAX_TABLE_BYTES {
        let rule = "the reference count table would be larger than 8 MiB";
        return Err(Error::new(ErrorKind::TooLarge, Operation::Resize, rule));
    }
    let mut l1 = vec![0; (l1_clusters * cluster) as usize];
    file.read_exact_at(&mut l1[..header.l1_entries as usize * 8], header.l1_offset).map_err(fail)?;
    file.write_all_at(&l1, first * cluster).map_err(fail)?;
    let moved_table = (plan.table_clusters > 0).then_some((first + l1_clusters) * cluster);
    image.add_counts(first, l1_clusters, &plan, moved_table.unwrap_or(table_offset)).map_err(fail)?;

    let fields = ChangedFields {
        size: U64::new(new_size),
        encryption: raw.encryption,
        l1_entries: U32::new(entries as u32),
        l1_offset: U64::new(first * cluster),
        refcount_table_offset: U64::new(moved_table.unwrap_or(table_offset)),
        refcount_table_clusters: U32::new(moved_table.map_or(table_clusters, |_| plan.table_clusters as u32)),
    };
    file.write_all_at(fields.as_bytes(), FIELDS_OFFSET).and_then(|()| file.sync_all()).map_err(fail)?;

    let old_l1 = (u64::from(header.l1_entries) * 8).div_ceil(cluster);
    let old_table = if moved_table.is_some() { u64::from(table_clusters) } else { 0 };
    image.free(header.l1_offset / cluster, old_l1).map_err(fail)?;
    image.free(table_offset / cluster, old_table).and_then(|()| file.sync_all()).map_err(fail)
}

/// What is appended besides the L1 table.
struct Plan {
    /// Clusters of a new reference count table; 0 when the present one will do.
    table_clusters: u64,
    /// Indices of reference count blocks that are missing.
    blocks: Vec<u64>,
    total: u64,
}

impl Image<'_> {
    /// Reference counts in a block.
    fn block_entries(&self) -> u64 {
        (self.cluster * 8) >> self.refcount_order
    }

    /// More clusters may need another block, whose own cluster is counted too: tried until it fits.
    fn plan(&self, first: u64, l1_clusters: u64) -> Plan {
        let entries = self.block_entries();
        let mut plan = Plan { table_clusters: 0, blocks: Vec::new(), total: l1_clusters };
        loop {
            let last_block = (first + plan.total - 1) / entries;
            let present = |block: &u64| self.table.get(*block as usize).is_some_and(|offset| offset.get() != 0);
            plan.blocks = (first / entries..=last_block).filter(|block| !present(block)).collect();
            if last_block >= self.table.len() as u64 {
                plan.table_clusters = ((last_block + 1) * 8).div_ceil(self.cluster);
            }
            let total = l1_clusters + plan.table_clusters + plan.blocks.len() as u64;
            if total == plan.total {
                return plan;
            }
            plan.total = total;
        }
    }

    /// Writes the new blocks and table, and counts all new clusters once.
    fn add_counts(&mut self, first: u64, l1_clusters: u64, plan: &Plan, table_offset: u64) -> io::Result<()> {
        let grown = (plan.table_clusters * self.cluster / 8) as usize;
        self.table.resize(self.table.len().max(grown), U64::ZERO);
        let entries = self.block_entries();
        let new = first..first + plan.total;
        let counts_in = |block: u64| new.start.max(block * entries)..new.end.min((block + 1) * entries);
        for (index, block) in (0..).zip(&plan.blocks) {
            let offset = (first + l1_clusters + plan.table_clusters + index) * self.cluster;
            let mut bytes = vec![0; self.cluster as usize];
            counts_in(*block).for_each(|cluster| set_count(&mut bytes, cluster % entries, self.refcount_order, 1));
            self.file.write_all_at(&bytes, offset)?;
            self.table[*block as usize] = U64::new(offset);
        }
        if plan.table_clusters > 0 {
            self.file.write_all_at(self.table.as_bytes(), table_offset)?;
        }
        self.file.sync_all()?;
        for block in first / entries..=(new.end - 1) / entries {
            if !plan.blocks.contains(&block) {
                self.change_counts(block, counts_in(block), 1)?;
            }
        }
        if plan.table_clusters == 0 {
            for block in &plan.blocks {
                self.file.write_all_at(self.table[*block as usize].as_bytes(), table_offset + block * 8)?;
            }
        }
        self.file.sync_all()
    }

    /// Gives clusters back.
    fn free(&self, first: u64, count: u64) -> io::Result<()> {
        let entries = self.block_entries();
        for cluster in first..first + count {
            if self.table.get((cluster / entries) as usize).is_some_and(|offset| offset.get() != 0) {
                self.change_counts(cluster / entries, cluster..cluster + 1, 0)?;
            }
        }
        Ok(())
    }

    fn change_counts(&self, block: u64, clusters: std::ops::Range<u64>, value: u64) -> io::Result<()> {
        // Bits below 9 are reserved.
        let offset = self.table[block as usize].get() & !0x1ff;
        let mut bytes = vec![0; self.cluster as usize];
        self.file.read_exact_at(&mut bytes, offset)?;
        clusters.for_each(|cluster| {
            set_count(&mut bytes, cluster % self.block_entries(), self.refcount_order, value);
        });
        self.file.write_all_at(&bytes, offset)
    }
}

/// Sets a reference count of `1 << order` bits; several in a byte begin at its lowest bit (spec).
fn set_count(block: &mut [u8], index: u64, order: u32, value: u64) {
    if order < 3 {
        let bits = 1 << order;
        let (byte, shift) = ((index * bits / 8) as usize, index * bits % 8);
        let mask = ((1u16 << bits) - 1) as u8;
        block[byte] = block[byte] & !(mask << shift) | (value as u8 & mask) << shift;
        return;
    }
    let width = 1usize << (order - 3);
    let start = index as usize * width;
    block[start..start + width].copy_from_slice(&value.to_be_bytes()[8 - width..]);
}
