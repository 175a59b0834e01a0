//! Files that are written whole or not at all.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown};
use std::path::{Path, PathBuf};

/// Permissions of a new file, before the mask.
const NEW_FILE_MODE: u32 = 0o666;

/// Writes a file, in the place of one that may be there. A link stays a link; what is replaced keeps its permissions and, where
/// that is possible, its owner.
pub(super) fn write_whole(path: &Path, text: &str) -> io::Result<()> {
    let (path, metadata) = match fs::metadata(path) {
        Ok(metadata) => (fs::canonicalize(path)?, Some(metadata)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => (path.to_owned(), None),
        Err(error) => return Err(error),
    };
    if let Some(metadata) = &metadata {
        if !metadata.is_file() {
            // A device or a pipe is written as it is.
            return File::create(&path)?.write_all(text.as_bytes());
        }
        // A file that must not be written is not replaced either.
        fs::OpenOptions::new().write(true).open(&path)?;
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut file = tempfile::Builder::new()
        .prefix(".kiln-")
        .permissions(Permissions::from_mode(NEW_FILE_MODE))
        .tempfile_in(&directory)?;
    file.write_all(text.as_bytes())?;
    if let Some(metadata) = metadata {
        let made = file.as_file().metadata()?;
        if (made.uid(), made.gid()) != (metadata.uid(), metadata.gid()) {
            fchown(file.as_file(), Some(metadata.uid()), Some(metadata.gid()))?;
        }
        file.as_file().set_permissions(metadata.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(&path)?;
    // The rename itself is durable only when the directory is.
    File::open(&directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_replaced_file_keeps_its_link_and_its_permissions() {
        let directory = tempfile::tempdir().unwrap();
        let (real, link) = (directory.path().join("real.pkr.hcl"), directory.path().join("link.pkr.hcl"));
        write_whole(&real, "old").unwrap();
        fs::set_permissions(&real, Permissions::from_mode(0o640)).unwrap();
        symlink("real.pkr.hcl", &link).unwrap();
        write_whole(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&real).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing is left");
    }
}
