//! The row of VHD in the table of formats.

use super::check::check;
use super::layout::{COOKIE, MAX_SIZE};
use super::reader::VhdReader;
use super::writer::{DynamicVhdWriter, FixedVhdWriter};
use crate::error::Result;
use crate::format::Format;
use crate::format_options::{OptionError, OutputValues};
use crate::format_row::{
    ExportRow, FormatRow, LimitRow, OptionRow, OutputWishes, PROBE, Reading, Writing, boxed, only_size, wrong_kind,
};
use crate::output::OutputKind;
use crate::output_options::VhdVariant;
use crate::reading::source_file::SourceFile;

/// One MiB in bytes.
const MIB: u64 = 1 << 20;

pub(crate) const ROW: FormatRow = FormatRow {
    names: Format::Vhd.names(),
    qemu_name: Some("vpc"),
    about: "Microsoft's older format, which Azure takes",
    disks: Format::Vhd,
    is_package: false,
    options: &[
        OptionRow { name: "subformat", values: "dynamic|fixed", about: "Azure takes fixed ones" },
        OptionRow { name: "force_size", values: "on", about: "always so: the size is exact" },
    ],
    exports: &[ExportRow { word: "vhd", ending: ".vhd", presets: &[] }],
    limits: &[LimitRow { options: &[], largest: MAX_SIZE, words: "2040 GiB", why: "Hyper-V's limit" }],
    reading: Some(Reading {
        recognise,
        open: |file, _, opening| Ok(Box::new(VhdReader::open(file, opening)?)),
        check: Some(|file, _| check(file, None)),
        info: None,
        snapshots: None,
        resize: None,
    }),
    writing: Writing {
        is_forward: |kind| matches!(kind, OutputKind::Vhd(VhdVariant::Fixed)),
        doubts,
        ..Writing::one_file(kind, |path, sizes, kind, context| match kind {
            OutputKind::Vhd(VhdVariant::Dynamic) => {
                DynamicVhdWriter::create(path, only_size(sizes)?, context).map(boxed)
            }
            OutputKind::Vhd(VhdVariant::Fixed) => FixedVhdWriter::create(path, only_size(sizes)?, context).map(boxed),
            _ => Err(wrong_kind()),
        })
    },
};

/// A fixed one has its signature at the end only.
fn recognise(front: &[u8; PROBE], file: &SourceFile) -> Result<bool> {
    let mut end = [0; COOKIE.len()];
    if let Some(footer) = file.len().checked_sub(512) {
        file.read_exact_at(footer, &mut end)?;
    }
    Ok(front.starts_with(&COOKIE) || end == COOKIE)
}

fn kind(values: &mut OutputValues<'_, '_>, _: &OutputWishes<'_>) -> Result<OutputKind, OptionError> {
    let variants = [("dynamic", VhdVariant::Dynamic), ("fixed", VhdVariant::Fixed)];
    let variant = values.choice("subformat", "subformat of vhd", &variants);
    if values.switch("force_size")? == Some(false) {
        let hint = "Kiln's VHDs have the exact size of the disk, never one rounded to a geometry";
        return Err(OptionError::not_written("force_size", "off", hint));
    }
    Ok(OutputKind::Vhd(variant?.unwrap_or_default()))
}

fn doubts(size: u64) -> Option<String> {
    let larger = size.next_multiple_of(MIB);
    (larger != size).then(|| {
        format!(
            "the disk of {size} bytes is no whole number of MiB, and Azure takes no such VHD; enlarge the image first, as \
             `qemu-img resize IMAGE {larger}`"
        )
    })
}
