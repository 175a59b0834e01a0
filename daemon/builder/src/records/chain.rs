//! One build's steps while it runs: each gets its number, and its lines go to the job's file.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::file::RecordFile;
use super::output::Output;
use super::step::{Header, Phase, State, StepRecord, VERSION};

/// The steps of one build.
#[derive(Debug)]
pub(crate) struct Chain {
    build: String,
    file: RecordFile,
    last: AtomicU32,
}

/// A step that has been noted as an intent.
#[derive(Debug)]
pub(crate) struct OpenStep {
    intent: StepRecord,
    started: Instant,
}

impl OpenStep {
    /// Wall time since the intent.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }
}

impl Chain {
    /// The build named `build`, of which nothing has been done.
    pub(crate) fn new(build: &str, file: RecordFile) -> Self {
        Self { build: build.to_owned(), file, last: AtomicU32::new(0) }
    }

    /// Where it is written to.
    pub(crate) fn path(&self) -> &std::path::Path {
        self.file.path()
    }

    /// Begins the build, whose plan has the digest `plan`.
    pub(crate) async fn begin(&self, plan: String, run_uuid: &str) -> io::Result<()> {
        let (build, run_uuid) = (self.build.clone(), run_uuid.to_owned());
        self.file.begin(&Header { version: VERSION, build, plan, run_uuid }).await
    }

    /// The number of the step that comes next.
    pub(crate) fn next(&self) -> u32 {
        self.last.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Notes that step `number` is about to act.
    pub(crate) async fn intend(&self, number: u32, phase: Phase, name: &str) -> io::Result<OpenStep> {
        let started = Instant::now();
        let intent = StepRecord {
            build: self.build.clone(),
            number,
            phase,
            name: name.to_owned(),
            state: State::Intent,
            at: now(),
            elapsed_ms: None,
            outputs: None,
            error: None,
        };
        self.file.note(&intent).await?;
        Ok(OpenStep { intent, started })
    }

    /// Notes how the step has ended: with what it leaves, or with why it failed.
    pub(crate) async fn end(&self, step: OpenStep, result: Result<Option<Output>, String>) -> io::Result<()> {
        let elapsed = u64::try_from(step.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (state, outputs, error) = match result {
            Ok(outputs) => (State::Done, outputs, None),
            Err(error) => (State::Failed, None, Some(error)),
        };
        let end = StepRecord { state, at: now(), elapsed_ms: Some(elapsed), outputs, error, ..step.intent };
        self.file.note(&end).await
    }
}

fn now() -> String {
    jiff::Timestamp::now().to_string()
}
