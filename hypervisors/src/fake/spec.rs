//! What only the fake hypervisor has of a machine.

/// The fake hypervisor's part of a machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FakeSpec {
    /// The machine is registered with the hypervisor under its name for as long as it is there, as VirtualBox does it: it survives the
    /// death of this process and has to be given back.
    pub registered: bool,
}
