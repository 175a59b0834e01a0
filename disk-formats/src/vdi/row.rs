//! The row of VDI in the table of formats.

use super::check::check;
use super::layout::{MAGIC, MAGIC_OFFSET};
use super::reader::VdiReader;
use super::writer::{MAX_DISK, VdiWriter};
use crate::format::Format;
use crate::format_row::{ExportRow, FormatRow, LimitRow, Reading, Writing, boxed, only_size};
use crate::output::OutputKind;

pub(crate) const ROW: FormatRow = FormatRow {
    names: Format::Vdi.names(),
    qemu_name: Some("vdi"),
    about: "VirtualBox's format, dynamic",
    disks: Format::Vdi,
    is_package: false,
    options: &[],
    exports: &[ExportRow { word: "vdi", ending: ".vdi", presets: &[] }],
    limits: &[LimitRow { options: &[], largest: MAX_DISK, words: "1023.5 TiB", why: "32-bit offsets" }],
    reading: Some(Reading {
        recognise: |front, _| Ok(front[MAGIC_OFFSET..].starts_with(&MAGIC.to_le_bytes())),
        open: |file, _, opening| Ok(Box::new(VdiReader::open(file, opening)?)),
        check: Some(|file, _| check(file, None)),
        info: None,
        snapshots: None,
        resize: None,
    }),
    writing: Writing::one_file(
        |_, _| Ok(OutputKind::Vdi),
        |path, sizes, _, context| VdiWriter::create(path, only_size(sizes)?, context).map(boxed),
    ),
};
