//! kilnd's own command line, and what each form of it starts.
//!
//! `kilnd --user` is the daemon; `kilnd worker …` is what the daemon starts for a job and
//! `kilnd validate` what the client starts: nothing that people type.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand, ValueEnum};
use kiln_protocol::places::{self, KILN_SOCKET};
use kiln_protocol::{Event, JobState, ValidateLine};
use rustix::fs::Mode as FileMode;
use serde::Serialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, environment};
use crate::explain::explain;
use crate::instance::{self, Instance, InstanceError};
use crate::job_dir::JobDir;
use crate::runner::{JobEvent, JobRunner};
use crate::version::VERSION;
use crate::wall_clock::wall_clock;
use crate::worker::{self, WorkerError};
use crate::{descriptor, engine, failed_start, logging, server};

/// Exit code for a job or a daemon that failed.
const EXIT_FAILURE: u8 = 1;

/// Threads for work on files; followers take turns.
const FILE_THREADS: usize = 8;

/// Time after which an idle one ends, and its memory with it.
const FILE_THREAD_LIFETIME: Duration = Duration::from_secs(2);

/// Time for another daemon, found to hold the lock, to answer: it may be reading what running jobs have said, and clients wait 20 s.
const OTHER_DAEMON_TIMEOUT: Duration = Duration::from_secs(15);

/// Time for one answer of it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The daemon that builds machine images. `kiln` starts it when needed.
#[derive(Parser)]
#[command(name = "kilnd", version, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Serve the user who starts it
    #[arg(long, conflicts_with = "system")]
    user: bool,
    /// Serve all users of this machine
    #[arg(long)]
    system: bool,
    /// Become a session of its own, and report readiness as a line of JSON on standard output
    #[arg(long, hide = true)]
    detached: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Run one job; started by the daemon
    #[command(hide = true)]
    Worker(WorkerArguments),
    /// Check a template: a request on standard input, a report on standard output; started by the client
    #[command(hide = true)]
    Validate,
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

/// An error with what to do about it.
struct Failure {
    error: String,
    hint: Option<String>,
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
    let result = match arguments.command {
        Some(Command::Worker(worker)) => return run_worker(&worker, &runner),
        Some(Command::Validate) => run_validate(),
        None if arguments.system => Err(Failure {
            error: "kilnd --system is not there yet".to_owned(),
            hint: Some("`kilnd --user` serves your own builds, and `kiln` starts it by itself".to_owned()),
        }),
        None if arguments.user => run_daemon(detached, runner),
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
            ExitCode::from(EXIT_FAILURE)
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

fn variable(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn log_filter() -> Option<String> {
    variable(environment::KILN_LOG).and_then(|filter| filter.into_string().ok())
}

fn run_daemon(detached: bool, runner: Arc<dyn JobRunner>) -> Result<(), Failure> {
    // What the daemon writes is for its owner alone; workers set the mask of their client.
    rustix::process::umask(FileMode::from_raw_mode(0o077));
    let prepared = prepare(detached).inspect_err(|failure| {
        // One that runs already is the one that people ask for.
        if let Some(state) = places::state_directory(variable).filter(|state| !instance::is_held(state)) {
            failed_start::note(&state, &failure.error, failure.hint.as_deref());
        }
    });
    let (config, runtime) = prepared?;
    let state = config.state_directory.clone();
    let served = runtime.block_on(async {
        let chosen = variable(KILN_SOCKET).is_some_and(|path| !path.is_empty());
        match claim(&config, chosen, detached, OTHER_DAEMON_TIMEOUT).await {
            Ok(Some((instance, listener))) => {
                let served = serve(config, listener, runner, detached).await.inspect_err(|failure| {
                    tracing::error!(error = failure.error, "kilnd cannot serve");
                    // Before the next one can come up, which forgets it.
                    failed_start::note(&state, &failure.error, failure.hint.as_deref());
                });
                drop(instance);
                tracing::info!("kilnd ends");
                served
            }
            Ok(None) => {
                report(&Report::Ready { already_running: true });
                Ok(())
            }
            Err(error) => {
                let failure = Failure { error: explain(&error), hint: error.hint() };
                // Where one runs already, the next one may still come up.
                if !matches!(error, InstanceError::AlreadyRunning { .. }) {
                    failed_start::note(&state, &failure.error, failure.hint.as_deref());
                }
                Err(failure)
            }
        }
    });
    // A file operation that hangs must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(1));
    served
}

/// Works out what is configured, and makes the runtime.
fn prepare(detached: bool) -> Result<(Config, Runtime), Failure> {
    let plain = |error: &dyn std::error::Error| Failure { error: explain(error), hint: None };
    if detached {
        #[expect(unsafe_code, reason = "only at this point is it known that a daemon is meant")]
        // SAFETY: the process has just begun, in one thread; arguments own no descriptor, and neither does a runner before its first job.
        unsafe {
            descriptor::close_inherited();
        }
        // Fails for the leader of a process group, and then it has no terminal to lose.
        let _ = rustix::process::setsid();
        std::env::set_current_dir("/").map_err(|error| plain(&error))?;
    }
    let program = std::env::current_exe().map_err(|error| plain(&error))?;
    let owner = rustix::process::geteuid().as_raw();
    let config = Config::for_user(variable, owner, program)
        .map_err(|error| Failure { error: error.to_string(), hint: error.hint().map(str::to_owned) })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .max_blocking_threads(FILE_THREADS)
        .thread_keep_alive(FILE_THREAD_LIFETIME)
        .enable_all()
        .build()
        .map_err(|error| plain(&error))?;
    Ok((config, runtime))
}

async fn serve(
    config: Config,
    listener: UnixListener,
    runner: Arc<dyn JobRunner>,
    detached: bool,
) -> Result<(), Failure> {
    let plain = |error: &dyn std::error::Error| Failure { error: explain(error), hint: None };
    logging::start(&config.state_directory, log_filter().as_deref()).map_err(|error| Failure {
        error: format!("cannot write the log in {}: {}", config.state_directory.display(), explain(&error)),
        hint: Some(format!("see to it that {} can be written", config.state_directory.join(logging::NAME).display())),
    })?;
    let shutdown = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind).map_err(|error| plain(&error))?;
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            signals.recv().await;
            tracing::info!("stopping on a signal; workers run on");
            shutdown.cancel();
        });
    }
    // A closed terminal is no reason to stop.
    let _hangup = signal(SignalKind::hangup()).map_err(|error| plain(&error))?;
    tracing::info!(version = VERSION, socket = %config.socket.display(), "kilnd starts");
    let state = config.state_directory.clone();
    let ready = || {
        failed_start::forget(&state);
        if detached {
            report(&Report::Ready { already_running: false });
        }
    };
    let served = server::serve(config, listener, runner, shutdown, ready).await;
    served.map_err(|error| Failure { error: explain(&error), hint: error.hint() })
}

