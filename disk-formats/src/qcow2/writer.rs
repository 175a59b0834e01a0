//! Writes qcow2 version 3 from front to back; only the header, which says where the tables are, is filled in at the end.
//!
//! ```text
//! header | data of 512 MiB | its L2 table | data | L2 table | … | L1 table | reference count table and blocks
//! ```

use std::path::Path;

use zerocopy::IntoBytes;
use zerocopy::byteorder::{BE, U32, U64};

use super::entry::{COPIED, make_compressed};
use super::layout::{
    CLUSTER_BITS, EXTENSION_BACKING_FORMAT, EXTENSION_END, ExtensionHeader, Header, Incompatible, MAGIC,
    MAX_BACKING_NAME, MAX_L1_BYTES,
};
use super::refcounts::{RefcountTable, Refcounts};
use crate::digest::CHUNK;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::format::Format;
use crate::output_options::{Qcow2Method, Qcow2Options};
use crate::writing::output_file::{FinishedFile, OutputFile};
use crate::writing::pass::batch::{Batch, BatchWriter, Method, Recipe};
use crate::writing::pass::collector::PassReport;
use crate::writing::writer::{OutputWriter, WriterContext};
use crate::zeroes::is_zero;

/// The backing file recorded in an overlay.
pub(crate) struct Backing {
    /// Its name, UTF-8.
    pub(crate) name: String,
    /// Its format.
    pub(crate) format: Format,
}

/// Unit of a guest disk in bytes (qemu's BDRV_SECTOR_SIZE).
const SECTOR: u64 = 512;

/// Writes one qcow2 image.
pub(crate) struct Qcow2Writer {
    file: OutputFile,
    virtual_size: u64,
    cluster_bits: u32,
    /// Index of the compression results in batches.
    recipe: Option<usize>,
    /// Compressed clusters are Zstandard frames.
    zstd: bool,
    backing: Option<Backing>,
    l1: Vec<U64<BE>>,
    /// The L2 table being filled, and its index in the L1 table.
    l2: Vec<U64<BE>>,
    l2_index: Option<usize>,
    /// Guest cluster that was begun last, and its offset in the file.
    begun: Option<(u64, u64)>,
    refcounts: Refcounts,
}

impl Qcow2Writer {
    pub(crate) fn create(
        path: &Path,
        virtual_size: u64,
        options: &Qcow2Options,
        backing: Option<Backing>,
        context: &mut WriterContext<'_>,
    ) -> Result<Self> {
        let cluster_bits = options.cluster_size.trailing_zeros();
        if !options.cluster_size.is_power_of_two() || !CLUSTER_BITS.contains(&cluster_bits) {
            let rule = "the cluster size must be a power of two from 512 bytes to 2 MiB";
            return Err(Error::new(ErrorKind::InvalidInput, Operation::Create, rule));
        }
        let cluster_size = 1u64 << cluster_bits;
        let l1_entries = virtual_size.div_ceil(cluster_size * (cluster_size / 8)).max(1);
        if l1_entries * 8 > MAX_L1_BYTES {
            let rule = format!("a qcow2 image with {cluster_size} byte clusters cannot hold {virtual_size} bytes");
            let hint = "choose a larger cluster size, up to 2 MiB, or write a raw image";
            return Err(Error::new(ErrorKind::TooLarge, Operation::Create, rule).with_hint(hint));
        }
        if backing.as_ref().is_some_and(|backing| backing.name.len() > MAX_BACKING_NAME as usize) {
            let rule = "the backing file's name is longer than 1023 bytes";
            return Err(Error::new(ErrorKind::InvalidInput, Operation::Create, rule));
        }
        let recipe = options.compression.map(|compression| {
            let method = match options.method {
                Qcow2Method::Zlib => Method::Deflate(compression),
                Qcow2Method::Zstd => Method::Zstd(compression),
            };
            context.recipe(Recipe { method, piece: cluster_size as usize })
        });
        let mut file = context.create(path, true)?;
        file.skip_to(cluster_size);
        let mut refcounts = Refcounts::new(cluster_size);
        refcounts.add(0, cluster_size);
        Ok(Self {
            file,
            // A disk is whole sectors: QEMU does not show what is left of one.
            virtual_size: virtual_size.next_multiple_of(SECTOR),
            cluster_bits,
            recipe,
            zstd: recipe.is_some() && options.method == Qcow2Method::Zstd,
            backing,
            l1: vec![U64::ZERO; l1_entries as usize],
            l2: vec![U64::ZERO; cluster_size as usize / 8],
            l2_index: None,
            begun: None,
            refcounts,
        })
    }

    fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    /// Sets the L2 entry of a guest cluster, writing the previous L2 table when it belongs to another one.
    fn set_entry(&mut self, guest_cluster: u64, entry: u64) {
        let slot = guest_cluster as usize % self.l2.len();
        self.l2[slot] = U64::new(entry);
    }

    /// Makes the L2 table of a guest cluster the current one.
    fn select_l2(&mut self, guest_cluster: u64) -> Result<()> {
        let index = (guest_cluster / self.l2.len() as u64) as usize;
        if self.l2_index != Some(index) {
            self.write_l2()?;
            self.l2_index = Some(index);
        }
        Ok(())
    }

    fn write_l2(&mut self) -> Result<()> {
        if let Some(index) = self.l2_index.take() {
            let offset = self.allocate_cluster()?;
            self.file.append(self.l2.as_bytes())?;
            self.l1[index] = U64::new(offset | COPIED);
            self.l2.fill(U64::ZERO);
        }
        Ok(())
    }

    /// Aligns the position to a cluster and counts that cluster as used.
    fn allocate_cluster(&mut self) -> Result<u64> {
        self.file.align(self.cluster_size());
        self.refcounts.spill(&mut self.file)?;
        let offset = self.file.position();
        self.refcounts.add(offset, self.cluster_size());
        Ok(offset)
    }

    /// Writes guest bytes that lie in one cluster, beginning the cluster if need be.
    fn write_plain(&mut self, guest: u64, bytes: &[u8]) -> Result<()> {
        let (cluster, within) = (guest >> self.cluster_bits, guest % self.cluster_size());
        let host = match self.begun {
            Some((begun, host)) if begun == cluster => host,
            _ => {
                self.select_l2(cluster)?;
                let host = self.allocate_cluster()?;
                self.set_entry(cluster, host | COPIED);
                self.begun = Some((cluster, host));
                host
            }
        };
        self.file.skip_to(host + within);
        self.file.append(bytes)
    }

    /// Writes whole clusters that follow each other with one call. They lie in one batch, so in one L2 table's range.
    fn write_run(&mut self, guest: u64, bytes: &[u8]) -> Result<()> {
        let first = guest >> self.cluster_bits;
        self.select_l2(first)?;
        self.file.align(self.cluster_size());
        self.refcounts.spill(&mut self.file)?;
        let host = self.file.position();
        self.refcounts.add(host, bytes.len() as u64);
        for index in 0..bytes.len() as u64 >> self.cluster_bits {
            self.set_entry(first + index, (host + (index << self.cluster_bits)) | COPIED);
        }
        self.file.append(bytes)
    }

    fn write_compressed(&mut self, guest: u64, bytes: &[u8], packed: &[u8]) -> Result<()> {
        if packed.len() >= bytes.len() {
            return self.write_plain(guest, bytes);
        }
        let cluster = guest >> self.cluster_bits;
        self.select_l2(cluster)?;
        self.refcounts.spill(&mut self.file)?;
        let (offset, length) = (self.file.position(), packed.len() as u64);
        let entry = make_compressed(offset, length, self.cluster_bits)
            .ok_or_else(|| Error::new(ErrorKind::TooLarge, Operation::Write, "the image grows over qcow2's limit"))?;
        self.set_entry(cluster, entry);
        self.refcounts.add(offset, length);
        self.file.append(packed)
    }

