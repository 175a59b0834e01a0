//! The mark in a directory of a build that was aborted, in which the files of a machine had to stay: whoever removes the build's files leaves it.
//!
//! Its first line says for people what is kept, the others name the files. It holds as long as one of these is there, and so ends by itself
//! when the machine is moved or removed by its hypervisor's own tools. An empty one, as a full disk leaves it, holds until somebody deletes it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// The name of the mark.
pub const NAME: &str = ".kiln-aborted";

/// Marks a directory. `words` are for people, on one line.
///
/// # Errors
/// Not even an empty mark can be made.
pub(crate) fn write(directory: &Path, words: &str, files: &[PathBuf]) -> io::Result<()> {
    let mut text = words.replace('\n', " ").into_bytes();
    text.push(b'\n');
    // A name that is no line of its own is left out; the machine's other files hold the mark.
    for file in files.iter().map(|file| file.as_os_str().as_bytes()).filter(|file| !file.contains(&b'\n')) {
        text.extend(file);
        text.push(b'\n');
    }
    let mark = directory.join(NAME);
    let new = directory.join(format!("{NAME}.new"));
    let whole = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&text)?;
        file.sync_all()?;
        std::fs::rename(&new, &mark)
    };
    if whole().is_err() {
        // Where the disk is full, what was begun of it is the mark: it says less, and holds longer.
        let empty = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        empty.sync_all()?;
        std::fs::rename(&new, &mark)?;
    }
    File::open(directory)?.sync_all()
}

/// Says by the text of a mark what is kept; `None`: nothing any more.
#[must_use]
pub fn kept(text: &[u8]) -> Option<String> {
    let mut lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
    let Some(words) = lines.next() else { return Some("the machine of an aborted build".to_owned()) };
    let is_there = |line: &[u8]| {
        let found = Path::new(std::ffi::OsStr::from_bytes(line)).symlink_metadata();
        !found.is_err_and(|error| matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory))
    };
    let mut files = lines.peekable();
    let holds = files.peek().is_none() || files.any(is_there);
    holds.then(|| String::from_utf8_lossy(words).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_holds_as_long_as_a_file_of_the_machine_is_there() {
        let scratch = tempfile::tempdir().unwrap();
        let files = ["web.vbox", "web.vmdk"].map(|name| scratch.path().join(name));
        write(scratch.path(), "the machine\nweb", &files).unwrap();
        let read = || kept(&std::fs::read(scratch.path().join(NAME)).unwrap());
        assert_eq!(read(), None);
        for file in &files {
            std::fs::write(file, "").unwrap();
            assert_eq!(read().as_deref(), Some("the machine web"));
            std::fs::remove_file(file).unwrap();
        }
        assert_eq!(read(), None);
        write(scratch.path(), "of what nothing is known", &[]).unwrap();
        assert_eq!(read().as_deref(), Some("of what nothing is known"));
        assert!(kept(b"").is_some());
        let names: Vec<_> =
            std::fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, [NAME]);
    }
}
