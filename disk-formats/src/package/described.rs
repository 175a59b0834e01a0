//! The text that describes a package: an OVF or a VMX, whichever it is.

use super::ovf_machine;
use super::ovf_reader::Descriptor;
use super::packaged::{PackageFacts, PackagedMachine};
use super::vmx::Vmx;
use super::xml_tree::{self, Element};
use crate::error::Result;

/// Largest text that is read in bytes.
pub(crate) const MAX_DESCRIPTOR: u64 = 16 << 20;

/// The kinds of describing texts, by the ending of their names.
pub(crate) const DESCRIPTORS: [&str; 2] = ["ovf", "vmx"];

/// A text that describes a package.
pub(crate) enum Described {
    Ovf(Element),
    Vmx(Vmx),
}

impl Described {
    /// Reads a text whose name ends so.
    pub(crate) fn read(ending: &str, bytes: &[u8]) -> Result<Self> {
        if ending.eq_ignore_ascii_case("vmx") {
            Vmx::from_bytes(bytes).map(Self::Vmx)
        } else {
            xml_tree::read_bytes(bytes).map(Self::Ovf)
        }
    }

    /// Returns the files and disks that it names.
    pub(crate) fn descriptor(&self) -> Result<Descriptor> {
        match self {
            Self::Ovf(envelope) => Descriptor::of(envelope),
            Self::Vmx(vmx) => Descriptor::of_vmx(vmx),
        }
    }

    /// Returns the machines.
    fn machines(&self, descriptor: &Descriptor) -> Result<Vec<PackagedMachine>> {
        match self {
            Self::Ovf(envelope) => ovf_machine::machines(envelope, descriptor),
            Self::Vmx(vmx) => Ok(vec![vmx.machine()?]),
        }
    }

    /// Returns all that it says.
    pub(crate) fn facts(&self) -> Result<PackageFacts> {
        let descriptor = self.descriptor()?;
        Ok(PackageFacts {
            machines: self.machines(&descriptor)?,
            disks: descriptor.disk_facts(),
            other_descriptors: Vec::new(),
            is_ovf: matches!(self, Self::Ovf(_)),
        })
    }
}
