//! What `kiln build` takes. Doc comments are the help.

use std::path::PathBuf;

use clap::Args;

use super::template_flags::TemplateFlags;
use super::values::{OnErrorFlag, go_bool, on_error};

#[derive(Debug, Args)]
pub(crate) struct BuildArguments {
    #[command(flatten)]
    pub(crate) template_flags: TemplateFlags,
    /// Use colours; the default is to do so on a terminal
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) color: Option<bool>,
    /// Build one image after the other, with a pause after each step
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pub(crate) debug: bool,
    /// Delete artifacts of earlier builds that are in the way
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pub(crate) force: bool,
    /// What to do when a step fails: cleanup, abort, ask or run-cleanup-provisioner
    #[arg(long, value_name = "what", value_parser = on_error, default_value = "cleanup")]
    pub(crate) on_error: OnErrorFlag,
    /// Number of builds that run at once; 0 means no limit
    #[arg(long, value_name = "number", default_value_t = 0)]
    pub(crate) parallel_builds: i64,
    /// Put the time in front of each message of a build
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pub(crate) timestamp_ui: bool,
    /// Warn about variables in files that the template does not declare
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pub(crate) warn_on_undeclared_var: bool,
    /// Accepted for compatibility; there is no registry that could enforce anything
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    pub(crate) skip_enforcement: Option<bool>,
    /// Print the job's id and return; `kiln attach` shows it
    #[arg(long)]
    pub(crate) detach: bool,
    /// Print the job's events, one JSON object a line
    #[arg(long, conflicts_with = "detach")]
    pub(crate) json: bool,
    /// Template file or directory; `-` for one from standard input, JSON unless `-config-type` says otherwise
    #[arg(value_name = "template")]
    pub(crate) template: PathBuf,
}
