//! The worker process: runs one job, as its own session, and outlives the daemon that started it.
//!
//! ```text
//! lock ─► worker.json ─► control socket ─► JobStarted ─► runner ─► JobFinished
//! ```
//!
//! Whoever reads `JobStarted` can reach the control socket; whoever reads `JobFinished` knows that everything is cleaned up. A
//! worker that ends without `JobFinished` was killed; the daemon then starts [`sweep`].

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use kiln_protocol::{EventBody, JobState};
use rustix::fs::Mode;
use tokio::net::UnixListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::control;
use crate::event_log::{
    EventLine, EventReader, EventWriter, InvalidLimit, KILN_MAX_LOG_MIB, WriteError, last_event, limit_of,
};
use crate::explain::explain;
use crate::job_dir::{JobDir, JobDirError, WorkerLock};
use crate::process_identity::ProcessIdentity;
use crate::runner::{EventSink, JobEvent, JobOutcome, JobRequest, JobRunner, SweepReport};
use crate::version::VERSION;

/// Exit code that says: another worker has this job. `EX_TEMPFAIL` of sysexits.h.
pub const EXIT_LOCKED: u8 = 75;

/// Option of a worker that gets its environment through standard input.
pub(crate) const ENVIRONMENT_ON_STDIN: &str = "--environment-on-stdin";

/// Mask when the client did not say: the usual one.
const DEFAULT_UMASK: u32 = 0o022;

/// Time for another sweeper to finish, perhaps of an earlier daemon.
const SWEEPER_LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// Time for a daemon to look whether somebody has the lock. A worker keeps it far longer.
const WORKER_LOCK_TIMEOUT: Duration = Duration::from_millis(250);

/// Time between two progress events about the same thing.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(250);

