//! Machines on the hypervisors of this host: what a machine is made of, and what can be done with a running one.
//!
//! # How the parts fit
//!
//! ```text
//!  MachineSpec ─► Hypervisor::check ─► Err(all that this backend cannot do)
//!       │
//!       └───────► Hypervisor::start ─► Box<dyn Machine>   (recorded in the ResourceLedger; paused, where that is possible)
//!                                          │ resume()
//!                                          ├─ keyboard() screen() serial_tail() network()   optional abilities
//!                                          ├─ endpoint()                                   where the guest is reached
//!                                          ├─ exited() ─► ExitReport                         any number of waiters
//!                                          └─ power_button() … kill()                        kill waits for the end
//! ```
//!
//! A [`MachineSpec`] is hardware that means the same everywhere, an [`Origin`] (new, from something that exists, from saved state), and one
//! [`BackendSpec`] for what only one hypervisor understands.
//!
//! # Backends
//!
//! | name   | type                        | driven by                     |
//! |--------|-----------------------------|-------------------------------|
//! | `qemu` | [`qemu::QemuHypervisor`]    | QMP on inherited descriptors  |
//! | `virtualbox` | [`virtualbox::VirtualBoxHypervisor`] | `VBoxManage`     |
//! | `vmware` | [`vmware::VmwareHypervisor`] | `vmrun`, the VMX file and VNC |
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
mod guest_network;
pub mod kept_mark;
pub mod keyboard;
mod ledger;
mod listening_socket;
mod machine;
mod port_lease;
mod private_dir;
mod process;
pub mod process_stat;
mod processor;
pub mod qemu;
pub mod registry;
mod rfb;
mod screen;
mod spec;
pub mod virtualbox;
pub mod vmware;
mod words;

pub use error::{KeyboardError, MachineError, ScreenError, StartError, Unsupported};
pub use futures_util::future::BoxFuture;
pub use guest_network::{DhcpState, Endpoint, ForwardState, GuestNetwork, HostSeenByGuest, NetworkSight};
pub use keyboard::{Key, KeyEvent, KeyPacing, Keyboard, key_for_char};
pub use ledger::{NoLedger, Resource, ResourceLedger};
pub use listening_socket::remove_dead_socket;
pub use machine::{
    AcceleratorAvailability, Availability, ChosenAccelerator, ExitReport, GivenBack, Hypervisor, LeftMachine, Machine,
    MachineInfo,
};
pub use processor::{Occupant, ProcessorClaim, ProcessorUse};
pub use registry::Hypervisors;
pub use screen::{Screen, Screenshot};
pub use spec::{
    BackendSpec, BootOrder, CdromSpec, DiskFormat, DiskInterface, DiskSpec, Firmware, MachineSpec, NetworkMode,
    NetworkSpec, Origin, PortForward, SavedState, Topology, TpmVersion, VncSpec,
};
