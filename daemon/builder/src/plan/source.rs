//! What one build's source will do, whichever builder it is of.

use kiln_communicators::Secret;
use serde::Serialize;

use super::communicator::CommunicatorPlan;
use super::file::FilePlan;
use super::null::NullPlan;
use super::qemu::QemuPlan;
use super::virtualbox::VirtualBoxPlan;
use super::vmware::VmwarePlan;

/// What one build's source will do.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "builder", rename_all = "snake_case")]
pub(crate) enum SourcePlan {
    /// Only connects and provisions.
    Null(NullPlan),
    /// Writes a file.
    File(FilePlan),
    /// Runs a machine on QEMU.
    Qemu(Box<QemuPlan>),
    /// Runs a machine on VirtualBox.
    #[serde(rename = "virtualbox")]
    VirtualBox(Box<VirtualBoxPlan>),
    /// Runs a machine on VMware.
    Vmware(Box<VmwarePlan>),
    /// Runs a machine on the fake hypervisor.
    #[cfg(test)]
    Fake(Box<super::fake::FakePlan>),
    /// Of a builder that this version can check but not run; [`crate::unbuilt`] refuses to build it.
    Unbuilt,
}

impl SourcePlan {
    /// How its guest is reached, where there can be one.
    pub(crate) fn communicator(&self) -> Option<&CommunicatorPlan> {
        match self {
            Self::Null(plan) => Some(&plan.communicator),
            Self::Qemu(plan) => Some(&plan.communicator),
            Self::VirtualBox(plan) => Some(&plan.communicator),
            Self::Vmware(plan) => Some(&plan.communicator),
            #[cfg(test)]
            Self::Fake(plan) => Some(&plan.communicator),
            Self::File(_) | Self::Unbuilt => None,
        }
    }

    /// The secrets that its text hides, in the order of its text.
    pub(crate) fn secrets(&self) -> Vec<&Secret> {
        let mut secrets = self.communicator().map(CommunicatorPlan::secrets).unwrap_or_default();
        if let Self::Qemu(plan) = self {
            secrets.extend(plan.machine.vnc.as_ref().and_then(|vnc| vnc.password.as_ref()));
        }
        secrets
    }
}
