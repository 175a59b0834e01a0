//! kilnd's own command line, and what each form of it starts.
//!
//! `kilnd --user` is the daemon, whose life is `user_daemon.rs`; `kilnd worker …` is what the daemon starts for a job and
//! `kilnd validate` and `kilnd images` what the client starts: nothing that people type.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use clap::{Args, Parser, Subcommand, ValueEnum};
use kiln_protocol::{Event, JobState, ValidateLine, without_codes};
use serde::Serialize;

use crate::config::environment;
use crate::explain::explain;
use crate::failure::Failure;
use crate::job_dir::JobDir;
use crate::runner::{JobEvent, JobRunner};
use crate::user_daemon::{self, Readiness, Whom};
use crate::wall_clock::wall_clock;
use crate::worker::{self, WorkerError};
use crate::{engine, logging};

/// Largest environment that is read, in bytes: that of a request, with the escapes of JSON and what a login adds.
const MAX_ENVIRONMENT_BYTES: u64 = 16 << 20;

/// Exit code for a job or a daemon that failed.
const EXIT_FAILURE: u8 = 1;

/// The daemon that builds machine images. `kiln` starts it when needed.
#[derive(Parser)]
#[command(name = "kilnd", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Serve the user who starts it
    #[arg(long, conflicts_with = "system")]
    user: bool,
    /// Serve all users of this machine; to be started by root
    #[arg(long)]
    system: bool,
    /// Directory below which all places of --system are, for tests and images
    #[arg(long, value_name = "DIR", requires = "system", default_value = "/")]
    prefix: PathBuf,
    /// Print the configuration that a daemon started now would have, and where each value comes from
    #[arg(long, conflicts_with = "detached")]
    print_config: bool,
    /// Become a session of its own, and report readiness as a line of JSON on standard output
    #[arg(long, hide = true)]
    detached: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run one job; started by the daemon
    #[command(hide = true)]
    Worker(WorkerArguments),
    /// Print what can run guests here, as JSON; started by a daemon for all users, as one of them
    #[command(hide = true)]
    Hypervisors {
        /// Take the environment from standard input, as JSON
        #[arg(long)]
        environment_on_stdin: bool,
    },
    /// Check a template: a request on standard input, a report on standard output; started by the client
    #[command(hide = true)]
    Validate,
    /// Look at the registry of images: a request on standard input, a report on standard output; started by the client
    #[command(hide = true)]
    Images,
}

#[derive(Args)]
struct WorkerArguments {
    #[arg(long)]
    job_dir: PathBuf,
    #[arg(long)]
    runtime_dir: PathBuf,
    /// Clean up after a worker that died
    #[arg(long, requires = "cause")]
    sweep: bool,
    #[arg(long, value_enum, default_value_t = SweptState::Failed)]
    state: SweptState,
    #[arg(long)]
    cause: Option<String>,
    /// Give back what a job that is over still holds
    #[arg(long, conflicts_with = "sweep")]
    give_back: bool,
    /// Take the environment from standard input, as JSON: what a service manager is told is everybody's to read
    #[arg(long)]
    environment_on_stdin: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum SweptState {
    Failed,
    Cancelled,
}

/// What a detached daemon reports on standard output, once, in a line of JSON.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Report<'a> {
    /// Requests are answered, by this process or by one that was there before.
    Ready { already_running: bool },
    /// There will be no daemon.
    Failed { error: &'a str, hint: Option<&'a str> },
}

/// Runs kilnd with this command line and this engine.
pub fn main(arguments: impl IntoIterator<Item = OsString>, runner: Arc<dyn JobRunner>) -> ExitCode {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Nobody is left to tell when the terminal is gone.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(EXIT_FAILURE));
        }
    };
    let detached = arguments.detached;
    let whom = if arguments.system { Whom::Everybody { prefix: arguments.prefix } } else { Whom::User };
    let mut exit_code = EXIT_FAILURE;
    let result = match arguments.command {
        Some(Command::Worker(worker)) => return run_worker(&worker, &runner),
        Some(Command::Hypervisors { environment_on_stdin }) => look(environment_on_stdin, runner.as_ref()),
        Some(Command::Validate) => run_validate(),
        Some(Command::Images) => run_images(),
        None if arguments.print_config => print_config(&whom),
        None if arguments.user || arguments.system => user_daemon::run(&whom, detached, runner, |readiness| {
            if detached {
                report(&Report::Ready { already_running: readiness == Readiness::AnotherServes });
            }
        })
        .map_err(|refusal| {
            exit_code = refusal.exit_code;
            refusal.failure
        }),
        None => Err(Failure {
            error: "neither --user nor --system was given".to_owned(),
            hint: Some("`kilnd --user`, or just `kiln build`".to_owned()),
        }),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if detached {
                report(&Report::Failed { error: &failure.error, hint: failure.hint.as_deref() });
            }
            complain(&failure);
            ExitCode::from(exit_code)
        }
    }
}

fn complain(failure: &Failure) {
    let mut stderr = io::stderr().lock();
    // Nobody is left to tell when the terminal is gone.
    let _ = writeln!(stderr, "error: {}", failure.error);
    if let Some(hint) = &failure.hint {
        let _ = writeln!(stderr, "\nhint: {hint}");
    }
}

