//! The row of qcow2 in the table of formats.

use super::check::check;
use super::info::info;
use super::layout::MAGIC;
use super::reader::Qcow2Reader;
use super::resize::resize;
use super::snapshots;
use super::writer::Qcow2Writer;
use crate::format::Format;
use crate::format_options::{COMPRESSION, OptionError, OutputValues, choice};
use crate::format_row::{
    ExportRow, FormatRow, LimitRow, OptionRow, OutputWishes, Reading, Writing, boxed, only_size, wrong_kind,
};
use crate::output::OutputKind;
use crate::output_options::{Compression, Qcow2Method, Qcow2Options};

pub(crate) const ROW: FormatRow = FormatRow {
    names: Format::Qcow2.names(),
    qemu_name: Some("qcow2"),
    about: "QEMU's format, version 3",
    disks: Format::Qcow2,
    is_package: false,
    options: &[
        OptionRow { name: "cluster_size", values: "SIZE", about: "unit of allocation: a power of two from 512 to 2M" },
        OptionRow { name: "compression", values: "none|auto|default|fast|best", about: "how hard to compress" },
        OptionRow { name: "compression_type", values: "zlib|zstd", about: "zstd is faster and needs QEMU 5.1" },
        OptionRow { name: "compat", values: "1.1", about: "always so: version 3" },
    ],
    exports: &[
        ExportRow { word: "qcow2", ending: ".qcow2", presets: &[] },
        ExportRow { word: "qcow2-compressed", ending: ".qcow2", presets: &[("compression", "auto")] },
    ],
    limits: &[LimitRow {
        options: &[("cluster_size", "64k")],
        largest: 2 << 50,
        words: "2 PiB",
        why: "QEMU's largest L1 table; less with smaller clusters, more with larger ones",
    }],
    reading: Some(Reading {
        recognise: |front, _| Ok(front.starts_with(&MAGIC)),
        open: |file, snapshot, opening| Ok(Box::new(Qcow2Reader::open(file, snapshot, opening)?)),
        check: Some(|file, _| check(file)),
        info: Some(info),
        snapshots: Some(snapshots::list),
        resize: Some(resize),
    }),
    writing: Writing::one_file(kind, |path, sizes, kind, context| {
        let OutputKind::Qcow2(options) = kind else { return Err(wrong_kind()) };
        Qcow2Writer::create(path, only_size(sizes)?, options, None, context).map(boxed)
    }),
};

fn kind(values: &mut OutputValues<'_, '_>, wishes: &OutputWishes<'_>) -> Result<OutputKind, OptionError> {
    let mut qcow2 =
        Qcow2Options { compression: wishes.compress.then_some(Compression::Auto), ..Qcow2Options::default() };
    if let Some(value) = values.take("compression") {
        let is_none = value.eq_ignore_ascii_case("none");
        qcow2.compression = if is_none { None } else { Some(choice("compression", value, &COMPRESSION)?) };
    }
    let methods = [("zlib", Qcow2Method::Zlib), ("zstd", Qcow2Method::Zstd)];
    qcow2.method = values.choice("compression_type", "compression_type", &methods)?.unwrap_or_default();
    if let Some((bytes, value)) = values.size("cluster_size")? {
        let fits = bytes.is_power_of_two() && (512..=2 << 20).contains(&bytes);
        let hint = "a power of two from 512 to 2M";
        let bytes = u32::try_from(bytes).ok().filter(|_| fits);
        qcow2.cluster_size =
            bytes.ok_or_else(|| OptionError::impossible("cluster_size", value, "is not possible", hint))?;
    }
    match values.take("compat") {
        None | Some("1.1" | "v3") => Ok(OutputKind::Qcow2(qcow2)),
        Some(value) => {
            let hint = "Kiln writes version 3 (compat=1.1), which QEMU reads since 1.1";
            Err(OptionError::not_written("compat", value, hint))
        }
    }
}
