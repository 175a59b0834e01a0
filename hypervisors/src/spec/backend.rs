//! The part of a machine that only one hypervisor understands: one variant for each.

use crate::fake::spec::FakeSpec;
use crate::qemu::spec::QemuSpec;
use crate::virtualbox::spec::VirtualBoxSpec;
use crate::vmware::spec::VmwareSpec;

/// The part of a machine that only one hypervisor understands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BackendSpec {
    /// For QEMU.
    Qemu(Box<QemuSpec>),
    /// For VirtualBox.
    VirtualBox(Box<VirtualBoxSpec>),
    /// For VMware.
    Vmware(Box<VmwareSpec>),
    /// For the fake hypervisor of tests.
    Fake(FakeSpec),
}

impl BackendSpec {
    /// Name of the hypervisor it is for; see [`Hypervisor::name`](crate::Hypervisor::name).
    pub const fn hypervisor(&self) -> &'static str {
        match self {
            Self::Qemu(_) => "qemu",
            Self::VirtualBox(_) => "virtualbox",
            Self::Vmware(_) => "vmware",
            Self::Fake(_) => "fake",
        }
    }
}

impl From<QemuSpec> for BackendSpec {
    fn from(spec: QemuSpec) -> Self {
        Self::Qemu(Box::new(spec))
    }
}

impl From<VirtualBoxSpec> for BackendSpec {
    fn from(spec: VirtualBoxSpec) -> Self {
        Self::VirtualBox(Box::new(spec))
    }
}

impl From<VmwareSpec> for BackendSpec {
    fn from(spec: VmwareSpec) -> Self {
        Self::Vmware(Box::new(spec))
    }
}

impl From<FakeSpec> for BackendSpec {
    fn from(spec: FakeSpec) -> Self {
        Self::Fake(spec)
    }
}
