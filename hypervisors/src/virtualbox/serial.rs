//! What the guest writes to its first serial port: VirtualBox puts it into a file.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

/// How much of it is kept when the file goes, in bytes.
pub(super) const KEPT: usize = 64 << 10;

/// Where it is, in the machine's directory.
pub(super) fn file(directory: &Path) -> PathBuf {
    directory.join("serial")
}

/// The last bytes of it, at most `max`; nothing when there is no file.
pub(super) fn tail(directory: &Path, max: usize) -> Vec<u8> {
    let read = || -> std::io::Result<Vec<u8>> {
        let mut file = File::open(file(directory))?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(max as u64)))?;
        let mut bytes = Vec::new();
        file.take(max as u64).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().unwrap_or_default()
}
