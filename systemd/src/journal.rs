//! The journal, spoken to in its own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): one datagram for each entry, with named fields.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// Longest value of a field, in bytes; more of it is left out. What does not fit into a datagram would have to go through a file.
const MAX_VALUE_BYTES: usize = 8 << 10;

/// A connection to the journal. Never waits: an entry that a busy journald has no room for is lost.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
}

impl Journal {
    /// Connects when standard error of this process is a stream of the journal: when `JOURNAL_STREAM` names it (systemd.exec(5)).
    #[must_use]
    pub fn of_this_process() -> Option<Self> {
        let told = std::env::var("JOURNAL_STREAM").ok()?;
        let stderr = rustix::fs::fstat(rustix::stdio::stderr()).ok()?;
        (told == format!("{}:{}", stderr.st_dev, stderr.st_ino)).then(|| Self::at(Path::new(SOCKET)).ok()).flatten()
    }

    /// Connects to a journal that listens there.
    ///
    /// # Errors
    ///
    /// Nobody does.
    pub fn at(path: &Path) -> io::Result<Self> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket })
    }

    /// Writes an entry. Names are made of capital letters, digits and `_`, and begin with a letter.
    ///
    /// # Errors
    ///
    /// The journal is not there any more, or has no room.
    pub fn write<'a>(&self, fields: impl IntoIterator<Item = (&'a str, &'a str)>) -> io::Result<()> {
        let mut entry = Vec::new();
        for (name, value) in fields {
            put(&mut entry, name, value);
        }
        self.socket.send(&entry).map(drop)
    }
}

/// Adds a field: a line, or with its length where the value has line breaks, which would begin a field of their own.
fn put(entry: &mut Vec<u8>, name: &str, value: &str) {
    let value = &value[..value.floor_char_boundary(MAX_VALUE_BYTES)];
    entry.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        entry.push(b'\n');
        entry.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        entry.push(b'=');
    }
    entry.extend_from_slice(value.as_bytes());
    entry.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_has_its_fields_and_no_value_begins_another() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("socket");
        assert!(Journal::at(&path).is_err());
        let journald = UnixDatagram::bind(&path).unwrap();
        let journal = Journal::at(&path).unwrap();
        let long = "x".repeat(20_000);
        journal.write([("MESSAGE", "two\nPRIORITY=0"), ("JOB_ID", "abc"), ("LONG", &long)]).unwrap();
        let mut entry = vec![0; 65_536];
        let length = journald.recv(&mut entry).unwrap();
        let mut expected = b"MESSAGE\n\x0e\0\0\0\0\0\0\0two\nPRIORITY=0\nJOB_ID=abc\nLONG=".to_vec();
        expected.extend_from_slice(&long.as_bytes()[..MAX_VALUE_BYTES]);
        expected.push(b'\n');
        assert_eq!(&entry[..length], expected);
    }
}
