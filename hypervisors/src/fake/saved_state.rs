//! Saved states of fake machines: a file with the name of the hypervisor that they are of.

use std::io;
use std::path::Path;

use crate::spec::SavedState;

/// Writes to `path` what a machine of `hypervisor` would save.
pub(super) fn write(path: &Path, hypervisor: &str) -> io::Result<SavedState> {
    std::fs::write(path, hypervisor)?;
    Ok(SavedState { hypervisor: hypervisor.to_owned(), path: path.to_owned() })
}

/// Sees that there is a saved state that `hypervisor` can go on from.
pub(super) fn read(path: &Path, hypervisor: &str) -> io::Result<()> {
    let found = std::fs::read_to_string(path)?;
    if found != hypervisor {
        let problem = format!("a saved state of {found:?}, not of {hypervisor:?}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    Ok(())
}
