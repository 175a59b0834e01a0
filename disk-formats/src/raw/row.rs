//! The row of raw disks in the table of formats.

use super::reader::RawReader;
use super::resize::resize;
use super::writer::RawWriter;
use crate::format::Format;
use crate::format_row::{ExportRow, FormatRow, LimitRow, Reading, Writing, boxed, only_size};
use crate::output::OutputKind;

pub(crate) const ROW: FormatRow = FormatRow {
    names: Format::Raw.names(),
    qemu_name: Some("raw"),
    about: "the guest's bytes as they are, zeroes as holes",
    disks: Format::Raw,
    is_package: false,
    options: &[],
    exports: &[ExportRow { word: "raw", ending: ".raw", presets: &[] }],
    limits: &[LimitRow {
        options: &[],
        largest: i64::MAX as u64,
        words: "8 EiB less a byte",
        why: "no file can be larger",
    }],
    reading: Some(Reading {
        // What has no signature is raw; see `recognise`.
        recognise: |_, _| Ok(false),
        open: |file, _, opening| {
            opening.check_virtual_size(file.len(), &file, 0)?;
            Ok(Box::new(RawReader::new(file)))
        },
        check: None,
        info: None,
        snapshots: None,
        resize: Some(resize),
    }),
    writing: Writing {
        is_forward: |_| true,
        ..Writing::one_file(
            |_, _| Ok(OutputKind::Raw),
            |path, sizes, _, context| RawWriter::create(path, only_size(sizes)?, context).map(boxed),
        )
    },
};
