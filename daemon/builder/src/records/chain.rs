//! One build's steps while it runs: each gets its number, and its lines go to the job's file.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use kiln_hypervisors::SavedState;

use super::file::RecordFile;
use super::output::Output;
use super::reader::BuildRecords;
use super::step::{Header, Phase, State, StepRecord, VERSION};

/// The steps of one build.
#[derive(Debug)]
pub(crate) struct Chain {
    build: String,
    file: RecordFile,
    last: AtomicU32,
    /// Where it goes on, when another process has begun it.
    resumed: Option<Resumed>,
}

/// Where a build goes on that another process has begun.
#[derive(Debug)]
pub(crate) struct Resumed {
    /// What that process has noted.
    pub(crate) records: BuildRecords,
    /// The last step that the guest has behind it.
    pub(crate) after: u32,
    /// The machine as it was right after that step.
    pub(crate) state: SavedState,
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
        Self { build: build.to_owned(), file, last: AtomicU32::new(0), resumed: None }
    }

    /// The same build, going on where another process has left it.
    #[must_use]
    pub(crate) fn resumed(self, resumed: Resumed) -> Self {
        Self { resumed: Some(resumed), ..self }
    }

    /// True for a build that goes on: what lies on the disk is kept, what died with its process is made again.
    pub(crate) fn goes_on(&self) -> bool {
        self.resumed.is_some()
    }

    /// The state of the machine from which the build goes on.
    pub(crate) fn saved_state(&self) -> Option<&SavedState> {
        self.resumed.as_ref().map(|resumed| &resumed.state)
    }

    /// What the step called `name` has left in the process that began the build.
    pub(crate) fn left_by(&self, name: &str) -> Option<&Output> {
        let steps = &self.resumed.as_ref()?.records.steps;
        let done = steps.iter().rev().find(|step| step.name == name && step.state == State::Done)?;
        done.outputs.as_ref()
    }

    /// True when the step that would come next happened in the guest before the state was saved that the build goes on from; it
    /// keeps its number.
    pub(crate) fn pass_over(&self) -> bool {
        let Some(resumed) = &self.resumed else { return false };
        let passed = |last: u32| (last < resumed.after).then_some(last + 1);
        self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, passed).is_ok()
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
