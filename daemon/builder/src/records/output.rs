//! What a step leaves for the steps after it, as far as the plan does not say it already.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A step's result as a plain value: what another process needs to go on where this one ended. Never a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Output {
    /// Files it fetched or made.
    Files {
        /// Their paths, in the order in which the step made them.
        paths: Vec<PathBuf>,
    },
    /// The HTTP server for the guest.
    HttpServer {
        /// Its port, which the guest may have been told.
        port: u16,
    },
    /// The temporary key.
    Key {
        /// Its private half, in a file of mode 0600 that goes with the build.
        path: PathBuf,
    },
    /// A machine that runs.
    Machine {
        /// Its hypervisor's name.
        hypervisor: String,
        /// Its name for it, such as a process id; empty when there is none.
        id: String,
    },
    /// A connection to the guest.
    Connection {
        /// The communicator's name, such as `ssh`.
        communicator: String,
        /// Where it leads.
        host: String,
        /// Its port.
        port: u16,
    },
    /// An artifact.
    Artifact {
        /// Who made it, such as `transcend.qemu`.
        builder_id: String,
        /// Its files.
        files: Vec<PathBuf>,
    },
}
