//! Opens the images of a request: with the format that was named, and a policy for the files that they name.

use std::path::{Path, PathBuf};

use kiln_disk_formats::{DiskReader, Format, OpenPolicy, archived_disks, open};
use kiln_protocol::ImageSource;

use super::failure::{Failure, Failures};

/// Returns the names of the formats that can be read.
pub(super) fn format_names() -> Vec<&'static str> {
    Format::ALL.into_iter().flat_map(Format::names).copied().collect()
}

/// Returns a format's name in qemu-img's words.
pub(super) fn qemu_name(format: Format) -> &'static str {
    format.row().qemu_name.unwrap_or(format.name())
}

/// Opens an image.
pub(super) fn open_source(source: &ImageSource) -> Result<Box<dyn DiskReader>, Failures> {
    let format = named_format(source.format.as_deref())?;
    let (path, _) = split_path(&source.path);
    if matches!(source.path.as_str(), "-" | "/dev/stdin") {
        let failure = Failure::new(format!("cannot read an image from a pipe ({})", source.path));
        return Err(failure.hint("images are not read from front to back: save it to a file first").into());
    }
    Ok(open(path, format, &policy(source))?)
}

/// Divides `web.ova:data.vmdk`, which means that disk of the archive; a file of the whole name comes first.
pub(super) fn split_path(path: &str) -> (&Path, Option<&str>) {
    let whole = Path::new(path);
    match path.rsplit_once(':') {
        Some((archive, disk))
            if !disk.is_empty() && whole.symlink_metadata().is_err() && Path::new(archive).is_file() =>
        {
            (Path::new(archive), Some(disk))
        }
        _ => (whole, None),
    }
}

/// Returns one source for each disk of an archive that holds several, unless one was chosen; else the source itself.
pub(super) fn every_disk(source: &ImageSource) -> Vec<ImageSource> {
    let (path, chosen) = split_path(&source.path);
    let names = match chosen {
        Some(_) => Vec::new(),
        // What is wrong with it is told when it is opened.
        None => archived_disks(path).unwrap_or_default(),
    };
    match names.len() {
        0 | 1 => vec![source.clone()],
        _ => {
            names.iter().map(|name| ImageSource { path: format!("{}:{name}", source.path), ..source.clone() }).collect()
        }
    }
}

/// Files below the image's own directory may be opened: extents lie there, and usually parents. What lies elsewhere needs a word of
/// the user's, since an image from a stranger could name any file that the user can read.
pub(super) fn policy(source: &ImageSource) -> OpenPolicy {
    let (path, disk) = split_path(&source.path);
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let more = source.allow_backing.iter().map(PathBuf::from);
    let mut policy = OpenPolicy::allow_below(std::iter::once(directory).chain(more).collect());
    policy.archived_disk = disk.map(str::to_owned);
    policy.snapshot.clone_from(&source.snapshot);
    policy
}

/// Returns the format of this name.
pub(super) fn named_format(name: Option<&str>) -> Result<Option<Format>, Failure> {
    let Some(name) = name else { return Ok(None) };
    let format = Format::from_name(name).ok_or_else(|| Failure::unknown("the format", name, &format_names()))?;
    Ok(Some(format))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_of_an_archive_follows_a_colon() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name).to_string_lossy().into_owned();
        std::fs::write(path("a.ova"), b"").unwrap();
        std::fs::write(path("b:c"), b"").unwrap();
        assert_eq!(split_path(&path("a.ova:d.vmdk")), (Path::new(&path("a.ova")), Some("d.vmdk")));
        for whole in ["a.ova", "a.ova:", "b:c", "none:d.vmdk"] {
            assert_eq!(split_path(&path(whole)), (Path::new(&path(whole)), None));
        }
    }
}
