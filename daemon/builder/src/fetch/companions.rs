//! The names of the files that stand beside a download until it is whole.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// What has arrived so far.
pub(super) const PARTIAL: &str = "partial";
/// Which URL that came from, and its version.
pub(super) const ORIGIN: &str = "origin";
/// Held while somebody downloads.
pub(super) const LOCK: &str = "lock";

/// Returns the name of a companion of a file: the same with another extension behind it.
pub(super) fn beside(target: &Path, suffix: &str) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    PathBuf::from(name)
}

/// Returns the file whose companion this is.
pub(super) fn target_of(companion: &Path) -> Option<PathBuf> {
    let extension = companion.extension()?;
    [PARTIAL, ORIGIN, LOCK].iter().any(|&suffix| extension == OsStr::new(suffix)).then(|| companion.with_extension(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn companions_lead_back_to_their_file() {
        let target = Path::new("/c/x.iso");
        for suffix in [PARTIAL, ORIGIN, LOCK] {
            assert_eq!(target_of(&beside(target, suffix)).as_deref(), Some(target));
        }
        assert_eq!((target_of(target), target_of(Path::new("/c/partial"))), (None, None));
    }
}
