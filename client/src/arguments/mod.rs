//! The command line as clap sees it, after [`crate::argv`]. Doc comments are the help.
//!
//! | File | Holds |
//! |---|---|
//! | `build.rs`, `template.rs` | Packer's commands, with the flags in `template_flags.rs` |
//! | `jobs.rs` | what is asked of jobs |
//! | `image.rs` | `kiln convert` and `kiln image`, with qemu-img's flags in `qemu_flags.rs` |
//! | `verify_attestation.rs` | `kiln verify-attestation` |
//! | `values.rs` | how values are read |

mod build;
mod image;
mod images;
mod jobs;
mod qemu_flags;
mod template;
mod template_flags;
mod values;
mod verify_attestation;

use clap::{Parser, Subcommand, ValueEnum};

pub(crate) use build::BuildArguments;
pub(crate) use image::{ConvertArguments, FORMAT_NAMES, ImageCommand, MachineFlags, SourceFlags};
pub(crate) use images::{ImagesArguments, ImagesCommand};
pub(crate) use jobs::{
    AnswerArguments, AttachArguments, CancelArguments, JobsArguments, JobsCommand, LogsArguments, ScreenArguments,
    ViewFlags,
};
pub(crate) use template::{
    ConsoleArguments, FixArguments, FmtArguments, Hcl2UpgradeArguments, InitArguments, InspectArguments,
    PluginsCommand, TemplateCommand, ValidateArguments,
};
pub(crate) use template_flags::TemplateFlags;
pub(crate) use values::ON_ERROR;
pub(crate) use verify_attestation::VerifyAttestationArguments;

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
    #[command(after_help = BUILD_HELP)]
    Build(BuildArguments),
    #[command(flatten)]
    Template(TemplateCommand),
    /// Write disk images in other formats, many at once
    Convert(Box<ConvertArguments>),
    /// Look at disk images
    #[command(subcommand, subcommand_required = true)]
    Image(ImageCommand),
    /// List the images that builds have registered, or forget some
    Images(ImagesArguments),
    /// Verify a signed attestation, and the files that it is about
    VerifyAttestation(Box<VerifyAttestationArguments>),
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
    /// Show jobs on the desktop: notifications with buttons, and progress
    #[command(after_help = AGENT_HELP)]
    Agent,
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

/// What counts wherever it stands.
const BUILD_HELP: &str = "\
`-machine-readable`, wherever it stands, prints Packer's lines for programs.
Exits with 0 when all builds succeeded, with 1 otherwise.";

/// What the agent is for.
const AGENT_HELP: &str = "\
Runs until the session ends; systemd starts it in each:
  systemctl --user enable --now kiln-agent.service
It follows your own kilnd and the one of all users, by org.kiln.Kiln1 on D-Bus, and starts neither.
Notifications tell of the end of a job and of its questions, which their buttons answer; jobs that run
are in KDE's list of running jobs, or in a notification each where there is no such list.";

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

#[cfg(test)]
mod tests;
