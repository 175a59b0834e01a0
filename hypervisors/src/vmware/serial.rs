//! What a guest writes to its serial port, which VMware puts into a file beside the machine's.

use std::path::{Path, PathBuf};

use super::machine_file::SERIAL_FILE;

/// How much of the guest's serial output is kept.
pub(super) const SERIAL_TAIL_BYTES: usize = 64 << 10;

/// Where the guest's serial output lies.
pub(super) fn serial_path(vmx: &Path) -> PathBuf {
    vmx.with_file_name(SERIAL_FILE)
}

/// The last bytes of a file, at most `max`.
pub(super) fn read_end(path: &Path, max: usize) -> Option<Vec<u8>> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok().filter(std::fs::Metadata::is_file)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(max as u64))).ok()?;
    let mut bytes = Vec::new();
    file.take(max as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