    fn header(&self, l1_offset: u64, refcounts: &RefcountTable) -> Result<Vec<u8>> {
        let mut extensions = Vec::new();
        if let Some(backing) = &self.backing {
            push_extension(&mut extensions, EXTENSION_BACKING_FORMAT, backing.format.name().as_bytes());
        }
        push_extension(&mut extensions, EXTENSION_END, &[]);
        let name = self.backing.as_ref().map_or("", |backing| backing.name.as_str());
        // The compression type is one byte behind the header, padded to a multiple of 8.
        let compression_type: &[u8] = if self.zstd { &[1, 0, 0, 0, 0, 0, 0, 0] } else { &[] };
        let header_length = size_of::<Header>() + compression_type.len();
        let name_offset = header_length + extensions.len();
        let header = Header {
            magic: MAGIC,
            version: U32::new(3),
            backing_offset: U64::new(if name.is_empty() { 0 } else { name_offset as u64 }),
            backing_length: U32::new(name.len() as u32),
            cluster_bits: U32::new(self.cluster_bits),
            size: U64::new(self.virtual_size),
            encryption: U32::ZERO,
            l1_entries: U32::new(self.l1.len() as u32),
            l1_offset: U64::new(l1_offset),
            refcount_table_offset: U64::new(refcounts.offset),
            refcount_table_clusters: U32::new(refcounts.clusters),
            snapshots: U32::ZERO,
            snapshots_offset: U64::ZERO,
            incompatible: U64::new(if self.zstd { Incompatible::COMPRESSION_TYPE } else { 0 }),
            compatible: U64::ZERO,
            autoclear: U64::ZERO,
            refcount_order: U32::new(4),
            header_length: U32::new(header_length as u32),
        };
        let bytes = [header.as_bytes(), compression_type, &extensions, name.as_bytes()].concat();
        if bytes.len() as u64 > self.cluster_size() {
            let rule = "the backing file's name does not fit into the first cluster";
            return Err(Error::new(ErrorKind::InvalidInput, Operation::Create, rule));
        }
        Ok(bytes)
    }
}

fn push_extension(extensions: &mut Vec<u8>, kind: u32, data: &[u8]) {
    let header = ExtensionHeader { kind: U32::new(kind), length: U32::new(data.len() as u32) };
    extensions.extend_from_slice(header.as_bytes());
    extensions.extend_from_slice(data);
    extensions.resize(extensions.len().next_multiple_of(8), 0);
}

impl BatchWriter for Qcow2Writer {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        let cluster_size = self.cluster_size() as usize;
        if let Some(recipe) = self.recipe {
            for (offset, bytes, packed) in batch.pieces(recipe, cluster_size) {
                self.write_compressed(offset, bytes, packed)?;
            }
            return Ok(());
        }
        for (offset, bytes) in batch.data_runs() {
            if cluster_size == CHUNK {
                self.write_run(offset, bytes)?;
                continue;
            }
            let mut offset = offset;
            for part in bytes.chunks(cluster_size.min(CHUNK)) {
                if cluster_size >= CHUNK || !is_zero(part) {
                    self.write_plain(offset, part)?;
                }
                offset += part.len() as u64;
            }
        }
        Ok(())
    }
}

impl OutputWriter for Qcow2Writer {
    fn end_disk(&mut self, _pass: &PassReport) -> Result<()> {
        self.write_l2()?;
        self.file.align(self.cluster_size());
        let l1_offset = self.file.position();
        self.file.append(self.l1.as_bytes())?;
        self.file.align(self.cluster_size());
        self.refcounts.add(l1_offset, self.file.position() - l1_offset);
        let empty = Refcounts::new(self.cluster_size());
        let refcounts = std::mem::replace(&mut self.refcounts, empty);
        let table = refcounts.finish(&mut self.file)?;
        let header = self.header(l1_offset, &table)?;
        self.file.correct(0, &header)
    }

    fn finish(self: Box<Self>) -> Result<Vec<FinishedFile>> {
        Ok(vec![self.file.finish()?])
    }
}
