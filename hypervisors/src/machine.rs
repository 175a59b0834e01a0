//! The traits every backend implements, and what a running machine reports.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::{Keyboard, MachineError, MachineSpec, ResourceLedger, Screen, StartError, Unsupported};

/// Starts machines on one kind of hypervisor.
///
/// Call order: [`probe`](Self::probe) whenever wanted, [`check`](Self::check), then [`start`](Self::start). `start` does not repeat `check`
/// in full: a caller that skips it gets the hypervisor's own complaint.
pub trait Hypervisor: Send + Sync {
    /// Names the backend as the API and templates do: `qemu`.
    fn name(&self) -> &'static str;

    /// Finds out whether guests can run here, and with which accelerators. Takes up to a few seconds the first time after a boot
    /// of the host, then answers from its cache. Never fails: what is missing is in the answer. Safe to drop.
    fn probe(&self) -> BoxFuture<'_, Availability>;

    /// Says everything in `spec` that this backend cannot do, all at once. Starts nothing and waits for nothing.
    ///
    /// # Errors
    ///
    /// At least one complaint, each naming the setting.
    fn check(&self, spec: &MachineSpec) -> Result<(), Vec<Unsupported>>;

    /// Starts a machine, paused: no guest instruction has run when this returns; [`Machine::resume`] lets it go.
    ///
    /// `ledger` is told of every process and file; it is held until the machine's resources are given back. Dropping the
    /// future at any point leaves nothing running.
    ///
    /// # Errors
    ///
    /// See [`StartError`]; nothing is left behind.
    fn start<'a>(
        &'a self,
        spec: &'a MachineSpec,
        ledger: Arc<dyn ResourceLedger>,
    ) -> BoxFuture<'a, Result<Box<dyn Machine>, StartError>>;
}

/// A machine that was started. Dropping it kills it without waiting; prefer [`kill`](Self::kill).
pub trait Machine: Send + Sync {
    /// Tells what was started and how.
    fn description(&self) -> &MachineInfo;

    /// Lets the guest run. A second call does nothing.
    fn resume(&self) -> BoxFuture<'_, Result<(), MachineError>>;

    /// Waits until the guest will not go on by itself. May be called any number of times, also after the end, and gives the same
    /// answer; safe to drop. A machine that is stopped for good but still there ([`ExitReport::InternalError`],
    /// [`ExitReport::DiskError`], [`ExitReport::GuestPanicked`]) still needs [`kill`](Self::kill).
    fn exited(&self) -> BoxFuture<'_, ExitReport>;

    /// Presses the power button; what comes of it is up to the guest. Wait for [`exited`](Self::exited).
    fn power_button(&self) -> BoxFuture<'_, Result<(), MachineError>>;

    /// Ends the machine at once and waits until its processes are gone and its files removed. Any number of times, at any time.
    /// If the future is dropped, the end still comes, unobserved.
    fn kill(&self) -> BoxFuture<'_, ()>;

    /// The guest's keyboard.
    fn keyboard(&self) -> Option<&dyn Keyboard>;

    /// The guest's screen.
    fn screen(&self) -> Option<&dyn Screen>;

    /// The last bytes the guest wrote to its first serial port, at most `max_bytes`, oldest first. Remains readable after the end.
    fn serial_tail(&self, max_bytes: usize) -> Vec<u8>;

    /// What is known about the guest's network right now. Tells "no address" from "port closed"; never fails, a machine that is
    /// gone answers [`GuestNetwork::default`]. Takes milliseconds.
    fn network(&self) -> BoxFuture<'_, GuestNetwork>;

    /// What is seen of the guest's network from now on, as it changes; `None` where packets cannot be watched. The receiver may outlive
    /// the machine, of which it then hears no more.
    fn watch_network(&self) -> Option<watch::Receiver<NetworkSight>> {
        None
    }

    /// The port on 127.0.0.1 that leads to the guest's [`PortForward::guest_port`](crate::PortForward::guest_port).
    fn forwarded_port(&self) -> Option<u16>;
}

/// Tells whether a hypervisor can be used here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Availability {
    /// Version as the hypervisor tells it, `7.2.22`; `None` when it cannot be used.
    pub version: Option<String>,
    /// Accelerators in the order in which they are preferred.
    pub accelerators: Vec<AcceleratorAvailability>,
    /// Why it cannot be used; `None` when it can.
    pub reason: Option<String>,
    /// What to do about `reason`.
    pub hint: Option<String>,
}

impl Availability {
    /// Tells whether machines can be started.
    pub fn is_available(&self) -> bool {
        self.reason.is_none()
    }
}

/// Tells whether one accelerator runs guests here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcceleratorAvailability {
    /// As in templates: `kvm`, `tcg`.
    pub name: String,
    /// Guest code really ran on it.
    pub usable: bool,
    /// How that was found out, or why not.
    pub reason: String,
}

/// Describes a started machine.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MachineInfo {
    /// The hypervisor's process, when it has one of its own.
    pub pid: Option<u32>,
    /// What runs the guest's code.
    pub accelerator: ChosenAccelerator,
    /// The program and its arguments, as started.
    pub command_line: Vec<String>,
    /// Where a VNC viewer may connect.
    pub vnc: Option<SocketAddr>,
    /// A second monitor that other programs may attach to.
    pub monitor: Option<PathBuf>,
    /// Anything odd that the user should know, one sentence each.
    pub warnings: Vec<String>,
}

