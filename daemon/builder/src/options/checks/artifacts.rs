//! Rules of the post-processors.

use std::path::Path;

use kiln_disk_formats::package::MachineDescription;
use kiln_disk_formats::{FormatOptions, export_named};
use kiln_template::Generated;

use crate::export::wishes;
use crate::plan_reader::PlanReader;
use crate::post_processors::checksum::TYPES;
use crate::post_processors::{artifice, compress};

/// `output`, the file that a post-processor writes, as far as it is known before something is built.
pub(crate) fn output(reader: &mut PlanReader<'_>) {
    let is_known = |output: &String| !output.contains(Generated::UNKNOWN) && !output.contains("{{");
    let Some(output) = reader.text("output").filter(is_known) else { return };
    let path = Path::new(&output);
    if path.is_dir() {
        let detail = format!("output is {output:?}, which is a directory; it names the file that is written.");
        reader.error("output", "A directory, not a file", detail);
    } else if let Some(file) = path.ancestors().skip(1).find(|above| above.exists()).filter(|above| !above.is_dir()) {
        let detail = format!("output is {output:?}, and {} is a file, which holds no others.", file.display());
        reader.error("output", "A file in the place of a directory", detail);
    }
}

/// `checksum_types` of checksum.
pub(crate) fn checksum_types(reader: &mut PlanReader<'_>) {
    for (index, name) in reader.texts("checksum_types").into_iter().enumerate() {
        if !TYPES.contains(&name.as_str()) {
            let detail = format!("Unrecognized checksum type: {name}; it must be one of {}.", TYPES.join(", "));
            reader.error_in("checksum_types", index, "Unrecognized checksum type", detail);
        }
    }
}

/// `output` of checksum, where there are several types.
pub(crate) fn checksum_output(reader: &mut PlanReader<'_>) {
    if reader.texts("checksum_types").len() > 1
        && reader.text("output").is_some_and(|output| !output.contains("ChecksumType"))
    {
        reader.error(
            "output",
            "One file for several checksum types",
            "With several checksum_types, output must contain {{.ChecksumType}}.",
        );
    }
}

/// `compression_level` of compress.
pub(crate) fn compression_level(reader: &mut PlanReader<'_>) {
    if let Some(level) = reader.options.integer("compression_level").filter(|level| *level < -1) {
        let detail = format!("compression_level is {level}, but must be -1 (the format's own) or more.");
        reader.error("compression_level", "Value out of range", detail);
    }
}

/// `format` of compress.
pub(crate) fn compress_format(reader: &mut PlanReader<'_>) {
    let Some(format) = reader.text("format").filter(|format| !format.contains(Generated::UNKNOWN)) else { return };
    if !compress::is_format(&format) {
        let detail = format!("{format:?} is no format that compress knows: it writes a tar file packed with gzip.");
        reader.warning("format", "Unknown format", detail);
    }
}

/// `files` of artifice.
pub(crate) fn artifice_files(reader: &mut PlanReader<'_>) {
    for (index, pattern) in reader.texts("files").into_iter().enumerate() {
        if pattern.contains(Generated::UNKNOWN) {
            continue;
        }
        if let Err(error) = artifice::Pattern::new(&pattern) {
            reader.error_in("files", index, "Invalid glob", format!("{pattern:?}: {error}."));
        }
    }
}

/// `formats` of export.
pub(crate) fn export_formats(reader: &mut PlanReader<'_>) {
    let formats = reader.texts("formats");
    if formats.is_empty() {
        reader.error("formats", "Nothing to export", "formats must name at least one format.");
    }
    let known: Vec<_> = formats.iter().map(|word| export_named(word)).collect();
    for (index, found) in known.iter().enumerate() {
        let Some((_, export)) = found else { continue };
        if known[..index].iter().flatten().any(|(_, other)| other.ending == export.ending) {
            let detail = format!("{:?} would be written over another.", export.word);
            reader.error_in("formats", index, "Format named twice", detail);
        }
    }
}

/// `format_options` of export: options that none of the formats has, and values that they do not take.
pub(crate) fn export_format_options(reader: &mut PlanReader<'_>) {
    let given = reader.map("format_options");
    // What is known only while the build runs is looked at then.
    let pairs = given.iter().filter(|(_, value)| !value.contains(Generated::UNKNOWN));
    let mut options = FormatOptions::new(pairs.map(|(name, value)| (name.as_str(), value.as_str())));
    let formats: Vec<_> = reader.texts("formats").iter().filter_map(|word| export_named(word)).collect();
    let machine = MachineDescription::default();
    for (row, export) in &formats {
        if let Err(error) = row.kind(export.word, export.presets, &mut options, &wishes(&machine)) {
            reader.error("format_options", "Unusable format option", format!("{}: {error}.", export.word));
        }
    }
    let outputs: Vec<_> = formats.iter().map(|(row, export)| (export.word, *row)).collect();
    for error in options.unused(&outputs) {
        reader.error("format_options", "Unknown format option", format!("{error}."));
    }
}
