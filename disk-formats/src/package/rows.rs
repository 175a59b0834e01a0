//! The rows of packages in the table of formats: OVF, OVA and VMX.

use super::ova_writer::OvaWriter;
use super::ovf_writer::{OvfWriter, ovf_file_names};
use super::vmx::writer::{VmxWriter, vmx_file_names};
use crate::format::Format;
use crate::format_options::{OptionError, OutputValues};
use crate::format_row::{ExportRow, FormatRow, LimitRow, OptionRow, OutputWishes, Writing, boxed, wrong_kind};
use crate::machine::MachineDescription;
use crate::output::OutputKind;
use crate::writing::file_digest::DigestAlgorithm;

const OPTIONS: &[OptionRow] = &[
    OptionRow { name: "compression", values: "default|fast|best", about: "how hard to compress the disks" },
    OptionRow { name: "manifest", values: "sha256|sha1|sha512", about: "the digests in the manifest" },
];

/// The disks are streamOptimized VMDKs.
const STREAM_LIMITS: &[LimitRow] = &[LimitRow {
    options: &[],
    largest: crate::vmdk::MAX_DISK,
    words: "62 TiB, and 2 TiB of compressed data",
    why: "as a streamOptimized vmdk",
}];

pub(crate) const OVF: FormatRow = FormatRow {
    names: &["ovf"],
    qemu_name: None,
    about: "a machine in the Open Virtualization Format: descriptor, manifest and a streamOptimized vmdk for each disk",
    disks: Format::Vmdk,
    is_package: true,
    options: OPTIONS,
    exports: &[ExportRow { word: "ovf", ending: ".ovf", presets: &[] }],
    limits: STREAM_LIMITS,
    reading: None,
    writing: Writing {
        file_names: |path, sizes, kind| match kind {
            OutputKind::Ovf(machine) => ovf_file_names(path, machine, sizes.len()),
            _ => vec![path.to_path_buf()],
        },
        instead_of_stream: AS_OVA,
        ..Writing::one_file(
            |values, wishes| Ok(OutputKind::ovf(machine(values, wishes)?)),
            |path, sizes, kind, context| {
                let OutputKind::Ovf(machine) = kind else { return Err(wrong_kind()) };
                OvfWriter::create(path, sizes, machine, context).map(boxed)
            },
        )
    },
};

pub(crate) const OVA: FormatRow = FormatRow {
    names: &["ova"],
    qemu_name: None,
    about: "the same as one archive",
    disks: Format::Vmdk,
    is_package: true,
    options: OPTIONS,
    exports: &[ExportRow { word: "ova", ending: ".ova", presets: &[] }],
    limits: STREAM_LIMITS,
    reading: None,
    writing: Writing::one_file(
        |values, wishes| Ok(OutputKind::ova(machine(values, wishes)?)),
        |path, sizes, kind, context| {
            let OutputKind::Ova(machine) = kind else { return Err(wrong_kind()) };
            OvaWriter::create(path, sizes, machine, context).map(boxed)
        },
    ),
};

pub(crate) const VMX: FormatRow = FormatRow {
    names: &["vmx"],
    qemu_name: None,
    about: "a machine for VMware Workstation and Fusion, with a monolithicSparse vmdk for each disk",
    disks: Format::Vmdk,
    is_package: true,
    options: &[],
    exports: &[ExportRow { word: "vmx", ending: ".vmx", presets: &[] }],
    limits: &[LimitRow {
        options: &[],
        largest: crate::vmdk::MAX_SPARSE_DISK,
        words: "2 TiB, and 2 TiB of file",
        why: "as a monolithicSparse vmdk",
    }],
    reading: None,
    writing: Writing {
        file_names: |path, sizes, kind| match kind {
            OutputKind::Vmx(machine) => vmx_file_names(path, machine, sizes.len()),
            _ => vec![path.to_path_buf()],
        },
        instead_of_stream: AS_OVA,
        ..Writing::one_file(
            |_, wishes| Ok(OutputKind::vmx(wishes.machine.clone())),
            |path, sizes, kind, context| {
                let OutputKind::Vmx(machine) = kind else { return Err(wrong_kind()) };
                VmxWriter::create(path, sizes, machine, context).map(boxed)
            },
        )
    },
};

const AS_OVA: &str = "write an ova, which is one file";

fn machine(values: &mut OutputValues<'_, '_>, wishes: &OutputWishes<'_>) -> Result<MachineDescription, OptionError> {
    let mut machine = wishes.machine.clone();
    machine.compression = values.compression()?.unwrap_or(machine.compression);
    let digests =
        [("sha256", DigestAlgorithm::Sha256), ("sha1", DigestAlgorithm::Sha1), ("sha512", DigestAlgorithm::Sha512)];
    machine.manifest = values.choice("manifest", "manifest", &digests)?.unwrap_or(machine.manifest);
    Ok(machine)
}
