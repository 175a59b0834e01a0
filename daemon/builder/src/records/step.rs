//! What the file holds: a build's header and its steps.

use serde::{Deserialize, Serialize};

use super::output::Output;

/// The file's name in a job's directory.
pub const FILE_NAME: &str = "steps.ndjson";

/// The version of the format that this Kiln writes, and the newest that it reads.
pub const VERSION: u32 = 1;

/// The first line of a build.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The version of the format.
    pub version: u32,
    /// The build's full name, such as `qemu.web`.
    pub build: String,
    /// The digest of the build's plan, in hexadecimal: records of another plan say nothing about this one.
    pub plan: String,
    /// `PACKER_RUN_UUID`: the same for all builds of a job, and for a build that goes on in another process.
    #[serde(default)]
    pub run_uuid: String,
}

/// One line of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The build's full name.
    pub build: String,
    /// The step's place in the build, from 1. A step that is tried again keeps it.
    pub number: u32,
    /// The phase it belongs to.
    pub phase: Phase,
    /// Its name, such as `fetch` or `provisioner 2 (shell)`.
    pub name: String,
    /// How far it has come.
    pub state: State,
    /// When this line was written, as RFC 3339 in UTC.
    pub at: String,
    /// Wall time in milliseconds since the intent; only at the end of a step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub elapsed_ms: Option<u64>,
    /// What later steps need of it; only when it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outputs: Option<Output>,
    /// Why it failed, without secrets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The phases of a build, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// What can be done again at any time: fetch, directories, media, disks, the HTTP server, the key.
    Prepare,
    /// From a machine that is off to one that answers.
    BringUp,
    /// The provisioners.
    Provision,
    /// From a guest that is ready to the files of the artifact.
    Finish,
    /// The post-processors, which need files only.
    PostProcess,
}

impl Phase {
    /// The phase as the file spells it: `bring_up`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::BringUp => "bring_up",
            Self::Provision => "provision",
            Self::Finish => "finish",
            Self::PostProcess => "post_process",
        }
    }
}

/// How far a step has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It is about to act.
    Intent,
    /// It has done its work.
    Done,
    /// It has failed, or was cancelled.
    Failed,
}

impl State {
    /// The state as the file spells it: `intent`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Intent => "intent",
            Self::Done => "done",
            Self::Failed => "failed",
        }
    }
}
