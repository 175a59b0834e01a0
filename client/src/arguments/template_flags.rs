//! Flags that all of Packer's template commands take. Doc comments are the help.

use std::path::PathBuf;

use clap::Args;

use super::values::{VariableFlag, assignment, go_bool};

/// Flags that all of Packer's template commands take.
#[derive(Debug, Default, Args)]
pub(crate) struct TemplateFlags {
    /// Use only builds whose names match these patterns
    #[arg(long, value_name = "a,b", value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Use all builds but those whose names match these patterns; leave out post-processors that match, too
    #[arg(long, value_name = "a,b", value_delimiter = ',')]
    pub(crate) except: Vec<String>,
    /// Set a variable; can be repeated
    #[arg(long, value_name = "name=value", value_parser = assignment)]
    pub(crate) var: Vec<VariableFlag>,
    /// Read variables from a file; can be repeated
    #[arg(long, value_name = "path")]
    pub(crate) var_file: Vec<PathBuf>,
    /// Language of a template that has no name (json or hcl2)
    #[arg(long, value_name = "type", value_parser = ["json", "hcl2"])]
    pub(crate) config_type: Option<String>,
    /// Accepted for compatibility; values are always worked out in the order in which they depend on each other
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    pub(crate) use_sequential_evaluation: Option<bool>,
    /// Accepted for compatibility; there are no plugins to ignore
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    pub(crate) ignore_prerelease_plugins: Option<bool>,
}
