//! The commands: one file each, or one for a family.

mod answer;
mod attach;
mod build;
mod cancel;
mod clock;
mod completions;
mod convert;
mod daemon;
mod follow;
mod image;
mod jobs;
mod prompt;
mod screen;
mod stdout;
mod task;
mod template;
mod version;

use std::io::Write as _;

use kiln_protocol::JobId;

use crate::api::Client;
use crate::arguments::Command;
use crate::error::{CommandError, without_codes};
use crate::terminal;

pub(crate) use template::run as run_on_template;
pub(crate) use version::version;

/// Jobs among which the beginning of an id is looked for.
const JOBS_TO_SEARCH: u32 = 1000;

/// What every command has.
pub(crate) struct Context {
    /// The daemon.
    pub(crate) client: Client,
    /// Whether output is for programs (`-machine-readable`).
    pub(crate) machine_readable: bool,
}

/// Runs a command; returns the exit code.
pub(crate) async fn run(command: Command, context: Context) -> Result<u8, CommandError> {
    match command {
        Command::Build(arguments) => build::build(context, arguments).await,
        Command::Template(command) => run_on_template(command, context.machine_readable),
        Command::Convert(arguments) => convert::convert(context, *arguments).await,
        Command::Image(command) => image::image(context, command).await,
        Command::Jobs(arguments) => jobs::jobs(context, arguments).await,
        Command::Attach(arguments) => attach::attach(context, arguments).await,
        Command::Logs(arguments) => attach::logs(context, arguments).await,
        Command::Cancel(arguments) => cancel::cancel(context, arguments).await,
        Command::Answer(arguments) => answer::answer(context, arguments).await,
        Command::Screen(arguments) => screen::screen(context, arguments).await,
        Command::Version => version(context.machine_readable).map(|()| 0),
        Command::Completions { shell } => completions::completions(shell).map(|()| 0),
        Command::Daemon(command) => daemon::daemon(context, command).await,
    }
}

/// Returns the job that is meant by an id or by the beginning of one.
async fn find_job(client: &Client, text: &str) -> Result<JobId, CommandError> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let jobs = client.jobs(JOBS_TO_SEARCH, true).await?.jobs;
    let mut found = jobs.into_iter().map(|job| job.id).filter(|id| !text.is_empty() && id.as_str().starts_with(text));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => {
            Err(CommandError::new(format!("several jobs begin with `{text}`")).hint("`kiln jobs` lists them"))
        }
        (None, _) => Err(CommandError::new(format!("there is no job `{text}`")).hint("`kiln jobs` lists the jobs")),
    }
}

/// Tells people something that is neither data nor an error.
fn note(text: &str) {
    // Nobody is left to tell when the terminal is gone.
    let _ = writeln!(terminal::stderr(), "{}", without_codes(text));
}
