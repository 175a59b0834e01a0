//! Saved states of fake machines: a file that says whose it is.

use std::io::{self, Read as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::spec::SavedState;

/// The layout of the file.
const VERSION: u32 = 1;

/// The largest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 16;

#[derive(Debug, Serialize, Deserialize)]
struct Contents {
    hypervisor: String,
    version: u32,
}

/// Writes to `path` what a machine of `hypervisor` would save.
pub(super) fn write(path: &Path, hypervisor: &str) -> io::Result<SavedState> {
    let contents = Contents { hypervisor: hypervisor.to_owned(), version: VERSION };
    std::fs::write(path, serde_json::to_vec(&contents)?)?;
    Ok(SavedState { hypervisor: hypervisor.to_owned(), path: path.to_owned() })
}

/// Reads a saved state that `hypervisor` is to go on from.
pub(super) fn read(path: &Path, hypervisor: &str) -> io::Result<()> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    let wrong = |problem: String| io::Error::new(io::ErrorKind::InvalidData, problem);
    let contents: Contents =
        serde_json::from_slice(&bytes).map_err(|error| wrong(format!("no saved state: {error}")))?;
    if contents.hypervisor != hypervisor {
        return Err(wrong(format!("a saved state of {}, not of {hypervisor}", contents.hypervisor)));
    }
    if contents.version != VERSION {
        return Err(wrong(format!("a saved state of version {}; this is version {VERSION}", contents.version)));
    }
    Ok(())
}
