//! Owns [`Environment`]: what expressions know of the world around the template.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;

use super::budget::Budget;
use crate::diagnostics::redact::Redactor;
use crate::world::data::DataMode;
use crate::world::files::Files;

/// What functions know of the world.
#[derive(Clone)]
pub(crate) struct Environment {
    pub(crate) files: Arc<dyn Files>,
    /// The template's folder, absolute: where `file` and its like begin.
    pub(crate) root: PathBuf,
    /// The caller's current folder, absolute.
    pub(crate) cwd: PathBuf,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) now: Timestamp,
    /// What is done where the world is needed.
    pub(crate) data: DataMode,
    /// Is told of what is computed from secrets.
    pub(crate) redactor: Redactor,
    /// What evaluation may still cost.
    pub(crate) budget: Arc<Budget>,
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment").field("root", &self.root).field("cwd", &self.cwd).finish_non_exhaustive()
    }
}
