//! Machines in packages: the description, and the OVF, manifest, OVA and VMX that carry it.

pub(crate) mod archive;
mod content;
mod manifest;
pub(crate) mod ova_writer;
mod ovf;
pub(crate) mod ovf_reader;
pub(crate) mod ovf_writer;
mod tar;
mod tar_members;
mod tar_sparse;
mod vbox_machine;
mod vendor_words;
mod verify;
mod vmx;
pub(crate) mod vmx_writer;
mod xml;
mod xml_tag;
mod xml_tree;

pub use crate::machine::{
    DiskController, Firmware, GuestOs, MacAddress, MachineDescription, MachineDisk, MachineNic, NicModel, ProductInfo,
};
pub(crate) use archive::{chosen_disk, disks as archived_disks, package_facts};
pub use ovf_reader::{PackageFacts, PackagedDiskFacts, PackagedMachine};
pub(crate) use ovf_writer::ovf_file_names;
pub(crate) use tar_members::is_tar;
pub use verify::{Verification, VerifiedFile, VerifyProblem, VerifyProblemKind, verify};
pub(crate) use vmx_writer::vmx_file_names;
