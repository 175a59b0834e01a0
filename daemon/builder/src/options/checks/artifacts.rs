//! Rules of the post-processors.

use crate::export::FORMATS;
use crate::plan_reader::PlanReader;
use crate::post_processors::checksum::TYPES;

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

/// `formats` of export.
pub(crate) fn export_formats(reader: &mut PlanReader<'_>) {
    let formats = reader.texts("formats");
    if formats.is_empty() {
        reader.error("formats", "Nothing to export", "formats must name at least one format.");
    }
    for (index, format) in formats.iter().enumerate() {
        if !FORMATS.contains(&format.as_str()) {
            let detail = format!("{format:?} is not one of {}.", FORMATS.join(", "));
            reader.error("formats", "Unknown format", detail);
        }
        let same_file = |other: &String| other.starts_with("qcow2") && format.starts_with("qcow2");
        if formats[..index].iter().any(|other| other == format || same_file(other)) {
            reader.error("formats", "Format named twice", format!("{format:?} would be written over another."));
        }
    }
}