/// Says what runs the guest's code, and why that was chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChosenAccelerator {
    /// `kvm`, `tcg`, …; `none` when the hypervisor decides.
    pub name: String,
    /// One clause for people: `asked for by the template`, `guest code hangs on kvm: …`.
    pub reason: String,
}

/// Says how a machine came to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExitReport {
    /// The guest switched itself off.
    GuestShutdown,
    /// The guest restarted and the machine was told to end then (`-no-reboot`).
    GuestReset,
    /// [`Machine::kill`] or a drop ended it, or somebody asked the hypervisor to quit.
    Killed,
    /// The hypervisor's process ended by itself.
    Crashed {
        /// `exit status 1`, `signal 9 (SIGKILL)`.
        status: String,
        /// The end of what it wrote to standard error.
        stderr_tail: String,
    },
    /// The hypervisor met something it cannot run and stopped the guest for good.
    InternalError {
        /// What was running the guest's code.
        accelerator: String,
    },
    /// The guest was stopped because its disk could not be written.
    DiskError {
        /// The host's file system is full.
        no_space: bool,
        /// The hypervisor's words.
        message: String,
    },
    /// The guest's kernel reported a panic.
    GuestPanicked,
}

impl ExitReport {
    /// Tells whether the guest ended as a guest should.
    pub fn is_clean(&self) -> bool {
        matches!(self, Self::GuestShutdown)
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::InternalError { accelerator } if accelerator != "tcg" => {
                Some("set accelerator = \"tcg\" in the source block: it is slower, but runs everything")
            }
            Self::DiskError { no_space: true, .. } => {
                Some("free some space where the output directory is, then build again")
            }
            Self::GuestReset => Some("remove -no-reboot from qemuargs if the guest is meant to restart"),
            _ => None,
        }
    }
}

impl std::fmt::Display for ExitReport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::GuestShutdown => f.write_str("the guest shut down"),
            Self::GuestReset => f.write_str("the guest restarted"),
            Self::Killed => f.write_str("the machine was killed"),
            Self::Crashed { status, stderr_tail } if stderr_tail.is_empty() => {
                write!(f, "the hypervisor ended with {status}")
            }
            Self::Crashed { status, stderr_tail } => write!(f, "the hypervisor ended with {status}: {stderr_tail}"),
            Self::InternalError { accelerator } => {
                write!(f, "the hypervisor stopped the guest: {accelerator} cannot run its code (internal error)")
            }
            Self::DiskError { message, .. } => {
                write!(f, "the guest was stopped, its disk cannot be written: {message}")
            }
            Self::GuestPanicked => f.write_str("the guest's kernel panicked"),
        }
    }
}

/// What the host can see of the guest's network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestNetwork {
    /// The guest was seen to use an address since it last started. `false` proves nothing where packets cannot be watched (see `dhcp`).
    pub guest_seen: bool,
    /// How far the guest came with getting an address by DHCP since it last started; `None`: cannot be watched. A boot ROM that tries the
    /// network counts as the guest.
    pub dhcp: Option<DhcpState>,
    /// State of the connections through the forwarded port.
    pub forward_state: ForwardState,
    /// Addresses of the guest as the host knows them; with user networking those are only reachable from inside.
    pub addresses: Vec<IpAddr>,
    /// Hardware address of the guest's adapter, when known.
    pub mac_address: Option<String>,
}

/// What the guest's packets told since it last started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NetworkSight {
    /// Packets are being watched, or were until they told the address. `false`: nothing more will be learned of this start of the guest.
    pub watching: bool,
    /// How often the guest has restarted since the machine was started.
    pub restarts: u32,
    /// The guest has sent a packet of any kind: its network adapter has a driver. A boot ROM counts as the guest.
    pub spoke: bool,
    /// How far it came with DHCP.
    pub dhcp: DhcpState,
    /// The address it was given, or was seen to use.
    pub address: Option<IpAddr>,
}

impl NetworkSight {
    /// The sight of a machine that is watched and has not run yet.
    pub fn watched() -> Self {
        Self { watching: true, ..Self::default() }
    }

    /// The sight right after the guest has restarted: nothing is known of it any more.
    #[must_use]
    pub fn after_restart(&self, watching: bool) -> Self {
        Self { watching, restarts: self.restarts.saturating_add(1), ..Self::default() }
    }
}

/// How far a guest came with getting an address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DhcpState {
    /// It did not ask: it has not come that far, does not know its adapter, or has a fixed address.
    #[default]
    Silent,
    /// It asked and got no answer yet.
    Asked,
    /// It was given an address.
    Answered,
}

/// State of the newest connection that the host tries through the forwarded port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ForwardState {
    /// Nobody is connecting, there is no forwarding, or the last attempt was refused at once: the guest has an address, the port is closed.
    #[default]
    Idle,
    /// The guest does not answer at all: it has no address yet, or drops the packets.
    NoAnswer,
    /// Connected to the guest's port.
    Established,
    /// Was connected; one side is closing.
    Closing,
}