/// Becomes the daemon; nothing when another one answers, where that is as good (`detached`). One that holds the lock and does not
/// answer is waited for so long.
async fn claim(
    config: &Config,
    chosen: bool,
    detached: bool,
    patience: Duration,
) -> Result<Option<(Instance, UnixListener)>, InstanceError> {
    let start = Instant::now();
    loop {
        let error = match Instance::claim(config, chosen) {
            Ok(claimed) => return Ok(Some(claimed)),
            Err(error @ InstanceError::AlreadyRunning { .. }) if detached => error,
            Err(error) => return Err(error),
        };
        if answers(&config.socket).await {
            return Ok(None);
        }
        // One that listens elsewhere will never listen here.
        let holder = instance::holder(&config.state_directory).filter(|holder| holder.socket != config.socket);
        let elsewhere = match holder {
            Some(holder) => answers(&holder.socket).await,
            None => false,
        };
        if elsewhere || start.elapsed() > patience {
            return Err(error);
        }
        // The other process is starting, which takes milliseconds, or it was killed, and a child of it is about to let go of the lock.
        // Neither has a way to tell this one.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Whether a daemon answers at this socket. A connection alone says nothing: a child that a killed daemon was just starting still has
/// its socket open for a moment.
async fn answers(socket: &Path) -> bool {
    let exchange = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: kiln\r\nconnection: close\r\n\r\n").await?;
        stream.read_exact(&mut [0; 9]).await
    };
    tokio::time::timeout(ANSWER_TIMEOUT, exchange).await.is_ok_and(|answer| answer.is_ok())
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

/// Writes a line of the answer.
fn answer(line: &ValidateLine) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    let mut stdout = io::stdout().lock();
    stdout.write_all(&bytes)?;
    stdout.flush()
}

fn run_worker(arguments: &WorkerArguments, runner: &Arc<dyn JobRunner>) -> ExitCode {
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
mod tests {
    use rustix::fs::{FlockOperation, flock};

    use super::*;

    /// One that starts, or a child that a killed one was just starting.
    #[tokio::test]
    async fn one_that_holds_the_lock_and_does_not_answer_is_waited_for_but_not_for_ever() {
        let scratch = tempfile::tempdir().unwrap();
        let environment = |name: &str| match name {
            "HOME" => Some(scratch.path().join("home").into_os_string()),
            "XDG_RUNTIME_DIR" => Some(scratch.path().join("run").into_os_string()),
            _ => None,
        };
        let config = Config::for_user(environment, rustix::process::geteuid().as_raw(), PathBuf::new()).unwrap();
        drop(Instance::claim(&config, false).unwrap());
        let lock = std::fs::File::open(config.state_directory.join(places::LOCK_NAME)).unwrap();
        flock(&lock, FlockOperation::NonBlockingLockExclusive).unwrap();

        let patience = Duration::from_millis(200);
        let start = Instant::now();
        let refused = claim(&config, false, true, patience).await;
        assert!(matches!(refused, Err(InstanceError::AlreadyRunning { .. })));
        assert!(start.elapsed() > patience);
        // A person who starts one is told at once.
        let start = Instant::now();
        assert!(claim(&config, false, false, Duration::from_secs(60)).await.is_err());
        assert!(start.elapsed() < Duration::from_secs(30));

        let waiting = tokio::spawn(async move { claim(&config, false, true, Duration::from_secs(60)).await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!waiting.is_finished());
        drop(lock);
        assert!(waiting.await.unwrap().unwrap().is_some(), "it is the daemon now");
    }
}
