//! Sockets in the file system: whether anybody listens at one, and the removal of those that are left.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// A path for a socket, of any length.
pub(crate) struct SocketPlace {
    path: PathBuf,
    /// Another way there: the kernel copies at most 108 bytes of a socket's path, but follows this link to any length.
    short: PathBuf,
    /// What the link stands for.
    _directory: File,
}

impl SocketPlace {
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it names no file"));
        };
        let directory = File::open(parent)?;
        let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
        Ok(Self { path: path.to_owned(), short, _directory: directory })
    }

    pub(crate) fn bind(&self) -> io::Result<UnixListener> {
        UnixListener::bind(&self.short)
    }

    /// Removes a socket that nobody listens at any more.
    ///
    /// # Errors
    ///
    /// What is there is something else, or somebody listens there.
    pub(crate) fn clear(&self) -> io::Result<()> {
        let kind = match std::fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?.file_type(),
        };
        if !kind.is_socket() {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is a file that is no socket"));
        }
        if self.is_heard()? {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another program listens there"));
        }
        std::fs::remove_file(&self.path)
    }

    /// Tells whether somebody listens there, without waiting for whoever takes no more connections for now.
    fn is_heard(&self) -> io::Result<bool> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        match connect(&socket, &SocketAddrUnix::new(&self.short)?) {
            Err(Errno::CONNREFUSED) => Ok(false),
            // Its queue is full, or it is a socket of another kind.
            Ok(()) | Err(Errno::AGAIN | Errno::PROTOTYPE) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}

/// Removes what a dead process has left at `path`: a socket that nobody listens at any more. Whatever else is there by then is somebody
/// else's, and stays. Returns whether there was one to remove.
///
/// # Errors
///
/// It cannot be told whether somebody listens there, or the socket cannot be removed.
pub fn remove_dead_socket(path: &Path) -> io::Result<bool> {
    let cleared = SocketPlace::new(path).and_then(|place| {
        let there = std::fs::symlink_metadata(path).is_ok();
        place.clear().map(|()| there)
    });
    match cleared {
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::AlreadyExists | io::ErrorKind::AddrInUse => Ok(false),
            _ => Err(error),
        },
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixStream};

    use super::*;

    #[test]
    fn only_sockets_that_nobody_listens_at_are_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        let (dead, living, full, other) = (path("dead"), path("living"), path("full"), path("datagrams"));
        drop(UnixListener::bind(&dead).unwrap());
        let _listener = UnixListener::bind(&living).unwrap();
        let busy = UnixListener::bind(&full).unwrap();
        rustix::net::listen(&busy, 0).unwrap();
        let _waiting = UnixStream::connect(&full).unwrap();
        let _other = UnixDatagram::bind(&other).unwrap();
        std::fs::write(path("file"), "precious").unwrap();
        // A program that a neighbouring test is just starting has a copy of the listener for a moment.
        let begun = std::time::Instant::now();
        while !remove_dead_socket(&dead).unwrap() {
            assert!(begun.elapsed().as_secs() < 30, "it is taken for a living one");
        }
        assert!(!dead.exists());
        for name in ["dead", "living", "full", "datagrams", "file", "absent/socket"] {
            assert!(!remove_dead_socket(&path(name)).unwrap(), "{name}");
        }
        for name in ["living", "full", "datagrams", "file"] {
            assert!(path(name).exists(), "{name}");
        }
    }
}
