//! Machines in packages: the description, and the OVF, manifest, OVA and VMX that carry it.

mod archive;
mod content;
mod machine;
mod manifest;
mod ova_writer;
mod ovf;
mod ovf_reader;
mod ovf_writer;
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

pub(crate) use archive::{ArchivedDisk, chosen_disk, disks as archived_disks, package_facts};
pub use machine::{
    DiskController, Firmware, GuestOs, MacAddress, MachineDescription, MachineDisk, MachineNic, NicModel, ProductInfo,
};
pub(crate) use ova_writer::OvaWriter;
pub use ovf_reader::{PackageFacts, PackagedDiskFacts, PackagedMachine};
pub(crate) use ovf_writer::{OvfWriter, ovf_file_names};
pub(crate) use tar_members::is_tar;
pub use verify::{Verification, VerifiedFile, VerifyProblem, VerifyProblemKind, verify};
pub(crate) use vmx_writer::{VmxWriter, vmx_file_names};