fn report(report: &Report<'_>) {
    let mut stdout = io::stdout().lock();
    if let Ok(line) = serde_json::to_string(report) {
        // A client that has gone needs no report.
        let _ = writeln!(stdout, "{line}").and_then(|()| stdout.flush());
    }
}

/// Workers have the environment of their client, so the variable alone decides.
fn log_filter() -> Option<String> {
    std::env::var(environment::KILN_LOG).ok()
}

fn print_config(whom: &Whom) -> Result<(), Failure> {
    let text = user_daemon::print_configuration(whom)?;
    for warning in user_daemon::misspelt_variables() {
        // The configuration is what was asked for.
        let _ = writeln!(io::stderr(), "warning: {}", without_codes(&warning));
    }
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    written.map_err(|error| Failure { error: format!("cannot write to standard output: {error}"), hint: None })
}

/// Answers one request of a client.
fn run_validate() -> Result<(), Failure> {
    let failure = |error: String| Failure { error, hint: None };
    let request = serde_json::from_reader(io::stdin().lock())
        .map_err(|error| failure(format!("cannot read the request: {error}")))?;
    let directory =
        std::env::current_dir().map_err(|error| failure(format!("cannot find out the working directory: {error}")))?;
    let last = AtomicU64::new(0);
    let tell = move |JobEvent { build, body }| {
        let seq = last.fetch_add(1, Ordering::Relaxed) + 1;
        // Whoever does not listen any more will not get the report either, and that is an error.
        let _ = answer(&ValidateLine::Event(Event { seq, time: wall_clock(), build, body }));
    };
    let report = engine::validate(request, directory, tell);
    answer(&ValidateLine::Report(report)).map_err(|error| failure(error.to_string()))
}

/// Answers one request of a client about the user's images.
fn run_images() -> Result<(), Failure> {
    let failure = |error: String| Failure { error, hint: None };
    let request = serde_json::from_reader(io::stdin().lock())
        .map_err(|error| failure(format!("cannot read the request: {error}")))?;
    let report = serde_json::to_string(&engine::registry(&request)).map_err(|error| failure(error.to_string()))?;
    writeln!(io::stdout().lock(), "{report}").map_err(|error| failure(error.to_string()))
}

/// Prints what can run guests here.
fn look(environment_on_stdin: bool, runner: &dyn JobRunner) -> Result<(), Failure> {
    let failure = |error: String| Failure { error, hint: None };
    if environment_on_stdin {
        return Err(failure(format!("there is no environment: {}", take_on_environment())));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failure(format!("cannot start the runtime: {error}")))?;
    let found = runtime.block_on(runner.hypervisors());
    // A program that hangs must not keep this one.
    runtime.shutdown_background();
    let line = serde_json::to_string(&found).map_err(|error| failure(error.to_string()))?;
    writeln!(io::stdout().lock(), "{line}").map_err(|error| failure(error.to_string()))
}

/// Writes a line of the answer.
fn answer(line: &ValidateLine) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&bytes)?;
    stdout.flush()
}

/// Executes this program anew with the environment that comes through standard input; returns why not.
fn take_on_environment() -> io::Error {
    let read = || -> io::Result<BTreeMap<String, String>> {
        Ok(serde_json::from_reader(io::stdin().lock().take(MAX_ENVIRONMENT_BYTES))?)
    };
    let environment = match read() {
        Ok(environment) => environment,
        Err(error) => return error,
    };
    let mut words = std::env::args_os();
    let mut command = process::Command::new("/proc/self/exe");
    command.arg0(words.next().unwrap_or_default()).args(words.filter(|word| word != worker::ENVIRONMENT_ON_STDIN));
    command.env_clear().envs(environment).stdin(process::Stdio::null()).exec()
}

fn run_worker(arguments: &WorkerArguments, runner: &Arc<dyn JobRunner>) -> ExitCode {
    if arguments.environment_on_stdin {
        complain(&Failure {
            error: format!("the worker does not get its environment: {}", take_on_environment()),
            hint: None,
        });
        return ExitCode::from(EXIT_FAILURE);
    }
    // The daemon executes `/proc/self/exe`, and the kernel names a process by the last word of that.
    let _ = rustix::thread::set_name(c"kilnd");
    logging::to_stderr(log_filter().as_deref());
    let directory = JobDir { root: arguments.job_dir.clone(), runtime: arguments.runtime_dir.clone() };
    let result = match (&arguments.cause, arguments.sweep) {
        (Some(cause), true) => {
            let state = match arguments.state {
                SweptState::Failed => JobState::Failed,
                SweptState::Cancelled => JobState::Cancelled,
            };
            worker::sweep(&directory, runner.as_ref(), state, cause).map(|()| 0)
        }
        _ if arguments.give_back => worker::give_back(&directory, runner.as_ref()).map(|()| 0),
        _ => worker::run(&directory, runner),
    };
    match result {
        Ok(code) => ExitCode::from(code),
        Err(WorkerError::Locked) => ExitCode::from(worker::EXIT_LOCKED),
        Err(error) => {
            tracing::error!(error = explain(&error), "the worker cannot work");
            ExitCode::from(EXIT_FAILURE)
        }
    }
}

#[cfg(test)]
mod man_pages;
