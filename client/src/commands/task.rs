//! Has images worked on by the daemon, and waits: progress as a live line, failures as errors, results for the command.

use std::io;
use std::path::Path;

use kiln_protocol::{EventBody, ImageResult, ImageTask, Job, JobKind, JobOptions, JobState};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::context::Context;
use super::note::note;
use super::reconnect::{cancel, events};
use super::signals::Signals;
use super::stdout::StandardOutput;
use super::{build, waiting};
use crate::error::CommandError;
use crate::live::{self, Live};
use crate::terminal;

/// What came out.
pub(super) struct Done {
    pub(super) exit_code: u8,
    /// Whether everything was said already, as errors.
    pub(super) failed: bool,
    /// From the worker's start on, in microseconds.
    pub(super) elapsed_us: u64,
    pub(super) results: Vec<ImageResult>,
}

/// Hands the task to the daemon.
pub(super) async fn submit(context: &Context, task: ImageTask) -> Result<Job, CommandError> {
    let kind = if matches!(task, ImageTask::Convert(_)) { JobKind::Convert } else { JobKind::Image };
    let mut submission = build::submission(kind, "".into(), JobOptions::default())?;
    submission.image = Some(task);
    build::submit(&context.client, &submission).await
}

/// Hands the task to the daemon and waits for its end. What it writes to standard output goes through `output`.
pub(super) async fn run(
    context: &Context,
    task: ImageTask,
    quiet: bool,
    output: Option<StandardOutput>,
) -> Result<Done, CommandError> {
    let mut signals = Signals::new()?;
    let job = submit(context, task).await?;
    let mut live = (!quiet).then(|| if terminal::can_redraw() { Live::drawn() } else { Live::told() });
    if job.state == JobState::Queued && !quiet {
        note(&waiting::notice(&job));
        live.iter_mut().for_each(Live::queued);
    }
    let id = job.id;
    let mut clock = interval(live::PACE);
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut received = events(context.client.clone(), id.clone(), 0);
    let fifo = output.as_ref().map(StandardOutput::path);
    let copying = output.map(StandardOutput::start);
    let mut failures = Vec::new();
    let mut cancelling: Option<JoinHandle<()>> = None;
    let mut done = Done { exit_code: 1, failed: false, elapsed_us: 0, results: Vec::new() };
    let mut reason = None;
    loop {
        tokio::select! {
            event = received.recv() => {
                let Some(event) = event else { break };
                let event = event?.event;
                if let Some(live) = &mut live {
                    live.event(&event);
                }
                match event.body {
                    EventBody::Result { result } => done.results.push(result),
                    EventBody::Diagnostics { .. } if quiet => {}
                    EventBody::Diagnostics { text, .. } => match &live {
                        Some(live) => live.suspend(|| note(text.trim_end())),
                        None => note(text.trim_end()),
                    },
                    EventBody::Failure { text, hint } => {
                        done.failed = true;
                        let error = CommandError::new(text);
                        let error = match hint {
                            Some(hint) => error.hint(hint),
                            None => error,
                        };
                        failures.push(error);
                    }
                    EventBody::JobFinished { exit_code, error, state, elapsed_us } => {
                        done.exit_code = exit_code;
                        done.elapsed_us = elapsed_us;
                        reason = error;
                        if state == JobState::Cancelled {
                            done.failed = true;
                            live.iter_mut().for_each(Live::clear);
                            note("cancelled; nothing was written");
                        }
                    }
                    _ => {}
                }
            }
            _ = clock.tick(), if live.is_some() => {
                for line in live.iter_mut().flat_map(Live::tick) {
                    note(&line);
                }
            }
            _ = signals.next() => {
                if cancelling.is_some() {
                    live.iter_mut().for_each(Live::clear);
                    note(&format!("kilnd goes on cancelling job {id}; `kiln attach {id}` shows it"));
                    return Ok(Done { failed: true, ..done });
                }
                if let Some(copying) = &copying {
                    // Nobody wants the rest, and a worker that waits for its reader hears of it.
                    copying.abort();
                }
                cancelling = Some(tokio::spawn(cancel(context.client.clone(), id.clone())));
            }
        }
    }
    drop(live);
    if let Some(copying) = copying {
        // The worker removes the name when it opens the other end; without that nothing will ever come.
        if done.exit_code != 0 && fifo.is_some_and(|fifo| Path::new(&fifo).exists()) {
            copying.abort();
        }
        match copying.await {
            Ok(Ok(())) => {}
            // The job failed because of this, if it did, so this is what counts.
            Ok(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => return Err(error.into()),
            Ok(Err(error)) => return Err(CommandError::new(format!("cannot write to standard output: {error}"))),
            Err(error) if error.is_cancelled() => {}
            Err(error) => return Err(CommandError::new(error)),
        }
    }
    for error in failures {
        error.print(&mut terminal::stderr())?;
    }
    if done.exit_code != 0 && !done.failed && done.results.is_empty() {
        // The worker did not come to say it: it was killed, or could not start.
        done.failed = true;
        let reason = reason.unwrap_or_else(|| "the job ended without a word".to_owned());
        CommandError::new(reason).print(&mut terminal::stderr())?;
    }
    Ok(done)
}
