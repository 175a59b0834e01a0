//! What the commands take that work on templates and need no daemon. Doc comments are the help.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, FromArgMatches as _, Subcommand};

use super::template_flags::TemplateFlags;
use super::values::go_bool;

/// Commands that need no daemon.
#[derive(Debug, Subcommand)]
pub(crate) enum TemplateCommand {
    /// Check that a template is valid
    Validate(ValidateArguments),
    /// List what a template is made of
    Inspect(InspectArguments),
    /// Write HCL files in their canonical form
    Fmt(FmtArguments),
    /// Try expressions, with the variables of a template
    Console(ConsoleArguments),
    /// Bring a JSON template of an older Packer up to date
    Fix(FixArguments),
    /// Turn a JSON template into an HCL2 template
    #[command(name = "hcl2_upgrade")]
    Hcl2Upgrade(Hcl2UpgradeArguments),
    /// Check that the plugins a template requires are built in
    Init(InitArguments),
    /// Say which plugins are built in
    #[command(subcommand, subcommand_required = true, arg_required_else_help = true, alias = "plugin")]
    Plugins(PluginsCommand),
}

#[derive(Debug, Args)]
pub(crate) struct ValidateArguments {
    #[command(flatten)]
    pub(crate) template_flags: TemplateFlags,
    /// Check the syntax only
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pub(crate) syntax_only: bool,
    /// Do not warn about variables in files that the template does not declare
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pub(crate) no_warn_undeclared_var: bool,
    /// Read data sources, too
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pub(crate) evaluate_datasources: bool,
    /// Print what was found as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Template file or directory; `-` for a JSON template from standard input
    #[arg(value_name = "template")]
    pub(crate) template: PathBuf,
}

impl ValidateArguments {
    /// Reads a whole command line of `kiln validate`, without the tree of all commands, which takes longer than some templates do;
    /// `None`: it is another one, or one for that tree to answer.
    pub(crate) fn alone(words: &[OsString]) -> Option<Self> {
        let [_, command, ..] = words else { return None };
        let matches = (command == "validate").then(|| {
            let validate = Self::augment_args(clap::Command::new("validate"));
            validate.try_get_matches_from(&words[1..])
        })?;
        Self::from_arg_matches(&matches.ok()?).ok()
    }
}

#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    #[command(flatten)]
    pub(crate) template_flags: TemplateFlags,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// Template file or directory; `-` for a JSON template from standard input
    #[arg(value_name = "template")]
    pub(crate) template: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct FmtArguments {
    #[command(flatten)]
    pub(crate) template_flags: TemplateFlags,
    /// Write nothing, and exit with 3 when something is not in canonical form
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pub(crate) check: bool,
    /// Show what changes
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pub(crate) diff: bool,
    /// Write the files; `-write=false` only names them
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true")]
    pub(crate) write: bool,
    /// Look into directories of directories, too
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pub(crate) recursive: bool,
    /// Print the names as JSON
    #[arg(long, conflicts_with = "diff")]
    pub(crate) json: bool,
    /// Files (.pkr.hcl, .pkrvars.hcl) and directories; `-` for standard input to standard output
    #[arg(value_name = "path", required = true)]
    pub(crate) paths: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ConsoleArguments {
    #[command(flatten)]
    pub(crate) template_flags: TemplateFlags,
    /// Template file or directory, for its variables
    #[arg(value_name = "template")]
    pub(crate) template: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct FixArguments {
    #[command(flatten)]
    pub(crate) template_flags: TemplateFlags,
    /// Check the result, too
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_value = "true", default_missing_value = "true")]
    pub(crate) validate: bool,
    /// Print the result and what is wrong with it as JSON
    #[arg(long)]
    pub(crate) json: bool,
    /// JSON template; `-` for standard input
    #[arg(value_name = "template")]
    pub(crate) template: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Hcl2UpgradeArguments {
    #[command(flatten)]
    pub(crate) template_flags: TemplateFlags,
    /// Where to write; the default is the template's name with .pkr.hcl behind it
    #[arg(long, value_name = "path")]
    pub(crate) output_file: Option<PathBuf>,
    /// Explain the parts in comments
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pub(crate) with_annotations: bool,
    /// JSON template
    #[arg(value_name = "template")]
    pub(crate) template: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct InitArguments {
    #[command(flatten)]
    pub(crate) template_flags: TemplateFlags,
    /// Accepted for compatibility; what is built in is of one version
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pub(crate) upgrade: bool,
    /// Accepted for compatibility; nothing is installed
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pub(crate) force: bool,
    /// Template file or directory
    #[arg(value_name = "template")]
    pub(crate) template: PathBuf,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PluginsCommand {
    /// List the plugins whose components are built in
    Installed {
        #[command(flatten)]
        template_flags: TemplateFlags,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the plugins that a template requires
    Required {
        #[command(flatten)]
        template_flags: TemplateFlags,
        /// Print JSON
        #[arg(long)]
        json: bool,
        /// Template file or directory
        #[arg(value_name = "template")]
        template: PathBuf,
    },
    /// Say whether a plugin is built in; nothing can be installed
    Install {
        #[command(flatten)]
        template_flags: TemplateFlags,
        /// Accepted for compatibility; plugins are not run
        #[arg(long, value_name = "binary")]
        path: Option<PathBuf>,
        /// Accepted for compatibility
        #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
        force: bool,
        /// The plugin, such as github.com/hashicorp/qemu
        #[arg(value_name = "source")]
        source: String,
        /// The versions that will do, such as ">= 1.0"
        #[arg(value_name = "constraint")]
        constraint: Option<String>,
    },
    /// Accepted for compatibility; what is built in cannot be removed
    Remove {
        #[command(flatten)]
        template_flags: TemplateFlags,
        /// The plugin, such as github.com/hashicorp/qemu
        #[arg(value_name = "source")]
        source: String,
        /// The versions to remove
        #[arg(value_name = "constraint")]
        constraint: Option<String>,
    },
}
