//! The QEMU backend: each machine is a process, driven over QMP on a socket it inherits.
//!
//! | module        | owns                                                                  |
//! |---------------|-----------------------------------------------------------------------|
//! | `arguments`, `overrides` | QEMU's command line, Packer's defaults and `qemuargs`      |
//! | `architecture` | what a guest's processor asks of a machine                           |
//! | `firmware`    | the UEFI firmwares of this host                                       |
//! | `probe`       | which accelerators really run guest code here                         |
//! | `look`        | whether QEMU has what a template calls by name                        |
//! | `hypervisor`  | the backend: which QEMU, which accelerator                            |
//! | `spec`        | what only QEMU has of a machine                                       |
//! | `preview`     | the command line of a machine that nobody has started                 |
//! | `start`       | from a spec to a paused machine with its ports bound                  |
//! | `boot_order`  | from what UEFI, ARM and RISC-V boot                                   |
//! | `discs`       | CDs that QEMU reads from a server                                     |
//! | `image_tool`  | `qemu-img`, where a template has arguments for it                     |
//! | `libvirt`     | the same through libvirt (feature `libvirt`)                          |
//! | `guest_process` | QEMU's process, whoever started it                                  |
//! | `machine`     | the running machine                                                   |
//! | `end`         | how it ended, and cleaning up                                         |
//! | `keyboard`, `screen`, `network`, `address`, `tpm` | one ability each                  |
//! | `qmp`         | the protocol                                                          |

mod address;
mod architecture;
mod arguments;
mod boot_order;
mod check;
mod discs;
mod end;
mod firmware;
mod firmware_file;
mod guest_process;
mod hypervisor;
mod image_tool;
mod keyboard;
#[cfg(feature = "libvirt")]
mod libvirt;
mod look;
mod machine;
mod machine_spec;
mod monitor_socket;
mod network;
mod overrides;
mod ports;
mod preview;
mod probe;
mod qmp;
mod screen;
pub(crate) mod spec;
mod start;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tpm;
mod unfinished;

pub use architecture::Architecture;
pub use firmware::{FirmwareWish, FlashImage, UefiFirmware, UefiFirmwares};
pub use hypervisor::QemuHypervisor;
pub use image_tool::{ImageTool, ImageToolError};
pub use preview::preview;
pub use spec::{Accelerator, CacheMode, DetectZeroes, QemuSpec, SSH_HOST_PORT};
