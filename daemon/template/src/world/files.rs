//! Owns the only door to the file system: [`Files`], so that everything else here is pure.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of one file that are read at most: 64 MiB. Larger ones are an error, not an allocation.
const MAX_FILE_SIZE: u64 = 64 << 20;

/// What templates may ask of a file system.
///
/// Paths are absolute or relative to [`Inputs::cwd`](crate::Inputs::cwd) already joined by the caller.
pub trait Files: Send + Sync {
    /// Returns the bytes of a file.
    ///
    /// # Errors
    /// When it does not exist, is not a file, cannot be read or is larger than 64 MiB.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Returns the paths (`path` joined with each name) inside a folder, sorted by name.
    ///
    /// # Errors
    /// When it does not exist, is not a folder or cannot be read.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>>;

    /// Reports whether a folder is there (symbolic links followed).
    fn is_dir(&self, path: &Path) -> bool;

    /// Reports whether a regular file is there (symbolic links followed).
    fn is_file(&self, path: &Path) -> bool;

    /// Reports whether anything is there (symbolic links followed).
    fn exists(&self, path: &Path) -> bool {
        self.is_dir(path) || self.is_file(path)
    }
}

/// The machine's own file system.
#[derive(Debug, Clone, Copy, Default)]
pub struct OsFiles;

impl Files for OsFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        use io::Read as _;
        // Before it is opened: a named pipe would wait for a writer that may never come.
        refuse_special(path)?;
        let file = std::fs::File::open(path)?;
        let mut bytes = Vec::new();
        // One byte more than allowed tells "too large" apart, also for pipes, whose size is not known before.
        file.take(MAX_FILE_SIZE + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > MAX_FILE_SIZE {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "is larger than 64 MiB"));
        }
        Ok(bytes)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let mut paths = std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>()?;
        paths.sort();
        Ok(paths)
    }

    fn is_dir(&self, path: &Path) -> bool {
        path.is_dir()
    }

    fn is_file(&self, path: &Path) -> bool {
        path.is_file()
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }
}

/// Refuses what is not a file. Pipes that the caller has open (`<(…)`, `/dev/stdin`) and `/dev/null` are as good as files.
fn refuse_special(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::FileTypeExt as _;
    let kind = std::fs::metadata(path)?.file_type();
    let refuse = |what: &str| Err(io::Error::new(io::ErrorKind::InvalidInput, format!("is {what}, not a file")));
    let opened = || path.starts_with("/dev/fd") || path.starts_with("/proc") || path == Path::new("/dev/stdin");
    if kind.is_dir() {
        return Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory"));
    }
    match kind {
        kind if kind.is_fifo() && !opened() => refuse("a named pipe"),
        kind if kind.is_socket() => refuse("a socket"),
        kind if kind.is_block_device() => refuse("a device"),
        kind if kind.is_char_device() && path != Path::new("/dev/null") && !opened() => refuse("a device"),
        _ => Ok(()),
    }
}

/// Files that exist only in memory: for tests, editors and templates from standard input.
#[derive(Debug, Clone, Default)]
pub struct MemoryFiles {
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl MemoryFiles {
    /// Returns an empty file system.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a file; folders come into being with their files.
    #[must_use]
    pub fn with(mut self, path: impl Into<PathBuf>, bytes: impl Into<Vec<u8>>) -> Self {
        self.files.insert(path.into(), bytes.into());
        self
    }
}

impl Files for MemoryFiles {
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self.files.get(path) {
            Some(bytes) => Ok(bytes.clone()),
            None if self.is_dir(path) => Err(io::Error::new(io::ErrorKind::IsADirectory, "is a directory")),
            None => Err(io::Error::new(io::ErrorKind::NotFound, "no such file or directory")),
        }
    }

    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        if !self.is_dir(path) {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no such file or directory"));
        }
        let mut paths: Vec<PathBuf> = self
            .files
            .keys()
            .filter_map(|file| Some(path.join(file.strip_prefix(path).ok()?.components().next()?)))
            .collect();
        paths.sort();
        paths.dedup();
        Ok(paths)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.files.keys().any(|file| file.starts_with(path) && file != path)
    }

    fn is_file(&self, path: &Path) -> bool {
        self.files.contains_key(path)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;

    #[test]
    fn what_is_not_a_file_is_refused_at_once() {
        let folder = std::env::temp_dir().join(format!("kiln-files-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let (pipe, socket) = (folder.join("pipe"), folder.join("socket"));
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let _listener = UnixListener::bind(&socket).unwrap();
        let reason = |path: &Path| OsFiles.read(path).unwrap_err().to_string();
        assert_eq!(reason(&pipe), "is a named pipe, not a file");
        assert_eq!(reason(&socket), "is a socket, not a file");
        assert_eq!(reason(Path::new("/dev/zero")), "is a device, not a file");
        assert_eq!(reason(&folder), "is a directory");
        assert_eq!(OsFiles.read(Path::new("/dev/null")).unwrap(), b"");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_pipe_that_the_caller_has_open_is_read() {
        use std::io::Write as _;
        use std::os::fd::AsRawFd as _;
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"a = 1\n").unwrap();
        drop(writer);
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        assert_eq!(OsFiles.read(Path::new(&path)).unwrap(), b"a = 1\n");
    }
}
