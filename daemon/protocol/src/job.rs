//! Jobs: what is asked for, and what became of it.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::id::JobId;
use crate::image::ImageTask;
use crate::question::Question;
use crate::step::StepSummary;

/// Asks for a job.
///
/// Paths, environment and mask are those of the caller's shell, so that they mean in the worker what they mean there.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JobSubmission {
    /// What to do.
    pub kind: JobKind,
    /// Path of the template, as typed; relative to `working_directory`. Empty for work on images.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub template: String,
    /// What to do with images, for the kinds `convert` and `image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageTask>,
    /// The template itself, when it came from standard input (`-`): JSON, or HCL2 when `template` ends with `.pkr.hcl`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_text: Option<String>,
    /// Absolute directory in which the worker runs.
    pub working_directory: String,
    /// Whole environment of the caller. Kept only while the job is not over, in a file that only its owner reads.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// File mode creation mask of the caller, as a number; unset means 0o022.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub umask: Option<u32>,
    /// Packer's flags.
    #[serde(default)]
    pub options: JobOptions,
}

impl fmt::Debug for JobSubmission {
    /// Leaves out everything that may hold a secret.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("JobSubmission")
            .field("kind", &self.kind)
            .field("template", &self.template)
            .field("working_directory", &self.working_directory)
            .finish_non_exhaustive()
    }
}

/// Kinds of jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobKind {
    /// Build the images.
    Build,
    /// Convert disk images.
    Convert,
    /// Look at disk images: facts, map, check, comparison, verification.
    Image,
}

impl JobKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Build, Self::Convert, Self::Image];

    /// Returns the kind's name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Convert => "convert",
            Self::Image => "image",
        }
    }

    /// Whether jobs of this kind wait for their turn. The others take little, and somebody waits for them.
    #[must_use]
    pub fn queues(self) -> bool {
        matches!(self, Self::Build | Self::Convert)
    }
}

/// What to do when a step fails (`-on-error`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnError {
    /// Clean up everything.
    #[default]
    Cleanup,
    /// Leave everything as it is.
    Abort,
    /// Ask whether to clean up, abort or try the step again.
    Ask,
    /// Run the error-cleanup-provisioner, then leave everything as it is.
    RunCleanupProvisioner,
}

/// Flags of `build` and `validate`, with Packer's meanings.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobOptions {
    /// `-var`, in the order given.
    pub variables: Vec<Assignment>,
    /// `-var-file`, in the order given; relative to the working directory.
    pub variable_files: Vec<String>,
    /// `-only`: patterns of build names.
    pub only: Vec<String>,
    /// `-except`: patterns of build and post-processor names.
    pub except: Vec<String>,
    /// `-force`: delete artifacts that are in the way.
    pub force: bool,
    /// `-on-error`.
    pub on_error: OnError,
    /// `-parallel-builds`; 0 means no limit.
    pub parallel_builds: u32,
    /// `-debug`: one build at a time, with a pause after each step.
    pub debug: bool,
    /// `-warn-on-undeclared-var`.
    pub warn_on_undeclared_variables: bool,
}

/// A variable's value from the command line.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// Name of the variable.
    pub name: String,
    /// Its value, as typed. May be a secret.
    pub value: String,
}

/// States of a job.
///
/// ```text
/// queued ─► starting ─► running ─► succeeded | failed
///    │          └──────────┴─► cancelling ─► cancelled
///    └─► cancelled
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// Waits for its turn.
    Queued,
    /// The worker is being started; it cannot be spoken to yet.
    Starting,
    /// The worker runs.
    Running,
    /// A cancellation was asked for; the worker cleans up.
    Cancelling,
    /// Everything asked for was done.
    Succeeded,
    /// Something failed; the events say what.
    Failed,
    /// Cancelled, and cleaned up.
    Cancelled,
}

impl JobState {
    /// Every state, in the order of the picture.
    pub const ALL: [Self; 7] =
        [Self::Queued, Self::Starting, Self::Running, Self::Cancelling, Self::Succeeded, Self::Failed, Self::Cancelled];

