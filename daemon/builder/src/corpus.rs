//! Where tests find the recorded reference data, when it is there.

use std::path::{Path, PathBuf};

/// The path of `name` in the corpus beside the checkout, or below `KILN_CORPUS`.
pub(crate) fn path(name: &str) -> PathBuf {
    let root = std::env::var_os("KILN_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"), PathBuf::from);
    root.join(name)
}

/// The file's content, or `None` (said aloud) where the corpus is absent.
pub(crate) fn read(path: &Path) -> Option<Vec<u8>> {
    match std::fs::read(path) {
        Ok(content) => Some(content),
        Err(_) => {
            eprintln!("ignored: needs {}", path.display());
            None
        }
    }
}
