//! The checked view of a qcow2 header, with its extensions.

use zerocopy::FromBytes;

use super::layout::{
    CLUSTER_BITS, COMPRESSION_TYPE_OFFSET, EXTENSION_BACKING_FORMAT, EXTENSION_DATA_FILE, EXTENSION_END,
    ExtensionHeader, Header, Incompatible, MAGIC, MAX_BACKING_NAME, MAX_L1_BYTES, MAX_SNAPSHOTS,
    MIN_EXTENDED_CLUSTER_BITS, V2_HEADER_LENGTH,
};
use crate::error::{Error, ErrorKind, Result};
use crate::reading::source_file::SourceFile;

/// How compressed clusters are packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompressionType {
    /// Raw deflate.
    Deflate,
    /// Zstandard frames.
    Zstd,
}

/// What a reader needs from the header; every field is checked.
#[derive(Debug, Clone)]
pub(crate) struct CheckedHeader {
    pub(crate) version: u32,
    pub(crate) cluster_bits: u32,
    /// Guest disk in bytes.
    pub(crate) size: u64,
    pub(crate) l1_offset: u64,
    pub(crate) l1_entries: u32,
    pub(crate) snapshots: u32,
    pub(crate) incompatible: u64,
    /// Features that may be ignored; 0 in version 2.
    pub(crate) compatible: u64,
    /// Features that a writer must know or clear; 0 in version 2.
    pub(crate) autoclear: u64,
    pub(crate) compression: CompressionType,
    /// 0 none, 1 AES, 2 LUKS.
    pub(crate) encryption: u32,
    /// Log2 of the width of a reference count in bits, as written.
    pub(crate) refcount_order: u32,
    /// Name of the backing file as written.
    pub(crate) backing_name: Option<String>,
    /// Name of its format as written.
    pub(crate) backing_format: Option<String>,
    /// Name of the external data file as written.
    pub(crate) data_file: Option<String>,
}

impl CheckedHeader {
    /// Reads the header of an image whose data is going to be used.
    pub(crate) fn read(file: &SourceFile) -> Result<Self> {
        let header = Self::read_encrypted_too(file)?;
        if header.encryption != 0 {
            return Err(file.error(ErrorKind::Encrypted, "the image is encrypted").at(32));
        }
        Ok(header)
    }

    /// Reads the header of an image whose data is not going to be used.
    pub(crate) fn read_encrypted_too(file: &SourceFile) -> Result<Self> {
        let mut bytes = [0; size_of::<Header>()];
        refuse_first_version(file)?;
        if file.len() < V2_HEADER_LENGTH as u64 {
            return Err(file.error(ErrorKind::Truncated, "the file is shorter than a qcow2 header").at(file.len()));
        }
        file.read_padded_at(0, &mut bytes)?;
        let header = Header::read_from_bytes(&bytes).map_err(|_| Error::corrupt("no qcow2 header"))?;
        if header.magic != MAGIC {
            return Err(file.error(ErrorKind::Corrupt, "no qcow2 signature").at(0));
        }
        let version = header.version.get();
        let wrong = |rule: &'static str, at: u64| Err(file.error(ErrorKind::Corrupt, rule).at(at));
        if !matches!(version, 2 | 3) {
            return Err(file.error(ErrorKind::Unsupported, format!("qcow2 version {version}")).at(4));
        }
        let cluster_bits = header.cluster_bits.get();
        if !CLUSTER_BITS.contains(&cluster_bits) {
            return wrong("the cluster size is not between 512 bytes and 2 MiB", 20);
        }
        let (incompatible, header_length) = match version {
            2 => (0, V2_HEADER_LENGTH as u32),
            _ => (header.incompatible.get(), header.header_length.get()),
        };
        if version == 3 && (header_length < size_of::<Header>() as u32 || header_length > 1 << cluster_bits) {
            return wrong("the header's length is out of range", 100);
        }
        let compression = check_features(file, incompatible, cluster_bits, header_length)?;
        let header_fields = Self {
            version,
            cluster_bits,
            size: header.size.get(),
            l1_offset: header.l1_offset.get(),
            l1_entries: header.l1_entries.get(),
            snapshots: header.snapshots.get(),
            incompatible,
            compatible: if version == 2 { 0 } else { header.compatible.get() },
            encryption: header.encryption.get(),
            refcount_order: if version == 2 { 4 } else { header.refcount_order.get() },
            autoclear: if version == 2 { 0 } else { header.autoclear.get() },
            compression,
            backing_name: read_backing_name(file, &header)?,
            backing_format: None,
            data_file: None,
        };
        header_fields.check_l1(file)?;
        header_fields.with_extensions(file, header_length)
    }

    pub(crate) fn cluster_size(&self) -> u64 {
        1 << self.cluster_bits
    }

    pub(crate) fn extended_l2(&self) -> bool {
        self.incompatible & Incompatible::EXTENDED_L2 != 0
    }

    /// Log2 of the entries of an L2 table.
    pub(crate) fn l2_bits(&self) -> u32 {
        self.cluster_bits - if self.extended_l2() { 4 } else { 3 }
    }

