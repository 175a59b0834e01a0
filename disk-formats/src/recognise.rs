//! Recognising a format: by signature, and by what contradicts a missing one.

use std::path::Path;

use crate::error::{ErrorKind, Result};
use crate::foreign;
use crate::format::Format;
use crate::format_row::PROBE;
use crate::formats::{FORMATS, format_named};
use crate::reading::packed::PACKED_EXTENSIONS;
use crate::reading::source_file::SourceFile;

/// What archives are called.
const TAR_EXTENSIONS: [&str; 7] = ["tar", "ova", "box", "tgz", "txz", "tbz2", "tzst"];

/// Recognises the format of a file that nobody named one for.
pub(crate) fn told_format(file: &SourceFile) -> Result<Format> {
    let format = format_of(file)?;
    if format == Format::Raw {
        foreign::refuse(file)?;
        refuse_contradiction(file)?;
    }
    Ok(format)
}

/// Refuses a file that nothing but its missing signature makes a raw disk, while its name or front says something else.
fn refuse_contradiction(file: &SourceFile) -> Result<()> {
    let mut front = [0; PROBE];
    file.read_padded_at(0, &mut front)?;
    let text = front.trim_ascii_start();
    let is_package = text.starts_with(b"<?xml") || text.starts_with(b"<Envelope") || text.starts_with(b".encoding");
    // A member of an archive has a name of its own.
    let name = file.member().map_or(file.path(), Path::new);
    let extension_of = |name: &Path| name.extension()?.to_str().map(str::to_ascii_lowercase);
    let last = extension_of(name).unwrap_or_default();
    // `disk.vmdk.gz` says vmdk.
    let unpacked = PACKED_EXTENSIONS.contains(&last.as_str()).then(|| name.file_stem().map(Path::new)).flatten();
    let extension = unpacked.map_or(last, |unpacked| extension_of(unpacked).unwrap_or_default());
    if TAR_EXTENSIONS.contains(&extension.as_str()) && front.iter().all(|byte| *byte == 0) {
        return Err(file
            .error(ErrorKind::Unsupported, "this is a tar archive without a file, so without a disk")
            .at(0)
            .with_hint("get the archive again; say `-f raw` if the bytes are a raw disk"));
    }
    let row = format_named(&extension).filter(|row| row.disks != Format::Raw);
    let is_archive = TAR_EXTENSIONS.contains(&extension.as_str());
    if is_package || row.is_some_and(|row| row.is_package && !is_archive) {
        return Err(file
            .error(ErrorKind::Unsupported, "this describes a machine and is no disk")
            .at(0)
            .with_hint("name the disks that it names, or an OVA"));
    }
    if row.is_none() && !is_archive {
        return Ok(());
    }
    Err(file
        .error(
            ErrorKind::Corrupt,
            format!("the name ends in .{extension}, but the signature of that format is missing"),
        )
        .at(0)
        .with_hint("say `-f raw` if the bytes are a raw disk; a fixed vhd has its signature at its end, also a cut one has none"))
}

/// Recognises the format of an opened file.
pub(crate) fn format_of(file: &SourceFile) -> Result<Format> {
    let mut front = [0; PROBE];
    file.read_padded_at(0, &mut front)?;
    for row in FORMATS {
        if let Some(reading) = &row.reading
            && (reading.recognise)(&front, file)?
        {
            return Ok(row.disks);
        }
    }
    Ok(Format::Raw)
}
