//! The plan: a plain value that says everything a job will do, before anything is done. It knows nothing of those who read
//! it from options or act on it.

mod build;
mod communicator;
mod component;
mod digest;
#[cfg(test)]
mod fake;
mod file;
mod guest;
mod null;
mod qemu;
mod secret;
mod source;
mod virtualbox;
mod vmware;

pub(crate) use build::BuildPlan;
pub(crate) use communicator::{
    BastionPlan, CommunicatorPlan, GuestAgentPlan, ProxyPlan, SshPlan, TemporaryKeyPlan, WinRmPlan,
};
pub(crate) use component::{OptionsPlan, PostProcessorPlan, ProvisionerPlan};
#[cfg(test)]
pub(crate) use fake::FakePlan;
pub(crate) use file::{FileContent, FilePlan};
pub(crate) use guest::{BootPlan, HttpPlan, ImagePlan, MediaPlan, OutputPlan, ShutdownPlan, ShutdownWay, WrittenImage};
pub(crate) use null::NullPlan;
pub(crate) use qemu::{EfiPlan, FirmwarePlan, ImageArguments, QemuMachinePlan, QemuPlan, VncPlan};
pub(crate) use source::SourcePlan;
pub(crate) use virtualbox::{AdditionsMode, AdditionsPlan, NewMachinePlan, VirtualBoxOrigin, VirtualBoxPlan, VrdpPlan};
pub(crate) use vmware::{VmwareMachinePlan, VmwareOrigin, VmwarePlan, VmwareToolsPlan, VmwareVncPlan};
