//! Machines in packages: the description, and the OVF, manifest and OVA that carry it.

mod machine;

pub use machine::{
    DiskController, Firmware, GuestOs, MachineDescription, MachineDisk, MachineNic, NicModel, ProductInfo,
};
