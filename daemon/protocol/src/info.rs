//! What a daemon is and can do: the first thing a client asks for.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Describes the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Info {
    /// Version of kilnd.
    pub version: String,
    /// Number of the API: the `1` of `/v1`.
    pub api: u32,
    /// `user` or `system`.
    pub mode: String,
    /// Process id of the daemon.
    pub pid: u32,
    /// When the daemon started, RFC 3339.
    pub started_at: String,
    /// Directory of journal, jobs and log.
    pub state_directory: String,
    /// Names of optional abilities, for clients of several versions.
    pub features: Vec<String>,
    /// Number of jobs that may run at once.
    pub max_running_jobs: u32,
    /// Jobs running now.
    pub running_jobs: u32,
    /// Jobs waiting for their turn.
    pub queued_jobs: u32,
    /// What can run guests here, and why not.
    pub hypervisors: Vec<HypervisorInfo>,
    /// Whether they are still being looked for: trying out an accelerator takes some seconds the first time.
    #[serde(default)]
    pub looking_for_hypervisors: bool,
    /// Socket on which it listens.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub socket: String,
    /// How it stands on D-Bus: its name there, or why it is not there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub dbus: String,
    /// What its owner should know, as that a damaged journal was set aside, or that its configuration has a fault and the older one is in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notices: Vec<String>,
}

/// Describes one hypervisor on this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HypervisorInfo {
    /// Name, as `qemu`.
    pub name: String,
    /// Whether builds can use it.
    pub available: bool,
    /// Its version, when it told one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Why it is unavailable, or what is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Says what a stopping daemon leaves behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShutdownReport {
    /// Process id of the daemon that stops.
    pub pid: u32,
    /// Jobs whose workers run on.
    pub running_jobs: u32,
    /// Jobs that wait for the next daemon.
    pub queued_jobs: u32,
}