/// Reports that a worker could not do its work at all.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// Another process works on this job.
    #[error("another worker has this job")]
    Locked,
    /// The job's directory is not usable.
    #[error("cannot use the job's directory")]
    Directory(#[from] JobDirError),
    /// The events file is not usable.
    #[error("cannot keep the job's events")]
    Events(#[from] WriteError),
    /// The events may not become as long as the environment says.
    #[error(transparent)]
    Limit(#[from] InvalidLimit),
    /// The working directory is gone or closed.
    #[error("cannot enter the working directory {path}")]
    WorkingDirectory {
        /// The directory.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A system call failed.
    #[error("cannot {action}")]
    System {
        /// What was to be done.
        action: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Runs the job of this directory; returns the exit code of the process.
///
/// # Errors
///
/// Nothing could be done. When events can be written, they say so too.
pub fn run(directory: &JobDir, runner: &Arc<dyn JobRunner>) -> Result<u8, WorkerError> {
    // Fails for a process that leads its group already, as when a person starts a worker in a shell: no harm.
    let _ = rustix::process::setsid();
    let _lock = lock_within(directory, WORKER_LOCK_TIMEOUT)?;
    directory.remove_unfinished();
    let mut writer = EventWriter::open(&directory.events())?;
    if writer.is_finished() {
        // Cancelled, given up or done by another worker before this process came to its lock: nothing is written any more.
        return Ok(1);
    }
    let system = |action| move |source| WorkerError::System { action, source };
    let identity = ProcessIdentity::of(std::process::id()).map_err(system("find out the process's identity"))?;
    directory.write_identity(&identity)?;
    let started = Instant::now();
    let prepared = prepare(directory).and_then(|request| {
        let limit = limit_of(request.submission.environment.get(KILN_MAX_LOG_MIB).map(String::as_str))?;
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Ok((request, limit, runtime.map_err(system("start the runtime"))?))
    });
    let (request, limit, runtime) = match prepared {
        Ok(prepared) => prepared,
        Err(error) => {
            writer.append(None, finished(failure(explain(&error)), started))?;
            return Err(error);
        }
    };
    let log = Arc::new(Log { writer: Mutex::new(writer.limited_to(limit)), progress: Mutex::default() });
    let outcome = runtime.block_on(run_job(directory, request, runner, &log));
    // A task that still hangs must not keep the process.
    runtime.shutdown_timeout(Duration::from_secs(2));
    let outcome = outcome.unwrap_or_else(|error| failure(explain(&error)));
    let exit_code = outcome.exit_code;
    log.append(None, finished(outcome, started));
    log.sync();
    Ok(exit_code)
}

/// Cleans up after a dead worker, and writes the job's last event.
///
/// # Errors
///
/// Another process works on this job, or events cannot be written.
pub fn sweep(directory: &JobDir, runner: &dyn JobRunner, state: JobState, cause: &str) -> Result<(), WorkerError> {
    let _lock = lock_within(directory, SWEEPER_LOCK_TIMEOUT)?;
    directory.remove_unfinished();
    let elapsed_us = told_time(&directory.events()).map_or(0, micros);
    let mut writer = EventWriter::open(&directory.events())?;
    if writer.is_finished() {
        return Ok(());
    }
    for (failed, line) in swept(directory, runner) {
        let text = format!("after the worker's end: {line}");
        let body = if failed {
            EventBody::Error { text, target: None, output: false }
        } else {
            EventBody::Say { text, target: None }
        };
        writer.append(None, body)?;
    }
    writer.append(None, EventBody::JobFinished { state, exit_code: 1, elapsed_us, error: Some(cause.to_owned()) })?;
    writer.sync()?;
    Ok(())
}

/// The time between the first and the last thing that was told of a job whose worker is dead.
fn told_time(events: &Path) -> Option<Duration> {
    #[derive(serde::Deserialize)]
    struct At {
        time: String,
    }
    let at = |line: &EventLine| serde_json::from_slice::<At>(&line.text).ok()?.time.parse::<jiff::Timestamp>().ok();
    let first = EventReader::open(events, 0).ok()?.read_batch().ok()?;
    let (first, last) = (at(first.first()?)?, at(&last_event(events).ok()??)?);
    // The clock may have been set meanwhile.
    last.duration_since(first).try_into().ok()
}

/// Gives back what a job that is over still holds. Its last event is written: what comes of this is in the log and, as far as something
/// stays, in the job's directory.
///
/// # Errors
///
/// Another process works on this job, or its directory is not usable.
pub fn give_back(directory: &JobDir, runner: &dyn JobRunner) -> Result<(), WorkerError> {
    let _lock = lock_within(directory, SWEEPER_LOCK_TIMEOUT)?;
    let report = runner.give_back(&directory.root, directory.ended()?).unwrap_or_else(|error| SweepReport {
        removed: Vec::new(),
        failed: vec![format!("what is left over cannot be found out: {error}")],
    });
    report.removed.iter().for_each(|line| tracing::info!("after the job's end: {line}"));
    report.failed.iter().for_each(|line| tracing::warn!("after the job's end: {line}"));
    Ok(directory.write_left(&report.failed)?)
}

/// Takes the job's lock as soon as nobody else has it.
fn lock_within(directory: &JobDir, limit: Duration) -> Result<WorkerLock, WorkerError> {
    let start = Instant::now();
    loop {
        if let Some(lock) = directory.lock()? {
            return Ok(lock);
        }
        if start.elapsed() > limit {
            return Err(WorkerError::Locked);
        }
        // flock(2) waits without a time limit or not at all.
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Sweeps and returns a line for each thing found; true marks what went wrong.
fn swept(directory: &JobDir, runner: &dyn JobRunner) -> Vec<(bool, String)> {
    match runner.sweep(&directory.root) {
        Ok(report) => {
            let removed = report.removed.into_iter().map(|line| (false, line));
            removed.chain(report.failed.into_iter().map(|line| (true, line))).collect()
        }
        Err(error) => vec![(true, format!("what is left over cannot be found out: {error}"))],
    }
}

/// Reads the request and takes on what the client's shell had.
fn prepare(directory: &JobDir) -> Result<JobRequest, WorkerError> {
    let mut submission = directory.read_request()?;
    // What the launcher has made of it: without what is not for this user, and with what the account says.
    submission.environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    directory.create_runtime()?;
    // A daemon for all users does not enter it: it is entered with the user's rights, and nobody else waits for it.
    std::env::set_current_dir(&submission.working_directory)
        .map_err(|source| WorkerError::WorkingDirectory { path: submission.working_directory.clone(), source })?;
    rustix::process::umask(Mode::from_raw_mode(submission.umask.unwrap_or(DEFAULT_UMASK) & 0o777));
    Ok(JobRequest { submission, job_directory: directory.root.clone(), runtime_directory: directory.runtime.clone() })
}

async fn run_job(
    directory: &JobDir,
    request: JobRequest,
    runner: &Arc<dyn JobRunner>,
    log: &Arc<Log>,
) -> Result<JobOutcome, WorkerError> {
    let socket = directory.control_socket();
    // Left by a worker that was killed; the lock says that it is gone.
    let _ = std::fs::remove_file(&socket);
    let listen = |source| WorkerError::System { action: "listen on the control socket", source };
    let listener = UnixListener::bind(&socket).map_err(listen)?;
    let watch = |source| WorkerError::System { action: "watch for signals", source };
    let mut terminate = signal(SignalKind::terminate()).map_err(watch)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(watch)?;
    let _hangup = signal(SignalKind::hangup()).map_err(watch)?;

    log.append(None, EventBody::JobStarted { pid: std::process::id(), version: VERSION.to_owned() });
    let sink: EventSink = {
        let log = Arc::clone(log);
        Arc::new(move |event| log.take(event))
    };
    let job = runner.start(request, sink);
    let cancelled: Arc<dyn Fn() + Send + Sync> = {
        let log = Arc::clone(log);
        Arc::new(move || log.append(None, EventBody::CancelRequested))
    };
    let server = tokio::spawn(control::serve(listener, Arc::clone(&job.control), Arc::clone(&cancelled)));
    let mut outcome = tokio::spawn(job.outcome);
    let result = loop {
        tokio::select! {
            result = &mut outcome => break result,
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        cancelled();
        job.control.cancel();
    };
    server.abort();
    let _ = std::fs::remove_file(&socket);
    Ok(result.unwrap_or_else(|panic| {
        tracing::error!(%panic, "the job's task broke");
        for (_, line) in swept(directory, runner.as_ref()) {
            log.append(None, EventBody::Error { text: line, target: None, output: false });
        }
        failure(format!("internal error in the worker; {} says more", directory.root.join("worker.log").display()))
    }))
}

fn finished(outcome: JobOutcome, started: Instant) -> EventBody {
    let (state, exit_code) = match outcome {
        JobOutcome { cancelled: true, .. } => (JobState::Cancelled, 1),
        JobOutcome { exit_code: 0, .. } => (JobState::Succeeded, 0),
        JobOutcome { exit_code, .. } => (JobState::Failed, exit_code),
    };
    EventBody::JobFinished { state, exit_code, elapsed_us: micros(started.elapsed()), error: outcome.error }
}

fn failure(error: String) -> JobOutcome {
    JobOutcome { exit_code: 1, cancelled: false, error: Some(error) }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// A build, and what is moved for it.
type Moved = (Option<String>, String);

/// The events file with what is needed to use it from many threads.
struct Log {
    writer: Mutex<EventWriter>,
    /// When progress of each build and thing was written last, and which.
    progress: Mutex<HashMap<Moved, (Instant, u64)>>,
}

impl Log {
    fn take(&self, event: JobEvent) {
        if !self.is_too_soon(&event) {
            self.append(event.build, event.body);
        }
    }

    /// Whether the event is progress that nobody would miss.
    fn is_too_soon(&self, event: &JobEvent) -> bool {
        let EventBody::Progress { what, done, total } = &event.body else { return false };
        let key = (event.build.clone(), what.clone());
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let last = progress.get(&key);
        // The end is written, but once: some say it for each of many outputs.
        let needless = if *total == Some(*done) {
            last.is_some_and(|(_, written)| written == done)
        } else {
            last.is_some_and(|(time, _)| now.duration_since(*time) < PROGRESS_INTERVAL)
        };
        if !needless {
            progress.insert(key, (now, *done));
        }
        needless
    }

    fn append(&self, build: Option<String>, body: EventBody) {
        let written = self.writer.lock().unwrap_or_else(PoisonError::into_inner).append(build, body);
        if let Err(error) = written {
            tracing::error!(error = %explain(&error), "an event is lost");
        }
    }

    fn sync(&self) {
        let synced = self.writer.lock().unwrap_or_else(PoisonError::into_inner).sync();
        if let Err(error) = synced {
            tracing::error!(error = %explain(&error), "the events may be lost at a power cut");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_thinned_but_its_start_and_end_stay() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("events.ndjson");
        let log = Log { writer: Mutex::new(EventWriter::open(&path).unwrap()), progress: Mutex::default() };
        for done in (0..=1000).chain([1000; 37]) {
            let body = EventBody::Progress { what: "x.iso".to_owned(), done, total: Some(1000) };
            log.take(JobEvent { build: Some("qemu.a".to_owned()), body });
        }
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.lines().count() < 20, "{}", text.lines().count());
        assert!(text.lines().next().unwrap().contains("\"done\":0"));
        assert!(text.lines().last().unwrap().contains("\"done\":1000"));
        assert_eq!(text.matches("\"done\":1000").count(), 1);
    }

    #[test]
    fn a_job_has_taken_the_time_of_which_its_dead_worker_has_told() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("events.ndjson");
        assert_eq!(told_time(&path), None);
        let line =
            |seq: u32, time: &str| format!("{{\"seq\":{seq},\"time\":\"{time}\",\"kind\":\"say\",\"text\":\"a\"}}\n");
        let first = line(1, "2026-11-30T19:34:00.500Z");
        std::fs::write(
            &path,
            first.clone() + &line(2, "2026-11-30T19:34:05.000Z") + &line(3, "2026-11-30T19:34:10.750Z"),
        )
        .unwrap();
        assert_eq!(told_time(&path), Some(Duration::from_millis(10_250)));
        std::fs::write(&path, first + &line(2, "2026-11-30T19:33:59.000Z")).unwrap();
        assert_eq!(told_time(&path), None, "the clock was set back");
    }
}
