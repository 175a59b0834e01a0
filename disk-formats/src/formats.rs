//! The table of formats. A format is known here and nowhere else: what reads it, what writes it, its names, options and limits.
//!
//! `kiln convert`, `kiln image`, a builder's `format`, the export post-processor, `--help` and the documentation all read it.

use std::path::PathBuf;

use crate::error::{ErrorKind, Result};
use crate::format::Format;
use crate::format_options::{FormatOptions, OptionError, OutputValues};
use crate::format_row::{ExportRow, FormatRow, OutputWishes};
use crate::output::{Output, OutputKind};
use crate::package::rows as package;
use crate::reading::opening::{ImageOpener, Opening};
use crate::reading::reader::DiskReader;
use crate::reading::source_file::SourceFile;
use crate::{qcow2, raw, vdi, vhd, vhdx, vmdk};

/// All formats, disks first. A file is recognised as the first whose signature it has, so that a signature at the front counts
/// before one further back.
pub const FORMATS: [&FormatRow; 9] =
    [&raw::ROW, &qcow2::ROW, &vmdk::ROW, &vhdx::ROW, &vdi::ROW, &vhd::ROW, &package::OVF, &package::OVA, &package::VMX];

/// All words for formats in templates.
pub const EXPORT_WORDS: [&str; export_words()] = {
    let mut words = [""; export_words()];
    let (mut row, mut count) = (0, 0);
    while row < FORMATS.len() {
        let mut export = 0;
        while export < FORMATS[row].exports.len() {
            words[count] = FORMATS[row].exports[export].word;
            (export, count) = (export + 1, count + 1);
        }
        row += 1;
    }
    words
};

const fn export_words() -> usize {
    let (mut row, mut count) = (0, 0);
    while row < FORMATS.len() {
        count += FORMATS[row].exports.len();
        row += 1;
    }
    count
}

/// Returns the row of a name or suffix, in any case.
#[must_use]
pub fn format_named(word: &str) -> Option<&'static FormatRow> {
    FORMATS.into_iter().find(|row| row.names.iter().any(|name| name.eq_ignore_ascii_case(word)))
}

/// Returns what a word of a template means.
#[must_use]
pub fn export_named(word: &str) -> Option<(&'static FormatRow, &'static ExportRow)> {
    let in_row = |row: &'static FormatRow| Some((row, row.exports.iter().find(|export| export.word == word)?));
    FORMATS.into_iter().find_map(in_row)
}

impl FormatRow {
    /// Returns the usual name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.names[0]
    }

    /// Reads what to write; `output` is what options call it.
    ///
    /// # Errors
    /// When an option has a value that the format does not take.
    pub fn kind(
        &self,
        output: &str,
        presets: &'static [(&'static str, &'static str)],
        options: &mut FormatOptions<'_>,
        wishes: &OutputWishes<'_>,
    ) -> Result<OutputKind, OptionError> {
        (self.writing.kind)(&mut OutputValues { options, output, presets }, wishes)
    }
}

impl FormatOptions<'_> {
    /// Complains about the options that none of these outputs took, which are given with what options call them.
    #[must_use]
    pub fn unused(&self, outputs: &[(&str, &FormatRow)]) -> Vec<OptionError> {
        let names: Vec<&str> = outputs.iter().map(|(name, _)| *name).collect();
        let mut known: Vec<&str> = outputs.iter().flat_map(|(_, row)| row.options).map(|option| option.name).collect();
        known.sort_unstable();
        known.dedup();
        self.not_taken(&names, &known)
    }
}

impl Format {
    /// Returns what is known of it.
    #[must_use]
    pub fn row(self) -> &'static FormatRow {
        match self {
            Self::Raw => &raw::ROW,
            Self::Qcow2 => &qcow2::ROW,
            Self::Vmdk => &vmdk::ROW,
            Self::Vdi => &vdi::ROW,
            Self::Vhd => &vhd::ROW,
            Self::Vhdx => &vhdx::ROW,
        }
    }
}

impl OutputKind {
    /// Returns the format that is written.
    #[must_use]
    pub fn row(&self) -> &'static FormatRow {
        match self {
            Self::Raw => &raw::ROW,
            Self::Qcow2(_) => &qcow2::ROW,
            Self::Vmdk(_) => &vmdk::ROW,
            Self::Vdi => &vdi::ROW,
            Self::Vhd(_) => &vhd::ROW,
            Self::Vhdx => &vhdx::ROW,
            Self::Ovf(_) => &package::OVF,
            Self::Ova(_) => &package::OVA,
            Self::Vmx(_) => &package::VMX,
        }
    }

    /// Returns the format of the disks written.
    #[must_use]
    pub fn disk_format(&self) -> Format {
        self.row().disks
    }
}

impl Output {
    /// Names the files that it makes of disks of these sizes in bytes, its main file first.
    #[must_use]
    pub fn files(&self, sizes: &[u64]) -> Vec<PathBuf> {
        (self.kind.row().writing.file_names)(&self.path, sizes, &self.kind)
    }

    /// Says what is wrong with a disk of this many bytes for where such images usually go, though it is correct.
    #[must_use]
    pub fn doubts(&self, size: u64) -> Option<String> {
        (self.kind.row().writing.doubts)(size)
    }
}

/// Opens an image of any format.
pub(crate) struct AllFormats;

impl ImageOpener for AllFormats {
    fn open(
        &self,
        file: SourceFile,
        format: Format,
        snapshot: Option<&str>,
        opening: &Opening<'_>,
    ) -> Result<Box<dyn DiskReader>> {
        let Some(reading) = &format.row().reading else {
            return Err(file.error(ErrorKind::Unsupported, format!("a {format} cannot be read")));
        };
        if snapshot.is_some() && reading.snapshots.is_none() {
            let rule = format!("a snapshot was chosen, but a {format} image has none inside");
            return Err(file.error(ErrorKind::InvalidInput, rule).at(0));
        }
        (reading.open)(file, snapshot, opening)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_words_are_unique_and_lead_to_their_rows() {
        let names: Vec<&str> = FORMATS.iter().flat_map(|row| row.names).copied().collect();
        let mut unique = names.clone();
        unique.sort_unstable();
        unique.dedup();
        assert_eq!(unique.len(), names.len());
        for row in FORMATS {
            for name in row.names {
                assert_eq!(format_named(&name.to_uppercase()).unwrap().names, row.names);
            }
            assert!(!row.exports.is_empty(), "{}: no template can ask for it", row.name());
            assert!(!row.limits.is_empty() && !row.about.is_empty(), "{}", row.name());
        }
        let mut words = EXPORT_WORDS.to_vec();
        assert!(words.iter().all(|word| export_named(word).is_some_and(|(_, export)| export.word == *word)));
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), EXPORT_WORDS.len());
        assert!(export_named("nothing").is_none() && format_named("").is_none());
    }

    #[test]
    fn formats_of_disks_and_their_rows_are_one_to_one() {
        let disks: Vec<_> = FORMATS.into_iter().filter(|row| !row.is_package).map(|row| row.disks).collect();
        assert_eq!(disks, Format::ALL);
        for format in Format::ALL {
            let row = format.row();
            assert_eq!((row.disks, row.names, row.is_package), (format, format.names(), false));
            assert!(row.reading.is_some());
            assert!(row.qemu_name.is_none_or(|name| Format::from_name(name) == Some(format)));
        }
        assert_eq!(Format::from_name("ova"), None);
    }
}
