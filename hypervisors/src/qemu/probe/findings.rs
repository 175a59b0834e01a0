//! What a probe finds out, or why it cannot.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::names::Names;
use crate::error::MachineError;
use crate::machine::AcceleratorAvailability;

/// What was found out about one QEMU program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::qemu) struct Findings {
    /// `7.2.22`.
    pub(in crate::qemu) version: String,
    /// The guest's architecture as QEMU names it: `x86_64`.
    pub(in crate::qemu) architecture: String,
    /// `-sandbox` works.
    pub(in crate::qemu) sandbox: bool,
    /// In the order in which they are preferred. Empty: they have not been probed.
    pub(in crate::qemu) accelerators: Vec<Finding>,
    /// What it has, by name.
    pub(in crate::qemu) names: Names,
}

/// What was found out about one accelerator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::qemu) struct Finding {
    pub(in crate::qemu) name: String,
    pub(in crate::qemu) usable: bool,
    pub(in crate::qemu) reason: String,
    /// It may be otherwise in a minute: QEMU did not come so far as to run a guest, as when another hypervisor has the processor.
    #[serde(skip)]
    pub(in crate::qemu) passes: bool,
}

impl From<Finding> for AcceleratorAvailability {
    fn from(finding: Finding) -> Self {
        Self { name: finding.name, usable: finding.usable, reason: finding.reason }
    }
}

/// Says why a QEMU program tells nothing about itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::qemu) enum ProbeError {
    #[error("{0} cannot be run: {1}")]
    Run(PathBuf, String),
    #[error("{0} does not work as a QEMU: {1}")]
    NotQemu(PathBuf, String),
    #[error("{0} cannot be asked: {1}")]
    Ask(PathBuf, MachineError),
}
