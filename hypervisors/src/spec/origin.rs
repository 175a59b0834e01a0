//! How a machine comes to be: new, from something that exists, or where another one was saved.

use std::path::PathBuf;

/// How a machine comes to be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Origin {
    /// Made of the spec's hardware.
    #[default]
    New,
    /// Made of a package that describes a machine, as an OVF or VMX file; the spec's hardware is put over what it says.
    Import {
        /// The package's main file.
        package: PathBuf,
    },
    /// A copy of a machine that the hypervisor knows.
    Clone {
        /// The machine, as the hypervisor names it.
        machine: String,
        /// One of its snapshots; `None`: as it is now.
        snapshot: Option<String>,
    },
    /// A machine of others that the hypervisor knows, itself: it is worked on, and stays.
    Existing {
        /// The machine, as the hypervisor names it.
        machine: String,
        /// The snapshot that it is put back to first; `None`: as it is now.
        snapshot: Option<String>,
    },
    /// Goes on where a machine was saved: same hardware, memory and devices.
    SavedState(SavedState),
}

/// The state of a machine, saved while it ran.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedState {
    /// The hypervisor that saved it; no other can go on from it.
    pub hypervisor: String,
    /// The file it was saved in.
    pub path: PathBuf,
}
