//! Opens files in directories that other processes write to: never waits for the other end of a fifo, follows no link, and takes
//! nothing but regular files.

use std::fs::{File, FileType, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// Opens the file as `options` say. A fifo, a link, a directory or a device in its place is an error at once.
///
/// # Errors
///
/// The system refuses, or it is no regular file.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    // The kernel's flags fit into an `int`; regular files do not care about NONBLOCK.
    let flags = (OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::NOCTTY).bits().cast_signed();
    match options.custom_flags(flags).open(path) {
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
        let fifo = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), fifo).unwrap();
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
        assert_eq!(open_to_read(&path("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
