//! Steps of a build: what is done in which order, and how long it took.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Describes a step of a build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepSummary {
    /// Its place in the build, from 1. A step that is tried again keeps it.
    pub number: u32,
    /// The part of the build that it belongs to.
    pub phase: StepPhase,
    /// Its name, as `fetch` or `provisioner 2 (shell)`.
    pub name: String,
    /// How far it has come.
    pub state: StepState,
    /// When it began, the last time that it was tried: RFC 3339.
    pub started_at: String,
    /// How long it took, in microseconds, once it has ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_us: Option<u64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Phases of a build, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepPhase {
    /// What the machine needs: images, directories, media.
    Prepare,
    /// Until the guest is reached.
    BringUp,
    /// One step for each provisioner.
    Provision,
    /// The guest is shut down, its disks are written.
    Finish,
    /// One step for each post-processor.
    PostProcess,
    /// A phase that this version does not know.
    #[serde(other)]
    Unknown,
}

/// How far a step has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// It is being done.
    Running,
    /// It has done its work.
    Done,
    /// It has failed, or was cancelled.
    Failed,
    /// Its worker ended before it did.
    Interrupted,
    /// A state that this version does not know.
    #[serde(other)]
    Unknown,
}

impl StepState {
    /// Returns the state's name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Unknown => "unknown",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_on_the_wire_and_later_ones_are_no_error() {
        for state in [StepState::Running, StepState::Done, StepState::Failed, StepState::Interrupted] {
            assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
        }
        assert_eq!(serde_json::from_str::<StepState>("\"skipped\"").unwrap(), StepState::Unknown);
        assert_eq!(serde_json::from_str::<StepPhase>("\"rest\"").unwrap(), StepPhase::Unknown);
    }
}
