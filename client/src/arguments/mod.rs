//! The command line as clap sees it, after [`crate::argv`]. Doc comments are the help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kiln_protocol::{Assignment, OnError};

use crate::image_arguments::{ConvertArguments, ImageCommand};
use crate::job_arguments::{AnswerArguments, JobsArguments};

/// Bake machine images from Packer templates
#[derive(Debug, Parser)]
#[command(name = "kiln", disable_version_flag = true, disable_help_subcommand = true, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
#[command(subcommand_value_name = "command", subcommand_help_heading = "Available commands are")]
pub(crate) enum Command {
    /// Build images from a template
    Build(BuildArguments),
    #[command(flatten)]
    Template(TemplateCommand),
    /// Write disk images in other formats, many at once
    Convert(Box<ConvertArguments>),
    /// Look at disk images
    #[command(subcommand, subcommand_required = true)]
    Image(ImageCommand),
    /// List jobs, or remove some
    Jobs(JobsArguments),
    /// Show a job from its beginning, and go on until it is over
    Attach(AttachArguments),
    /// Show what a job has said
    Logs(LogsArguments),
    /// Stop a job and clean up after it
    Cancel(CancelArguments),
    /// Answer a question of a job
    Answer(AnswerArguments),
    /// Save the screen of a guest that is being built
    Screen(ScreenArguments),
    /// Print the version
    Version,
    /// Print what a shell needs to complete commands and flags
    #[command(after_help = COMPLETIONS_HELP)]
    Completions {
        /// The shell
        #[arg(value_name = "shell")]
        shell: CompletedShell,
    },
    /// See or stop the daemon
    #[command(subcommand, subcommand_required = true)]
    Daemon(DaemonCommand),
}

/// Where the shells look for completions.
const COMPLETIONS_HELP: &str = "\
Put it where the shell looks for it, and start a new shell:
  kiln completions bash > ~/.local/share/bash-completion/completions/kiln
  kiln completions zsh > ~/.zfunc/_kiln    # a directory of $fpath, before compinit
  kiln completions fish > ~/.config/fish/completions/kiln.fish";

/// Shells that `kiln completions` knows.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum CompletedShell {
    Bash,
    Zsh,
    Fish,
}

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
    #[arg(long, value_name = "type", value_parser = ["json", "hcl2"], hide = true)]
    pub(crate) config_type: Option<String>,
    /// Accepted for compatibility; values are always worked out in the order in which they depend on each other
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    pub(crate) use_sequential_evaluation: Option<bool>,
    /// Accepted for compatibility; there are no plugins to ignore
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_missing_value = "true", hide = true)]
    pub(crate) ignore_prerelease_plugins: Option<bool>,
}

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
    /// Template file or directory; `-` for a JSON template from standard input
    #[arg(value_name = "template")]
    pub(crate) template: PathBuf,
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

/// How output looks.
#[derive(Debug, Args)]
pub(crate) struct ViewFlags {
    /// Use colours; the default is to do so on a terminal
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(crate) color: Option<bool>,
    /// Put the time in front of each message of a build
    #[arg(long, value_name = "bool", value_parser = go_bool, num_args = 0..=1, require_equals = true, default_value = "false", default_missing_value = "true")]
    pub(crate) timestamp_ui: bool,
    /// Print the job's events, one JSON object a line
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AttachArguments {
    #[command(flatten)]
    pub(crate) view: ViewFlags,
    /// The job, or the beginning of its id
    #[arg(value_name = "job")]
    pub(crate) job: String,
}

#[derive(Debug, Args)]
pub(crate) struct LogsArguments {
    #[command(flatten)]
    pub(crate) view: ViewFlags,
    /// Go on until the job is over
    #[arg(long, short)]
    pub(crate) follow: bool,
    /// The job, or the beginning of its id
    #[arg(value_name = "job")]
    pub(crate) job: String,
}

#[derive(Debug, Args)]
pub(crate) struct CancelArguments {
    /// Kill the job's worker and clean up after it, instead of asking it to stop
    #[arg(long)]
    pub(crate) now: bool,
    /// Return when the job is over and cleaned up
    #[arg(long)]
    pub(crate) wait: bool,
    /// The job, or the beginning of its id
    #[arg(value_name = "job")]
    pub(crate) job: String,
}

#[derive(Debug, Args)]
pub(crate) struct ScreenArguments {
    /// Where to save the picture (PNG); `-` for standard output
    #[arg(long, short, value_name = "path")]
    pub(crate) output: Option<PathBuf>,
    /// The build whose guest to show, when there are several
    #[arg(long, value_name = "name")]
    pub(crate) build: Option<String>,
    /// The job, or the beginning of its id
    #[arg(value_name = "job")]
    pub(crate) job: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DaemonCommand {
    /// Say whether the daemon runs, and what it can do
    Status {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Stop the daemon; jobs run on, and the next daemon takes them up
    Stop,
}

/// [`Assignment`] as a clap value: its debug form shows no secret.
#[derive(Clone)]
pub(crate) struct VariableFlag(pub(crate) Assignment);

impl std::fmt::Debug for VariableFlag {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}=…", self.0.name)
    }
}

/// Type alias that keeps clap from treating the wire type as its own.
pub(crate) type OnErrorFlag = OnError;

fn assignment(text: &str) -> Result<VariableFlag, String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("No '=' value in arg: {text}"))?;
    Ok(VariableFlag(Assignment { name: name.to_owned(), value: value.to_owned() }))
}

