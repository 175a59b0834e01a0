//! Opens files in directories that other processes write to: never waits for the other end of a fifo or for a file system that is mounted on
//! the file, follows no link, and takes nothing but regular files.

use std::fs::{File, FileType, OpenOptions};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// Opens the file as `options` say. A fifo, a link, a directory, a device or a file system that is mounted there is an error at once.
///
/// # Errors
///
/// The system refuses, or it is no regular file.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // The kernel's flags fit into an `int`; regular files do not care about NONBLOCK.
    let flags = |flags: OFlags| (flags | OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    if let Some(found) = find(path)? {
        let kind = File::from(found.try_clone()?).metadata()?.file_type();
        if !kind.is_file() {
            return Err(not_regular(kind));
        }
        // The very file that was found, whatever has its name by now.
        let found = format!("/proc/self/fd/{}", found.as_raw_fd());
        match options.custom_flags(flags(OFlags::empty())).open(found) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            opened => return opened,
        }
    }
    match options.custom_flags(flags(OFlags::NOFOLLOW)).open(path) {
        Ok(file) => {
            let kind = file.metadata()?.file_type();
            if kind.is_file() { Ok(file) } else { Err(not_regular(kind)) }
        }
        // What the system says of a fifo (ENXIO) or a link (ELOOP) is understood by few.
        Err(error) => match path.symlink_metadata() {
            Ok(found) if !found.is_file() => Err(not_regular(found.file_type())),
            _ => Err(error),
        },
    }
}

/// Whether anything has this name. What is mounted there is not asked.
#[must_use]
pub fn is_there(path: &Path) -> bool {
    match find(path) {
        Ok(Some(_)) => true,
        Ok(None) => path.symlink_metadata().is_ok(),
        Err(error) => error.kind() == io::ErrorKind::CrossesDevices,
    }
}

/// Finds what has this name without asking a file system that is mounted there: a user may have mounted one (FUSE) that never answers. Nothing
/// when nothing is there, or the kernel (before 5.6) or a sandbox does not know how.
fn find(path: &Path) -> io::Result<Option<OwnedFd>> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let above = if above == Path::new("") { Path::new(".") } else { above };
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::NO_XDEV | ResolveFlags::BENEATH;
    let found = openat(CWD, above, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|above| openat2(above, name, flags, Mode::empty(), resolve));
    match found {
        Ok(found) => Ok(Some(found)),
        Err(Errno::XDEV) => {
            let text = "another file system is mounted on it";
            Err(io::Error::new(io::ErrorKind::CrossesDevices, text))
        }
        Err(_) => Ok(None),
    }
}

/// Opens the file for reading; see [`open`].
///
/// # Errors
///
/// The system refuses, or it is no regular file.
pub fn open_to_read(path: &Path) -> io::Result<File> {
    open(path, OpenOptions::new().read(true))
}

/// Opens a file that a user names, for reading: a link is followed, and nothing is waited for either.
///
/// # Errors
///
/// The system refuses, or it is no regular file.
pub fn open_named(path: &Path) -> io::Result<File> {
    // Before it is opened: to open a device may do something to it.
    let kind = path.metadata()?.file_type();
    if !kind.is_file() {
        return Err(not_regular(kind));
    }
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_file() { Ok(file) } else { Err(not_regular(kind)) }
}

fn not_regular(kind: FileType) -> io::Error {
    let found = match kind {
        kind if kind.is_fifo() => "a fifo",
        kind if kind.is_symlink() => "a symbolic link",
        kind if kind.is_dir() => "a directory",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    io::Error::new(io::ErrorKind::InvalidInput, format!("it is {found}, not a regular file"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_but_a_regular_file_is_opened_and_nothing_waits() {
        let scratch = tempfile::tempdir().unwrap();
        let path = |name: &str| scratch.path().join(name);
        let fifo = Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(CWD, path("fifo"), fifo).unwrap();
        std::fs::write(path("file"), "x").unwrap();
        std::os::unix::fs::symlink("file", path("link")).unwrap();
        std::fs::create_dir(path("directory")).unwrap();
        drop(std::os::unix::net::UnixListener::bind(path("socket")).unwrap());
        for name in ["fifo", "link", "directory", "socket"] {
            for options in [
                OpenOptions::new().read(true),
                OpenOptions::new().append(true).create(true),
                OpenOptions::new().read(true).write(true),
            ] {
                let error = open(&path(name), options).unwrap_err().to_string();
                assert!(
                    error.starts_with("it is a ") && error.contains(&name[..4]) || name == "link",
                    "{name}: {error}"
                );
                assert!(error.ends_with(", not a regular file"), "{name}: {error}");
            }
        }
        for name in ["fifo", "directory", "socket"] {
            let error = open_named(&path(name)).unwrap_err().to_string();
            assert!(error.ends_with(", not a regular file"), "{name}: {error}");
        }
        open_named(&path("link")).unwrap();
        open_to_read(&path("file")).unwrap();
        // Mounted there, as a user can mount on a file of their own.
        let mounted = open_to_read(Path::new("/proc")).unwrap_err();
        assert_eq!(mounted.to_string(), "another file system is mounted on it");
        assert!(is_there(Path::new("/proc")) && is_there(&path("link")) && !is_there(&path("none")));
        assert_eq!(open_to_read(&path("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
