//! Opens the images of a request: with the format that was named, and a policy for the files that they name.

use std::path::{Path, PathBuf};

use kiln_disk_formats::{DiskReader, Format, OpenPolicy, open};
use kiln_protocol::ImageSource;

use super::failure::{Failure, Failures};

/// Names of the formats that can be read, in qemu-img's words.
pub(super) const FORMATS: [&str; 7] = ["raw", "qcow2", "vmdk", "vdi", "vhd", "vpc", "vhdx"];

/// Returns a format's name in qemu-img's words.
pub(super) fn qemu_name(format: Format) -> &'static str {
    match format {
        Format::Vhd => "vpc",
        other => other.name(),
    }
}

/// Opens an image.
pub(super) fn open_source(source: &ImageSource) -> Result<Box<dyn DiskReader>, Failures> {
    let format = named_format(source.format.as_deref())?;
    let path = Path::new(&source.path);
    if matches!(source.path.as_str(), "-" | "/dev/stdin") {
        let failure = Failure::new(format!("cannot read an image from a pipe ({})", source.path));
        return Err(failure.hint("images are not read from front to back: save it to a file first").into());
    }
    Ok(open(path, format, &policy(source))?)
}

/// Files below the image's own directory may be opened: extents lie there, and usually parents. What lies elsewhere needs a word of
/// the user's, since an image from a stranger could name any file that the user can read.
pub(super) fn policy(source: &ImageSource) -> OpenPolicy {
    let path = Path::new(&source.path);
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let more = source.allow_backing.iter().map(PathBuf::from);
    OpenPolicy::allow_below(std::iter::once(directory).chain(more).collect())
}

/// Returns the format of this name.
pub(super) fn named_format(name: Option<&str>) -> Result<Option<Format>, Failure> {
    let Some(name) = name else { return Ok(None) };
    let format = Format::from_name(name).ok_or_else(|| Failure::unknown("the format", name, &FORMATS))?;
    Ok(Some(format))
}