fn on_error(text: &str) -> Result<OnErrorFlag, String> {
    match text {
        "" | "cleanup" => Ok(OnError::Cleanup),
        "abort" => Ok(OnError::Abort),
        "ask" => Ok(OnError::Ask),
        "run-cleanup-provisioner" => Ok(OnError::RunCleanupProvisioner),
        _ => Err("one of cleanup, abort, ask, run-cleanup-provisioner".to_owned()),
    }
}

/// Reads a boolean as Go's `strconv.ParseBool` does.
fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("neither true nor false".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use clap::CommandFactory as _;

    use super::*;

    fn build(line: &str) -> Result<BuildArguments, String> {
        let words = std::iter::once("kiln").chain(line.split(' ')).map(OsString::from);
        let words = crate::argv::normalise(words).words;
        match Arguments::try_parse_from(words).map_err(|error| error.to_string())?.command {
            Command::Build(arguments) => Ok(arguments),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_flag_of_packer_is_taken() {
        let arguments = build(
            "build -color=false -debug -except=a,b -only c -only=d -force=t -on-error=run-cleanup-provisioner -parallel-builds=-3 \
             -timestamp-ui -var a=b=c -var=d= -var-file=x.hcl -var-file y.json -warn-on-undeclared-var=true -use-sequential-evaluation \
             -ignore-prerelease-plugins -skip-enforcement -config-type=hcl2 t.pkr.hcl",
        )
        .unwrap();
        assert_eq!(arguments.color, Some(false));
        assert!(arguments.debug && arguments.force && arguments.timestamp_ui && arguments.warn_on_undeclared_var);
        assert_eq!(arguments.template_flags.except, ["a", "b"]);
        assert_eq!(arguments.template_flags.only, ["c", "d"]);
        assert_eq!(arguments.on_error, OnError::RunCleanupProvisioner);
        assert_eq!(arguments.parallel_builds, -3);
        let variables: Vec<_> = arguments.template_flags.var.iter().map(|set| (&*set.0.name, &*set.0.value)).collect();
        assert_eq!(variables, [("a", "b=c"), ("d", "")]);
        assert_eq!(arguments.template_flags.var_file.len(), 2);
    }

    #[test]
    fn mistakes_are_named() {
        assert!(build("build -var ab t").unwrap_err().contains("No '=' value in arg: ab"));
        assert!(build("build -force=maybe t").unwrap_err().contains("neither true nor false"));
        assert!(build("build -on-error=panic t").unwrap_err().contains("one of cleanup"));
        assert!(build("build -forse t").unwrap_err().contains("--forse"));
        assert!(build("build").is_err() && build("build a b").is_err());
    }

    #[test]
    fn values_of_variables_stay_out_of_debug_output() {
        let arguments = build("build -var password=hunter2 t").unwrap();
        assert!(!format!("{arguments:?}").contains("hunter2"));
    }
}
