//! Machines on the hypervisors of this host: what a machine is made of, and what can be done with a running one.
//!
//! # How the parts fit
//!
//! ```text
//!  MachineSpec ─► Hypervisor::check ─► Err(all that this backend cannot do)
//!       │
//!       └───────► Hypervisor::start ─► Box<dyn Machine>   (paused, recorded in the ResourceLedger)
//!                                          │ resume()
//!                                          ├─ keyboard() screen() serial_tail() network()   optional abilities
//!                                          ├─ exited() ─► ExitReport                         any number of waiters
//!                                          └─ power_button() … kill()                        kill waits for the end
//! ```
//!
//! # Backends
//!
//! | name   | type                        | driven by                     |
//! |--------|-----------------------------|-------------------------------|
//! | `qemu` | [`qemu::QemuHypervisor`]    | QMP on inherited descriptors  |
//! | `fake` | [`fake::FakeHypervisor`]    | a script, for tests           |
//!
//! # Ownership
//!
//! Whoever holds the `Box<dyn Machine>` owns the processes, ports and files behind it. Dropping it kills the machine without
//! blocking; [`Machine::kill`] does the same and waits. Every resource is told to the [`ResourceLedger`] before or
//! at the moment it comes to be, so that a sweep after a crash of this process finds it. QEMU dies with the process that started it.
//!
//! # Errors
//!
//! One enum per operation ([`StartError`], [`MachineError`], [`KeyboardError`], [`ScreenError`]); where the user can do something about
//! it, `hint()` says what.

pub mod conformance;
mod error;
pub mod fake;
pub mod keyboard;
mod ledger;
mod machine;
mod process;
pub mod qemu;
mod registry;
mod screen;
mod spec;

pub use error::{KeyboardError, MachineError, ScreenError, StartError, Unsupported};
pub use futures_util::future::BoxFuture;
pub use keyboard::{Key, KeyEvent, KeyPacing, Keyboard, key_for_char};
pub use ledger::{NoLedger, Resource, ResourceLedger};
pub use machine::{
    AcceleratorAvailability, Availability, ChosenAccelerator, DhcpState, ExitReport, ForwardState, GuestNetwork,
    Hypervisor, Machine, MachineInfo, NetworkSight,
};
pub use registry::{Settings, by_name, names};
pub use screen::{Screen, Screenshot};
pub use spec::{
    Accelerator, BootOrder, CacheMode, CdromSpec, DetectZeroes, DiskFormat, DiskInterface, DiskSpec, Firmware, Gui,
    MachineSpec, NetworkMode, NetworkSpec, PortForward, SSH_HOST_PORT, Topology, TpmSpec, VncSpec,
};
