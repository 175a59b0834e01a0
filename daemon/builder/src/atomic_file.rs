//! Files that appear under their name only when they are whole: written beside it, synced, renamed.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use tempfile::{NamedTempFile, TempPath};

/// Writes `content` to `path` with permission bits `mode`, less the umask; makes the directories above it.
pub(crate) fn write(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = beside(path, mode)?;
    file.write_all(content)?;
    publish(file, path)
}

/// As [`write`], by way of `temporary`, a name beside it that nobody has.
pub(crate) fn write_by_way_of(temporary: &Path, path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let mut file = called(temporary, mode)?;
    file.write_all(content)?;
    publish(file, path)
}

/// Copies `from` to `to` with its permission bits, less the umask, by way of `temporary`, a name beside it that nobody has; returns the
/// number of bytes.
pub(crate) fn copy(from: &Path, temporary: &Path, to: &Path) -> io::Result<u64> {
    let mut source = File::open(from)?;
    let mode = source.metadata()?.permissions().mode() & 0o777;
    let mut file = called(temporary, mode)?;
    let copied = io::copy(&mut source, file.as_file_mut())?;
    publish(file, to)?;
    Ok(copied)
}

/// Lets `fill` write to `path` with permission bits `mode`, less the umask, by way of `temporary`, a name beside it that nobody has. When
/// `fill` fails, nothing is left.
pub(crate) fn write_with<T>(
    temporary: &Path,
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut File) -> io::Result<T>,
) -> io::Result<T> {
    let mut file = called(temporary, mode)?;
    let filled = fill(file.as_file_mut())?;
    publish(file, path)?;
    Ok(filled)
}

fn beside(path: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let directory = directory_of(path);
    fs::create_dir_all(directory)?;
    // The mode is given at creation, where the kernel takes the umask off it.
    let permissions = fs::Permissions::from_mode(mode);
    tempfile::Builder::new().prefix(".kiln-").permissions(permissions).tempfile_in(directory)
}

fn called(temporary: &Path, mode: u32) -> io::Result<NamedTempFile> {
    fs::create_dir_all(directory_of(temporary))?;
    let file = File::options().read(true).write(true).create_new(true).mode(mode).open(temporary)?;
    Ok(NamedTempFile::from_parts(file, TempPath::try_from_path(temporary)?))
}

fn publish(file: NamedTempFile, path: &Path) -> io::Result<()> {
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
        assert_eq!(copy(&path, &directory.path().join("new/folder/.part"), &other).unwrap(), 3);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 2);
    }

    #[test]
    fn the_umask_decides_as_for_any_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        // What the kernel makes of these modes under the umask that is in force.
        for bits in [0o666, 0o777, 0o600] {
            let plain = path("plain");
            fs::OpenOptions::new().write(true).create_new(true).mode(bits).open(&plain).unwrap();
            write(&path("written"), b"x", bits).unwrap();
            fs::set_permissions(path("written"), fs::Permissions::from_mode(bits)).unwrap();
            copy(&path("written"), &path(".part"), &path("copied")).unwrap();
            write(&path("written"), b"x", bits).unwrap();
            assert_eq!((mode(&path("written")), mode(&path("copied"))), (mode(&plain), mode(&plain)), "{bits:o}");
            fs::remove_file(plain).unwrap();
        }
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
