//! The row of VHDX in the table of formats.

use super::check::check;
use super::layout::{FILE_SIGNATURE, MAX_SIZE};
use super::reader::VhdxReader;
use super::writer::VhdxWriter;
use crate::format::Format;
use crate::format_row::{ExportRow, FormatRow, LimitRow, Reading, Writing, boxed, only_size};
use crate::output::OutputKind;

pub(crate) const ROW: FormatRow = FormatRow {
    names: Format::Vhdx.names(),
    qemu_name: Some("vhdx"),
    about: "Microsoft's newer format, dynamic",
    disks: Format::Vhdx,
    is_package: false,
    options: &[],
    exports: &[ExportRow { word: "vhdx", ending: ".vhdx", presets: &[] }],
    limits: &[LimitRow { options: &[], largest: MAX_SIZE, words: "64 TiB", why: "the format's limit" }],
    reading: Some(Reading {
        recognise: |front, _| Ok(front.starts_with(&FILE_SIGNATURE)),
        open: |file, _, opening| Ok(Box::new(VhdxReader::open(file, opening)?)),
        check: Some(|file, _| check(file, None)),
        info: None,
        snapshots: None,
        resize: None,
    }),
    writing: Writing {
        // QEMU takes a capacity of 0 for damage.
        holds_nothing: false,
        ..Writing::one_file(
            |_, _| Ok(OutputKind::Vhdx),
            |path, sizes, _, context| VhdxWriter::create(path, only_size(sizes)?, context).map(boxed),
        )
    },
};
