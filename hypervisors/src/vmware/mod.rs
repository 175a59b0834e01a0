//! The VMware backend: a machine is a VMX file that `vmrun` starts and stops; its screen and keyboard are a VNC server's.
//!
//! | module         | owns                                                                   |
//! |----------------|------------------------------------------------------------------------|
//! | `spec`         | what only VMware has of a machine                                      |
//! | `machine_spec` | a machine as this backend reads it                                     |
//! | `draft`, `slots`, `own_disks`, `machine_file`, `preview` | the VMX file of a machine that is to be started |
//! | `guest_os`     | VMware's names of guest systems                                        |
//! | `settle`, `inspect` | the VMX file of a machine that is done, and what it tells         |
//! | `vmrun`, `disk_manager`, `ovftool` | VMware's tools: command lines and answers          |
//! | `holder`       | the process that runs a machine                                        |
//! | `hypervisor`   | the backend                                                            |
//! | `keeper`       | the task that looks after one machine, and cleans up                   |
//! | `machine`      | the running machine                                                    |
//! | `networks`, `address` | virtual networks of the host, and where the guest is            |
//! | `ports`, `keyboard` | VNC                                                               |
//! | `serial`       | the guest's serial port                                                |

mod address;
mod check;
mod disk_manager;
mod draft;
mod guest_os;
mod holder;
mod hypervisor;
pub mod inspect;
mod keeper;
mod keyboard;
mod machine;
mod machine_file;
mod machine_spec;
mod networks;
mod ovftool;
mod own_disks;
mod ports;
mod preview;
mod serial;
mod settle;
mod slots;
mod snapshot;
pub(crate) mod spec;
#[cfg(test)]
mod tests;
mod vmrun;

pub use disk_manager::create_disk;
pub use draft::VmxProblem;
pub use guest_os::{is_known_guest, known_guests};
pub use hypervisor::VmwareHypervisor;
pub use ovftool::{OVFTOOL_HINT, export_with_ovftool, find_ovftool};
pub use preview::preview;
pub use settle::{Settling, settle};
pub use snapshot::take_snapshot;
pub use spec::{Bus, ParallelPort, SerialPort, UsbVersion, VmwareFirmware, VmwareSpec};
