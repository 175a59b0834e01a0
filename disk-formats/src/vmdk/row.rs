//! The row of VMDK in the table of formats.

use super::check::check;
use super::flat_writer::{MAX_SPLIT_DISK, SplitVmdkWriter, file_names};
use super::layout::{COWD_MAGIC, MAGIC, MAX_DISK, SESPARSE_MAGIC};
use super::reader::VmdkReader;
use super::sparse_writer::{MAX_SPARSE_DISK, SparseVmdkWriter};
use super::stream_writer::StreamVmdkFile;
use crate::format::Format;
use crate::format_options::{OptionError, OutputValues};
use crate::format_row::{
    ExportRow, FormatRow, LimitRow, OptionRow, OutputWishes, Reading, Writing, boxed, only_size, wrong_kind,
};
use crate::output::OutputKind;
use crate::output_options::{DiskAdapter, VmdkOptions, VmdkSubformat};

/// How a descriptor in a file of its own begins, in any case.
const DESCRIPTOR: &[u8] = b"# disk descriptor";
/// VMware's virtual hardware versions, with room for those to come.
const HARDWARE_VERSIONS: std::ops::RangeInclusive<u8> = 3..=99;
/// Why the sparse files end where they do.
const SECTOR_NUMBERS: &str = "tables hold 32-bit numbers of sectors in the file";

pub(crate) const ROW: FormatRow = FormatRow {
    names: Format::Vmdk.names(),
    qemu_name: Some("vmdk"),
    about: "VMware's format; sub-formats of several files write them beside the first",
    disks: Format::Vmdk,
    is_package: false,
    options: &[
        OptionRow {
            name: "subformat",
            values: "monolithicSparse|streamOptimized|monolithicFlat|twoGbMaxExtentSparse|twoGbMaxExtentFlat|vmfs",
            about: "the shape",
        },
        OptionRow {
            name: "adapter_type",
            values: "ide|buslogic|lsilogic|legacyESX",
            about: "the disk's controller, noted in the descriptor",
        },
        OptionRow { name: "compression", values: "default|fast|best", about: "how hard to compress (streamOptimized)" },
        OptionRow { name: "hwversion", values: "NUMBER", about: "VMware's virtual hardware version, from 3 to 99" },
    ],
    exports: &[
        ExportRow { word: "vmdk", ending: ".vmdk", presets: &[("subformat", "streamOptimized")] },
        ExportRow { word: "vmdk-sparse", ending: "-sparse.vmdk", presets: &[("subformat", "monolithicSparse")] },
    ],
    limits: &[
        LimitRow {
            options: &[("subformat", "monolithicSparse")],
            largest: MAX_SPARSE_DISK,
            words: "2 TiB, and 2 TiB of file",
            why: SECTOR_NUMBERS,
        },
        LimitRow {
            options: &[("subformat", "streamOptimized")],
            largest: MAX_DISK,
            words: "62 TiB, and 2 TiB of compressed data",
            why: "VMware takes no larger disk; tables hold 32-bit numbers of sectors in the file",
        },
        LimitRow {
            options: &[("subformat", "monolithicFlat")],
            largest: MAX_DISK,
            words: "62 TiB",
            why: "VMware takes no larger disk",
        },
        LimitRow {
            options: &[("subformat", "vmfs")],
            largest: MAX_DISK,
            words: "62 TiB",
            why: "VMware takes no larger disk",
        },
        LimitRow {
            options: &[("subformat", "twoGbMaxExtentSparse")],
            largest: MAX_SPLIT_DISK,
            words: "19.5 TiB",
            why: "9999 files of 2047 MiB",
        },
        LimitRow {
            options: &[("subformat", "twoGbMaxExtentFlat")],
            largest: MAX_SPLIT_DISK,
            words: "19.5 TiB",
            why: "9999 files of 2047 MiB",
        },
    ],
    reading: Some(Reading {
        recognise: |front, _| {
            let is_descriptor = front[..DESCRIPTOR.len()].eq_ignore_ascii_case(DESCRIPTOR);
            let is_se_sparse = front.starts_with(&SESPARSE_MAGIC.to_le_bytes());
            Ok(front.starts_with(&MAGIC) || front.starts_with(&COWD_MAGIC) || is_se_sparse || is_descriptor)
        },
        open: |file, _, opening| Ok(Box::new(VmdkReader::open(file, opening)?)),
        check: Some(|file, opening| check(file, &opening.descend(file))),
        info: None,
        snapshots: None,
        resize: None,
    }),
    writing: Writing {
        file_names: |path, sizes, kind| match kind {
            OutputKind::Vmdk(options) => file_names(path, sizes.first().copied().unwrap_or(0), options.subformat),
            _ => vec![path.to_path_buf()],
        },
        instead_of_stream: "write a streamOptimized or monolithicSparse vmdk, which is one file",
        is_forward: |kind| matches!(kind, OutputKind::Vmdk(options) if options.subformat == VmdkSubformat::StreamOptimized),
        // QEMU takes a capacity of 0 for damage, our reader too.
        holds_nothing: false,
        ..Writing::one_file(kind, |path, sizes, kind, context| {
            let OutputKind::Vmdk(options) = kind else { return Err(wrong_kind()) };
            let size = only_size(sizes)?;
            match options.subformat {
                VmdkSubformat::MonolithicSparse => SparseVmdkWriter::create(path, size, options, context).map(boxed),
                VmdkSubformat::StreamOptimized => StreamVmdkFile::create(path, size, options, context).map(boxed),
                _ => SplitVmdkWriter::create(path, size, options, context).map(boxed),
            }
        })
    },
};

fn kind(values: &mut OutputValues<'_, '_>, wishes: &OutputWishes<'_>) -> Result<OutputKind, OptionError> {
    let mut vmdk = VmdkOptions { adapter: wishes.adapter, ..VmdkOptions::default() };
    let subformats = VmdkSubformat::ALL.map(|subformat| (subformat.name(), subformat));
    vmdk.subformat = values.choice("subformat", "subformat of vmdk", &subformats)?.unwrap_or_default();
    if let Some(value) = values.take("adapter_type") {
        let known = ["ide", "buslogic", "lsilogic", "legacyESX"];
        vmdk.adapter =
            DiskAdapter::from_name(value).ok_or_else(|| OptionError::unknown("the adapter_type", value, known))?;
    }
    vmdk.compression = values.compression()?.unwrap_or_default();
    if let Some(value) = values.take("hwversion").filter(|value| *value != "undefined") {
        let version = value.parse().ok().filter(|version| HARDWARE_VERSIONS.contains(version));
        let (rule, hint) = ("is not a virtual hardware version", "a number from 3 to 99, as 14");
        vmdk.hardware_version = Some(version.ok_or_else(|| OptionError::impossible("hwversion", value, rule, hint))?);
    }
    Ok(OutputKind::Vmdk(vmdk))
}
