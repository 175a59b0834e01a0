//! How many errors there were, in words.

/// Counts the errors of a template; nothing for a single one, which is seen as one.
pub(crate) fn error_count(errors: usize) -> Option<String> {
    (errors > 1).then(|| format!("{errors} errors"))
}
