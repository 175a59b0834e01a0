//! The commands: one file each, or one for a family.

mod answer;
mod attach;
mod build;
mod cancel;
mod clock;
mod completions;
mod context;
mod convert;
mod daemon;
mod display;
mod first_line;
mod follow;
mod image;
mod images;
mod jobs;
mod note;
mod one_dash;
mod prompt;
mod reconnect;
mod screen;
mod signals;
mod stdout;
mod steps;
mod task;
mod template;
mod verify_attestation;
mod version;
mod waiting;
mod words;

use crate::arguments::Command;
use crate::error::CommandError;

pub(crate) use context::Context;
pub(crate) use template::run as run_on_template;
pub(crate) use version::version;

/// Runs a command; returns the exit code.
pub(crate) async fn run(command: Command, context: Context) -> Result<u8, CommandError> {
    match command {
        Command::Build(arguments) => build::build(context, arguments).await,
        Command::Template(command) => run_on_template(command, context.machine_readable),
        Command::Convert(arguments) => convert::convert(context, *arguments).await,
        Command::Image(command) => image::image(context, command).await,
        Command::Images(arguments) => images::images(arguments),
        Command::VerifyAttestation(arguments) => verify_attestation::verify(context, *arguments).await,
        Command::Jobs(arguments) => jobs::jobs(context, arguments).await,
        Command::Attach(arguments) => attach::attach(context, arguments).await,
        Command::Logs(arguments) => attach::logs(context, arguments).await,
        Command::Cancel(arguments) => cancel::cancel(context, arguments).await,
        Command::Answer(arguments) => answer::answer(context, arguments).await,
        Command::Screen(arguments) => screen::screen(context, arguments).await,
        Command::Agent => crate::agent::run().await.map(|()| 0),
        Command::Version => version(context.machine_readable).map(|()| 0),
        Command::Completions { shell } => completions::completions(shell).map(|()| 0),
        Command::Daemon(command) => daemon::daemon(context, command).await,
    }
}