    /// Whether nothing more happens to the job.
    #[must_use]
    pub fn is_over(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// Returns the state's name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.as_str())
    }
}

/// States of one build of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuildState {
    /// Known, not finished.
    Running,
    /// Finished without an error.
    Succeeded,
    /// Finished with an error.
    Failed,
    /// Ended by a cancellation.
    Cancelled,
}

/// Describes a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Job {
    /// Its identifier.
    pub id: JobId,
    /// What is done.
    pub kind: JobKind,
    /// Path of the template, as typed; for work on images, what it works on in a few words.
    pub template: String,
    /// Directory in which the worker runs.
    pub working_directory: String,
    /// User id of who submitted it, on a daemon that serves several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<u32>,
    /// Its state.
    pub state: JobState,
    /// Number of jobs that start before this one, while it is queued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_position: Option<u32>,
    /// Jobs that hold the places for which it waits, while it is queued.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waits_for: Vec<PlaceHolder>,
    /// When it was submitted, RFC 3339.
    pub created_at: String,
    /// When its worker started, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<String>,
    /// When it was over, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<String>,
    /// Exit code for the client, once over: 0 or 1; for work on images, qemu-img's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<u8>,
    /// Why it failed as a whole; failures of single builds are in `builds`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Number of the last event that the daemon has read.
    pub last_event: u64,
    /// Its builds, in template order.
    pub builds: Vec<BuildSummary>,
    /// What it asks and nobody has answered, the oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub questions: Vec<Question>,
    /// What is wrong with what is kept of it, as that the records of its steps are damaged. Told of a single job only, not in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// Names a job that holds one of the places in which jobs run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PlaceHolder {
    /// The job.
    pub job: JobId,
    /// Whether it asks something, and goes on only when somebody has answered.
    pub asks: bool,
}

/// Describes one build of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct BuildSummary {
    /// Name, as `qemu.web`.
    pub name: String,
    /// Its state.
    pub state: BuildState,
    /// Step that runs now, or ran last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// How long it took, in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_us: Option<u64>,
    /// What it left.
    pub artifacts: Vec<Artifact>,
    /// Its steps, in order. Told by `GET /v1/jobs/{id}` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepSummary>,
}

/// Describes what a build left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Artifact {
    /// Who made it, as `transcend.qemu`.
    pub builder_id: String,
    /// Its identifier in the builder's words.
    pub id: String,
    /// One line for people; unset when there is nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its files.
    #[serde(default)]
    pub files: Vec<String>,
}

/// Lists jobs, newest first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct JobList {
    /// The jobs.
    pub jobs: Vec<Job>,
}

/// Asks for a cancellation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct CancelRequest {
    /// How.
    pub mode: CancelMode,
}

/// Ways to cancel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancelMode {
    /// The worker stops what it does and cleans up.
    #[default]
    Graceful,
    /// The worker is killed; the daemon cleans up what it left.
    Now,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_submission_with_defaults_is_short() {
        let text = r#"{"kind":"build","template":"a.pkr.hcl","working_directory":"/w"}"#;
        let submission: JobSubmission = serde_json::from_str(text).unwrap();
        assert!(submission.options == JobOptions::default());
        assert!(submission.environment.is_empty());
    }

    #[test]
    fn misspelt_fields_are_refused() {
        let text = r#"{"kind":"build","template":"a","working_directory":"/w","options":{"forced":true}}"#;
        let error = serde_json::from_str::<JobSubmission>(text).unwrap_err();
        assert!(error.to_string().contains("unknown field `forced`"), "{error}");
    }

    #[test]
    fn debug_output_shows_neither_environment_nor_variables() {
        let text = r#"{"kind":"build","template":"a","working_directory":"/w","environment":{"TOKEN":"hunter2"},
            "options":{"variables":[{"name":"password","value":"hunter2"}]}}"#;
        let submission: JobSubmission = serde_json::from_str(text).unwrap();
        assert!(!format!("{submission:?}").contains("hunter2"));
    }

    #[test]
    fn names_are_those_on_the_wire() {
        for kind in JobKind::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.as_str());
        }
        for state in JobState::ALL {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
    }
}
