//! The user's home directory in paths of a template.

use std::path::PathBuf;

/// Replaces a leading `~` by the user's home directory.
pub(crate) fn expand_home(text: &str) -> PathBuf {
    match (text.strip_prefix("~/"), std::env::var_os("HOME")) {
        (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
        _ => PathBuf::from(text),
    }
}
