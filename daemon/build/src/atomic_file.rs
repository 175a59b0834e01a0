//! Files that appear under their name only when they are whole: written beside it, synced, renamed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use tempfile::NamedTempFile;

/// Writes `content` to `path` with permission bits `mode`; makes the directories above it.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = beside(path)?;
    file.write_all(content)?;
    publish(file, path, mode)
}

/// Copies `from` to `to` with its permission bits; returns the number of bytes.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<u64> {
    let mut source = File::open(from)?;
    let mode = source.metadata()?.permissions().mode() & 0o777;
    let mut file = beside(to)?;
    let copied = io::copy(&mut source, file.as_file_mut())?;
    publish(file, to, mode)?;
    Ok(copied)
}

fn beside(path: &Path) -> io::Result<NamedTempFile> {
    let directory = directory_of(path);
    fs::create_dir_all(directory)?;
    tempfile::Builder::new().prefix(".kiln-").tempfile_in(directory)
}

fn publish(file: NamedTempFile, path: &Path, mode: u32) -> io::Result<()> {
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    // The rename itself is durable only when the directory is.
    File::open(directory_of(path))?.sync_all()
}

fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_files_and_leaves_nothing_beside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("new/folder/file");
        write(&path, b"one", 0o600).unwrap();
        write(&path, b"two", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let other = directory.path().join("new/folder/copy");
        assert_eq!(copy(&path, &other).unwrap(), 3);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
    }

    #[test]
    fn a_failed_write_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        fs::create_dir(&path).unwrap();
        assert!(write(&path, b"x", 0o600).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
