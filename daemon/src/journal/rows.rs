//! What the rows of the journal hold, and what is written into them: types of its own, so that the wire may change without it.

use super::values::{BuildState, JobKind, JobState, StepPhase, StepState};
use crate::process_identity::ProcessIdentity;

/// A job that was just submitted.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its identifier.
    pub id: String,
    /// Its kind.
    pub kind: JobKind,
    /// Template as typed; for work on images, what it works on.
    pub template: String,
    /// Where its worker will run.
    pub working_directory: String,
    /// User who submitted it.
    pub owner: u32,
    /// When it was submitted, RFC 3339.
    pub created_at: String,
    /// Idempotency key, if one came along.
    pub key: Option<String>,
    /// Digest of the request, to tell a repetition from a mistake.
    pub digest: String,
    /// Whether it may do nothing but what its guests can.
    pub confined: bool,
}

/// A job that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FinishedJob {
    /// Its identifier.
    pub id: String,
    /// User who submitted it.
    pub owner: u32,
    /// When it was over, RFC 3339.
    pub finished_at: String,
}

/// A job that only its directory knows: the journal was lost.
#[derive(Clone, Debug)]
pub struct FoundJob {
    /// What was submitted.
    pub job: NewJob,
    /// How far it came.
    pub state: FoundState,
}

/// How far a job came that only its directory knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FoundState {
    /// No worker was ever started.
    Queued,
    /// A worker was started, and there is no last event.
    Running,
    /// It is over.
    Over(Ending),
}

/// Something that an event says about a build.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// Number of the event.
    pub event: u64,
    /// Name of the build.
    pub build: String,
    /// What is said.
    pub fact: Fact,
}

/// What an event says about a build.
#[derive(Clone, Debug, PartialEq)]
pub enum Fact {
    /// It will run.
    Planned {
        /// Place in the template.
        position: u32,
    },
    /// It began a step.
    Step {
        /// The step's name.
        step: String,
    },
    /// It left something.
    Artifact(ArtifactRow),
    /// It is over.
    Finished {
        /// How.
        state: BuildState,
        /// Why it failed.
        error: Option<String>,
        /// How long it took, in microseconds.
        elapsed_us: u64,
    },
}

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ending {
    /// Its last state.
    pub state: JobState,
    /// Exit code for the client.
    pub exit_code: u8,
    /// Why it failed as a whole.
    pub error: Option<String>,
    /// When it was over, RFC 3339.
    pub finished_at: String,
}

impl Ending {
    /// An ending that is no success, at this time.
    #[must_use]
    pub fn early(state: JobState, error: Option<String>, finished_at: String) -> Self {
        Self { state, exit_code: 1, error, finished_at }
    }

    /// Adds why the job failed, unless that is known.
    pub(crate) fn with_reason(mut self, reason: Option<String>) -> Self {
        if self.state == JobState::Failed {
            self.error = self.error.or(reason);
        }
        self
    }
}

/// Who holds what a running job holds: the row of a lease.
///
/// It is there from the start of the worker until the worker is proven dead and what it held is given back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The worker.
    pub holder: ProcessIdentity,
    /// File in which the worker notes each of its resources before it takes it, and from which they are given back after its death;
    /// below the state directory.
    pub ledger: String,
}

/// A job that was not over when the last daemon ended.
#[derive(Clone, Debug)]
pub struct Unfinished {
    /// Its identifier.
    pub id: String,
    /// Its kind.
    pub kind: JobKind,
    /// Its state as last written.
    pub state: JobState,
    /// What its worker holds, when one was started.
    pub lease: Option<Lease>,
    /// User who submitted it.
    pub owner: u32,
}

/// Which jobs a list shall hold.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// How many at most.
    pub limit: u32,
    /// With looks at images that are over.
    pub looks: bool,
    /// In one of these states; in any when empty.
    pub states: Vec<JobState>,
    /// Submitted at this time or later: RFC 3339 in UTC, with milliseconds.
    pub since: Option<String>,
    /// Those that are not over come before all others.
    pub unfinished_first: bool,
    /// Submitted by this user; by anybody when nothing.
    pub owner: Option<u32>,
}

impl Wanted {
    /// Wants the newest jobs of every kind and state.
    #[must_use]
    pub fn newest(limit: u32) -> Self {
        Self { limit, looks: true, states: Vec::new(), since: None, unfinished_first: false, owner: None }
    }
}

/// A job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    /// Its identifier.
    pub id: String,
    /// Its kind.
    pub kind: JobKind,
    /// Template as typed.
    pub template: String,
    /// Directory in which the worker runs.
    pub working_directory: String,
    /// Its state.
    pub state: JobState,
    /// When it was submitted, RFC 3339.
    pub created_at: String,
    /// When its worker started, RFC 3339.
    pub started_at: Option<String>,
    /// When it was over, RFC 3339.
    pub finished_at: Option<String>,
    /// Exit code for the client, once over.
    pub exit_code: Option<u8>,
    /// Why it failed as a whole.
    pub error: Option<String>,
    /// Number of the last event that was read.
    pub last_event: u64,
    /// User who submitted it.
    pub owner: u32,
    /// Its builds, in template order.
    pub builds: Vec<BuildRow>,
    /// Whether the builds, and the end of the error, are left out: a list would be too long with them.
    pub is_cut: bool,
}

/// A build of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildRow {
    /// Its name.
    pub name: String,
    /// Its state.
    pub state: BuildState,
    /// Step that runs now, or ran last.
    pub step: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
    /// How long it took, in microseconds.
    pub elapsed_us: Option<u64>,
    /// What it left.
    pub artifacts: Vec<ArtifactRow>,
}

/// What a build left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactRow {
    /// Who made it.
    pub builder_id: String,
    /// Its identifier in the builder's words.
    pub id: String,
    /// One line for people.
    pub text: Option<String>,
    /// Its files.
    pub files: Vec<String>,
}

/// A step of a build, as its records said when they were last read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepRow {
    /// The build.
    pub build: String,
    /// Its place in the build, from 1.
    pub number: u32,
    /// Its phase.
    pub phase: StepPhase,
    /// Its name.
    pub name: String,
    /// How far it has come.
    pub state: StepState,
    /// When it was begun, the last time: RFC 3339.
    pub started_at: String,
    /// How long it took, in milliseconds, once it has ended.
    pub elapsed_ms: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
}
