//! Owns [`Inputs`]: what a load starts from.

use std::collections::BTreeMap;
use std::path::PathBuf;

use jiff::Timestamp;

/// What a load starts from. Nothing else is read: no environment, no clock, no current folder.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// The template: a file or a folder, absolute or relative to `cwd`.
    pub path: PathBuf,
    /// The caller's current folder, absolute.
    pub cwd: PathBuf,
    /// Raw `-var` values, `NAME=VALUE`, in order.
    pub vars: Vec<String>,
    /// `-var-file` paths in order.
    pub var_files: Vec<PathBuf>,
    /// The caller's environment, for `env()` and `PKR_VAR_*`.
    pub env: BTreeMap<String, String>,
    /// `-only` patterns.
    pub only: Vec<String>,
    /// `-except` patterns.
    pub except: Vec<String>,
    /// The time that `timestamp`, `isotime` and their like give.
    pub now: Timestamp,
    /// Whether a variable file may not name variables the template does not declare without a warning.
    pub warn_on_undeclared_var: bool,
}