    /// Entries that an L1 table needs for a guest disk of `size` bytes.
    pub(crate) fn l1_entries_for(&self, size: u64) -> u64 {
        size.div_ceil(1 << (self.cluster_bits + self.l2_bits()))
    }

    pub(super) fn check_l1(&self, file: &SourceFile) -> Result<()> {
        let wrong = |rule: &'static str, at: u64| Err(file.error(ErrorKind::Corrupt, rule).at(at));
        let bytes = u64::from(self.l1_entries) * 8;
        if bytes > MAX_L1_BYTES {
            return wrong("the l1 table is larger than 32 MiB", 36);
        }
        if u64::from(self.l1_entries) < self.l1_entries_for(self.size) {
            return wrong("the l1 table is too small for the disk's size", 36);
        }
        if !self.l1_offset.is_multiple_of(self.cluster_size()) {
            return wrong("the l1 table is not aligned to a cluster", 40);
        }
        if self.snapshots > MAX_SNAPSHOTS {
            return wrong("more than 65536 snapshots", 60);
        }
        file.check_range(self.l1_offset, bytes, "the l1 table")
    }

    fn with_extensions(mut self, file: &SourceFile, header_length: u32) -> Result<Self> {
        let mut offset = u64::from(header_length);
        // Extensions end before the backing file's name or the first cluster's end.
        let end = self.cluster_size();
        while offset + size_of::<ExtensionHeader>() as u64 <= end.min(file.len()) {
            let mut bytes = [0; size_of::<ExtensionHeader>()];
            file.read_exact_at(offset, &mut bytes)?;
            let Ok(extension) = ExtensionHeader::read_from_bytes(&bytes) else { break };
            let (kind, length) = (extension.kind.get(), u64::from(extension.length.get()));
            offset += bytes.len() as u64;
            if kind == EXTENSION_END {
                break;
            }
            if offset + length > end {
                return Err(file.error(ErrorKind::Corrupt, "a header extension leaves the first cluster").at(offset));
            }
            let target = match kind {
                EXTENSION_BACKING_FORMAT => &mut self.backing_format,
                EXTENSION_DATA_FILE => &mut self.data_file,
                _ => {
                    offset += length.next_multiple_of(8);
                    continue;
                }
            };
            let text = file.read_table(offset, length.min(u64::from(MAX_BACKING_NAME)), "a header extension")?;
            *target = Some(printable(&text));
            offset += length.next_multiple_of(8);
        }
        Ok(self)
    }
}

/// The first version has the same signature, but another name and a shorter header (QEMU, block/qcow.c).
fn refuse_first_version(file: &SourceFile) -> Result<()> {
    let mut front = [0; 8];
    file.read_padded_at(0, &mut front)?;
    if front[..4] == MAGIC && front[4..] == 1u32.to_be_bytes() {
        return Err(file
            .error(
                ErrorKind::Unsupported,
                "this is a qcow image (version 1), the format before qcow2, and is not read here",
            )
            .at(4)
            .with_hint("`qemu-img convert -f qcow -O qcow2` makes it one that is read"));
    }
    Ok(())
}

fn check_features(
    file: &SourceFile,
    incompatible: u64,
    cluster_bits: u32,
    header_length: u32,
) -> Result<CompressionType> {
    let known = Incompatible::DIRTY
        | Incompatible::CORRUPT
        | Incompatible::EXTERNAL_DATA
        | Incompatible::COMPRESSION_TYPE
        | Incompatible::EXTENDED_L2;
    let unknown = incompatible & !known;
    if unknown != 0 {
        let rule = format!("unknown incompatible feature bits {unknown:#x}");
        return Err(file.error(ErrorKind::Unsupported, rule).at(72));
    }
    if incompatible & Incompatible::EXTENDED_L2 != 0 && cluster_bits < MIN_EXTENDED_CLUSTER_BITS {
        return Err(file.error(ErrorKind::Corrupt, "extended l2 entries need clusters of at least 16 KiB").at(20));
    }
    let mut kind = [0];
    if header_length as usize > COMPRESSION_TYPE_OFFSET {
        file.read_padded_at(COMPRESSION_TYPE_OFFSET as u64, &mut kind)?;
    }
    match (kind[0], incompatible & Incompatible::COMPRESSION_TYPE != 0) {
        (0, _) => Ok(CompressionType::Deflate),
        (1, true) => Ok(CompressionType::Zstd),
        (kind, true) => Err(file.error(ErrorKind::Unsupported, format!("compression type {kind}")).at(104)),
        (_, false) => Err(file.error(ErrorKind::Corrupt, "a compression type without its feature bit").at(104)),
    }
}

fn read_backing_name(file: &SourceFile, header: &Header) -> Result<Option<String>> {
    let (offset, length) = (header.backing_offset.get(), header.backing_length.get());
    if offset == 0 {
        return Ok(None);
    }
    if length > MAX_BACKING_NAME {
        return Err(file.error(ErrorKind::Corrupt, "the backing file's name is longer than 1023 bytes").at(16));
    }
    let name = file.read_table(offset, u64::from(length), "the backing file's name")?;
    Ok(Some(printable(&name)))
}

/// Turns a name from a file into text that is safe to show.
pub(super) fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes)
        .chars()
        .map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c })
        .collect()
}
