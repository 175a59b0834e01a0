//! VirtualBox, by its tool `VBoxManage`.
//!
//! ```text
//! VirtualBoxSpec ─► check ─► start ─► settings, storage (command lines) ─► program (one call at a time, with limits)
//!                              │ └► import, borrow ─► places, changes (what is in the way, and how it comes back)
//!                              │                                              │
//!                           holdings: ledger, directory, ports ─► give_back   └► problem (what its words mean) ─► explain
//!                              │
//!                           display (who serves it)     driver (installation): whether a guest can be started at all
//!                              │
//!                           machine ─► keyboard, screen, serial, end (vm_process, guru), retire ─► note (media), leave
//! ```
//!
//! A machine has a UUID of ours, and is in the ledger before it is registered; everything is done by that UUID, so that a machine of
//! others is never touched. An import chooses its UUID itself: until that is known, it is what is in a directory of ours.

mod ask;
mod borrow;
mod call;
mod changes;
mod check;
mod claim;
mod default_folder;
mod display;
mod driver;
mod end;
mod explain;
mod facts;
mod give_back;
mod guru;
mod holdings;
mod hypervisor;
mod identity;
mod import;
mod installation;
mod keyboard;
mod known;
mod leave;
mod look;
mod machine;
pub mod media;
mod networks;
mod note;
mod places;
mod preview;
mod problem;
mod program;
mod registered;
mod retire;
mod screen;
mod serial;
mod settings;
pub mod spec;
mod start;
mod storage;
#[cfg(test)]
mod tests;
mod vm_process;

pub use hypervisor::VirtualBoxHypervisor;
pub use preview::preview;
pub use spec::VirtualBoxSpec;

/// Where its installers put its program; `VBoxSVC`, which the first call of it starts, serves all programs of a user.
pub(crate) const INSTALLED: &[&str] =
    &["/usr/bin/VBoxManage", "/usr/local/bin/VBoxManage", "/opt/VirtualBox/VBoxManage"];

/// The backend's name.
const NAME: &str = "virtualbox";
