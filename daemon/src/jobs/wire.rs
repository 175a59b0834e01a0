//! Between the words of the wire and the journal's own.

use kiln_protocol::{Artifact, BuildSummary, Job, JobId, StepPhase, StepState, StepSummary};

use super::submission::cut_path;
use crate::job_dir::Acceptance;
use crate::journal::{self, ArtifactRow, BuildRow, JobRow, JournalError, NewJob, StepRow};

/// Makes a pair of conversions between two enums with variants of the same names.
macro_rules! same {
    ($name:ident { $($value:ident),* }) => {
        impl From<kiln_protocol::$name> for journal::$name {
            fn from(value: kiln_protocol::$name) -> Self {
                match value {
                    $(kiln_protocol::$name::$value => Self::$value,)*
                }
            }
        }

        impl From<journal::$name> for kiln_protocol::$name {
            fn from(value: journal::$name) -> Self {
                match value {
                    $(journal::$name::$value => Self::$value,)*
                }
            }
        }
    };
}

same!(JobKind { Build, Convert, Image });
same!(JobState { Queued, Starting, Running, Cancelling, Succeeded, Failed, Cancelled });
same!(BuildState { Running, Succeeded, Failed, Cancelled });

impl From<Artifact> for ArtifactRow {
    fn from(artifact: Artifact) -> Self {
        let Artifact { builder_id, id, text, files } = artifact;
        Self { builder_id, id, text, files }
    }
}

/// Reads a job's identifier.
pub(super) fn job_id(text: &str) -> Result<JobId, JournalError> {
    text.parse().map_err(|_| JournalError::Unexpected { what: "a job's id", value: text.to_owned() })
}

/// Makes the row of a job that was just submitted.
pub(super) fn new_job(
    id: &JobId,
    kind: kiln_protocol::JobKind,
    template: String,
    working_directory: String,
    acceptance: Acceptance,
) -> NewJob {
    let Acceptance { created_at, owner, key, digest } = acceptance;
    let id = id.as_str().to_owned();
    let (template, working_directory) = (cut_path(template), cut_path(working_directory));
    NewJob { id, kind: kind.into(), template, working_directory, owner, created_at, key, digest, confined: false }
}

/// Describes a job, as far as the journal knows it.
pub(super) fn job(row: JobRow) -> Result<Job, JournalError> {
    let cut =
        row.is_cut.then(|| format!("more is known of it than the list has room for: `kiln jobs show {}`", row.id));
    Ok(Job {
        id: job_id(&row.id)?,
        kind: row.kind.into(),
        template: row.template,
        working_directory: row.working_directory,
        owner: Some(row.owner),
        state: row.state.into(),
        queue_position: None,
        waits_for: Vec::new(),
        created_at: row.created_at,
        started_at: row.started_at,
        finished_at: row.finished_at,
        exit_code: row.exit_code,
        error: row.error,
        last_event: row.last_event,
        builds: row.builds.into_iter().map(build).collect(),
        questions: Vec::new(),
        notes: cut.into_iter().collect(),
    })
}

fn build(row: BuildRow) -> BuildSummary {
    let artifact = |row: ArtifactRow| {
        let ArtifactRow { builder_id, id, text, files } = row;
        Artifact { builder_id, id, text, files }
    };
    BuildSummary {
        name: row.name,
        state: row.state.into(),
        step: row.step,
        error: row.error,
        elapsed_us: row.elapsed_us,
        artifacts: row.artifacts.into_iter().map(artifact).collect(),
        steps: Vec::new(),
    }
}

/// Adds the steps of a job's builds.
pub(super) fn add_steps(job: &mut Job, steps: Vec<StepRow>) {
    for row in steps {
        let Some(build) = job.builds.iter_mut().find(|build| build.name == row.build) else { continue };
        let state = match row.state {
            journal::StepState::Done => StepState::Done,
            journal::StepState::Failed => StepState::Failed,
            journal::StepState::Intent if build.state == kiln_protocol::BuildState::Running => StepState::Running,
            // Whoever wanted to act is gone.
            journal::StepState::Intent => StepState::Interrupted,
        };
        let phase = match row.phase {
            journal::StepPhase::Prepare => StepPhase::Prepare,
            journal::StepPhase::BringUp => StepPhase::BringUp,
            journal::StepPhase::Provision => StepPhase::Provision,
            journal::StepPhase::Finish => StepPhase::Finish,
            journal::StepPhase::PostProcess => StepPhase::PostProcess,
        };
        build.steps.push(StepSummary {
            number: row.number,
            phase,
            name: row.name,
            state,
            started_at: row.started_at,
            elapsed_us: row.elapsed_ms.map(|elapsed| elapsed.saturating_mul(1000)),
            error: row.error,
        });
    }
}
