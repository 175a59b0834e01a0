//! What the builder of the fake hypervisor will do; for tests alone.

use std::path::PathBuf;

use serde::Serialize;

use super::communicator::CommunicatorPlan;
use super::guest::{BootPlan, ImagePlan, ShutdownPlan};

/// A machine of the fake hypervisor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FakePlan {
    /// Name of the machine and its disk.
    pub vm_name: String,
    /// Where the image goes.
    pub output_directory: PathBuf,
    /// What is fetched first.
    pub image: ImagePlan,
    /// What is typed.
    pub boot: BootPlan,
    /// How it ends.
    pub shutdown: ShutdownPlan,
    /// How the guest is reached.
    pub communicator: CommunicatorPlan,
    /// Size of the disk in bytes.
    pub disk_size: u64,
    /// The hypervisor keeps the machine in a registry of its own.
    pub registered: bool,
}
