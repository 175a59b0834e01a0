//! Machines in packages: the description, and the OVF, manifest, OVA and VMX that carry it.

pub(crate) mod archive;
mod content;
mod manifest;
mod ova_writer;
mod ovf;
pub(crate) mod ovf_reader;
mod ovf_writer;
pub(crate) mod rows;
mod tar;
mod tar_members;
mod tar_sparse;
mod vbox_machine;
mod vendor_words;
mod verify;
mod vmx;
mod vmx_writer;
mod xml;
mod xml_tag;
mod xml_tree;

pub use crate::machine::{
    DiskController, Firmware, GuestOs, MacAddress, MachineDescription, MachineDisk, MachineNic, NicModel, ProductInfo,
};
pub(crate) use archive::{chosen_disk, disks as archived_disks, package_facts};
pub use ovf_reader::{PackageFacts, PackagedDiskFacts, PackagedMachine};
pub(crate) use tar_members::is_tar;
pub use verify::{Verification, VerifiedFile, VerifyProblem, VerifyProblemKind, verify};
