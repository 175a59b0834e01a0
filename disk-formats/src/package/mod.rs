//! Machines in packages: the description, and the OVF, manifest, OVA and VMX that carry it.

pub(crate) mod archive;
pub(crate) mod content;
pub(crate) mod described;
mod file_names;
mod guest_names;
mod host_reach;
pub(crate) mod loose;
mod made_nvram;
mod manifest;
pub(crate) mod nvram;
mod ova_writer;
mod ovf;
mod ovf_machine;
pub(crate) mod ovf_reader;
mod ovf_vmware;
mod ovf_writer;
mod packaged;
mod places;
pub(crate) mod rows;
mod tar;
mod tar_members;
mod tar_sparse;
mod vbox_defaults;
mod vbox_machine;
mod vbox_reader;
mod vbox_settings;
mod vendor_words;
mod verify;
mod vmware_settings;
pub mod vmx;
mod xml;
mod xml_tag;
mod xml_tree;

pub use crate::machine::{
    DiskController, DiskSlot, Firmware, GuestOs, MacAddress, MachineDescription, MachineDisk, MachineNic, NicModel,
    Nvram, NvramMaker, ProductInfo, VendorGuestWords, VirtualBoxSettings,
};
pub(crate) use archive::{archived_descriptor, archived_file, chosen_disk, disks as archived_disks, other_descriptors};
pub use file_names::plain_name;
pub use host_reach::saying::HostReach;
#[cfg(any(test, feature = "fuzzing"))]
pub use nvram::every_journey_of;
pub use nvram::nvram_losses;
pub use packaged::{PackageFacts, PackagedDiskFacts, PackagedMachine};
pub(crate) use tar_members::is_tar;
pub use vbox_machine::virtualbox_doubts;
pub use vbox_settings::{VirtualBoxRemoteDisplay, virtualbox_machine, virtualbox_remote_display};
pub use verify::{Verification, VerifiedFile, VerifyProblem, VerifyProblemKind, verify, verify_presence};
