//! Facts about a qcow2 image, all of which are in its header and its table of snapshots.

use super::header::{CheckedHeader, CompressionType};
use super::layout::{Compatible, Incompatible};
use super::snapshots;
use crate::error::Result;
use crate::format::Format;
use crate::reading::format_facts::{FormatFacts, Qcow2Facts};
use crate::reading::image_info::ImageInfo;
use crate::reading::source_file::SourceFile;

/// Autoclear bit: the external data file is a raw disk by itself (spec).
const DATA_FILE_RAW: u64 = 1 << 1;

/// Returns facts about an image that may be encrypted, and lists its snapshots.
pub(crate) fn info(file: &SourceFile) -> Result<ImageInfo> {
    let header = CheckedHeader::read_encrypted_too(file)?;
    let (snapshots, files) = (snapshots::list(file)?, vec![file.path().to_path_buf()]);
    Ok(ImageInfo { snapshots, files, ..facts(&header) })
}

/// Returns what the header says.
pub(super) fn facts(header: &CheckedHeader) -> ImageInfo {
    let incompatible = |bit: u64| header.incompatible & bit != 0;
    let specific = Qcow2Facts {
        version: header.version,
        compression_type: match header.compression {
            CompressionType::Deflate => "zlib",
            CompressionType::Zstd => "zstd",
        },
        lazy_refcounts: header.compatible & Compatible::LAZY_REFCOUNTS != 0,
        refcount_bits: 1u32.checked_shl(header.refcount_order).unwrap_or(0),
        corrupt: incompatible(Incompatible::CORRUPT),
        extended_l2: header.extended_l2(),
        encryption: match header.encryption {
            0 => None,
            1 => Some("aes"),
            _ => Some("luks"),
        },
        data_file: header.data_file.clone().filter(|_| incompatible(Incompatible::EXTERNAL_DATA)),
        data_file_raw: header.autoclear & DATA_FILE_RAW != 0,
    };
    ImageInfo {
        variant: format!("v{}", header.version),
        cluster_size: Some(header.cluster_size()),
        backing_file: header.backing_name.clone(),
        backing_format: header.backing_format.clone(),
        dirty: incompatible(Incompatible::DIRTY),
        encrypted: header.encryption != 0,
        specific: Some(FormatFacts::Qcow2(specific)),
        ..ImageInfo::new(Format::Qcow2, header.size)
    }
}
