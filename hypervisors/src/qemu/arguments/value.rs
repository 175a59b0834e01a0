//! Text as QEMU's options take it.

use std::path::Path;

/// Doubles commas, which separate options in QEMU's values.
pub(super) fn escape(value: &str) -> String {
    value.replace(',', ",,")
}

/// A path as text; `check` has refused those that are not.
pub(super) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
