//! The traits every backend implements, and what a running machine reports.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::watch;

use crate::error::{MachineError, StartError, Unsupported};
use crate::guest_network::{Endpoint, GuestNetwork, HostSeenByGuest, NetworkSight};
use crate::keyboard::Keyboard;
use crate::ledger::ResourceLedger;
use crate::processor::{Occupant, ProcessorUse};
use crate::screen::Screen;
use crate::spec::{MachineSpec, NetworkMode};

/// Starts machines on one kind of hypervisor.
///
/// Call order: [`probe`](Self::probe) whenever wanted, [`check`](Self::check), then [`start`](Self::start). `start` does not repeat `check`
/// in full: a caller that skips it gets the hypervisor's own complaint. Both refuse what belongs to another hypervisor
/// ([`MachineSpec::foreign_to`]) and an origin that this one does not have.
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

    /// Asks the hypervisor for what [`check`](Self::check) cannot know: whether the names in `spec` are there, or are free. What the machine
    /// is made of need not be there yet. Takes up to a second and makes nothing; safe to drop.
    ///
    /// # Errors
    ///
    /// [`start`](Self::start) would be refused.
    fn look_first<'a>(&'a self, _spec: &'a MachineSpec) -> BoxFuture<'a, Result<(), StartError>> {
        async { Ok(()) }.boxed()
    }

    /// Tells whether a machine can be started without running yet, so that nothing of the guest is missed.
    fn starts_paused(&self) -> bool;

    /// The host as guests on `network` see it; `None`: it has no address there. Known before any machine is started, because boot
    /// commands and arguments are made with it.
    fn host_seen_by_guest(&self, network: &NetworkMode) -> Option<HostSeenByGuest>;

    /// What the machine will need of the processor, where that is a driver beside which those of other hypervisors do not run; `None`: it gets
    /// along with all. It is to be [claimed](crate::ProcessorClaim) for before the machine is started, and until it is gone.
    fn processor_use<'a>(&'a self, _spec: &'a MachineSpec) -> BoxFuture<'a, Option<ProcessorUse>> {
        async { None }.boxed()
    }

    /// A machine that has the processor and is none of a build that claims for it: others run it, or a build that died has left it.
    fn unclaimed_machine(&self) -> Option<Occupant> {
        None
    }

    /// Starts a machine. Where machines [start paused](Self::starts_paused), no guest instruction has run when this returns, and
    /// [`Machine::resume`] lets it go; elsewhere it runs already.
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

    /// Gives back the machine that is [registered](crate::Resource::Registered) as `id`: ends it where it runs, and removes it with the files
    /// that the hypervisor made for it. For machines of dead processes; those of this one are given back by [`Machine::kill`].
    ///
    /// # Errors
    ///
    /// It is still there.
    fn give_back<'a>(&'a self, id: &'a str) -> BoxFuture<'a, Result<GivenBack, MachineError>>;

    /// What people call the machine that is [registered](crate::Resource::Registered) as `id`, for a line about it: its name, where it is there
    /// and has one. Takes up to some seconds.
    fn shown<'a>(&'a self, id: &'a str) -> BoxFuture<'a, String> {
        async move { id.to_owned() }.boxed()
    }

    /// The CD with this hypervisor's own programs and drivers for guests, which its installation has for guests of `flavour` (`linux`;
    /// ignored where there is one for all). `None`: there is none here.
    fn guest_tools<'a>(&'a self, _flavour: &'a str) -> BoxFuture<'a, Option<PathBuf>> {
        async { None }.boxed()
    }
}

/// What came of giving a registered machine back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GivenBack {
    /// It was there and is gone.
    Removed,
    /// It was not there: somebody else has removed it, or it never came to be.
    WasGone,
    /// It is a machine of others, and stays: what the build had put into it is out.
    HandedBack,
    /// It is a machine of others, and stays as the build left it: nobody knows what was done with it since.
    LeftOn {
        /// The snapshot on which it stood before the build.
        snapshot: String,
    },
}

/// A machine that was started. Dropping it kills it without waiting; prefer [`kill`](Self::kill).
pub trait Machine: Send + Sync {
    /// Tells what was started and how.
    fn description(&self) -> &MachineInfo;

    /// Lets the guest run. A second call does nothing, and neither does the first where machines do not start paused.
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

    /// Ends the guest at once and waits until it is off. Where a machine is more than its process, it is still there, off, until
    /// [`kill`](Self::kill); elsewhere it is the same.
    fn power_off(&self) -> BoxFuture<'_, ()> {
        self.kill()
    }

    /// Does what the machine's description wants done once the guest is off, and before the machine goes: devices are taken
    /// out, commands are run, it is exported. Nothing, where there is nothing of the kind. May be called again after a failure.
    ///
    /// # Errors
    ///
    /// The hypervisor does not do it; the machine is as far as it came.
    fn retire(&self) -> BoxFuture<'_, Result<(), MachineError>> {
        async { Ok(()) }.boxed()
    }

    /// Sees that nobody has run the machine since [`retire`](Self::retire): its disks are read meanwhile, without the hypervisor's
    /// knowledge. Where nobody else can run it there is nothing to see.
    ///
    /// # Errors
    ///
    /// Somebody has, or nobody can tell.
    fn still_retired(&self) -> BoxFuture<'_, Result<(), MachineError>> {
        async { Ok(()) }.boxed()
    }

    /// Lets go of a machine that is off and is to stay: where it is registered it stays so, its resources are nobody's any more,
    /// and a later [`kill`](Self::kill) or drop does nothing. Where nothing can stay it is the same as [`kill`](Self::kill).
    fn keep(&self) -> BoxFuture<'_, ()> {
        self.kill()
    }

    /// Lets go of a machine that is off and whose build was given up, with all that its guest has written, for its owner to go on with. `None`,
    /// and nothing is done: its disks lie in files of whoever has started it, and [`kill`](Self::kill) loses nothing.
    fn leave(&self) -> BoxFuture<'_, Option<LeftMachine>> {
        async { None }.boxed()
    }

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

    /// Where `guest_port` of the guest is reached from the host. Waits until the guest's address is known, for ever if it has none: the
    /// caller sets the limit. `None`: the machine is gone.
    fn endpoint(&self, guest_port: u16) -> BoxFuture<'_, Option<Endpoint>>;
}

/// A machine that stays with its hypervisor though its build was given up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeftMachine {
    /// Names it for people: `the machine web in VirtualBox (1-2-3)`.
    pub what: String,
    /// Its disks, with what the guest has written.
    pub disks: Vec<PathBuf>,
    /// How to go on with it, and what would lose it; a sentence each.
    pub hints: Vec<String>,
    /// Why it is still on the ledger, where it could not be let go of: it may run, and use files of its build. A sweep tries again.
    pub held: Option<String>,
}

/// Tells whether a hypervisor can be used here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Availability {
    /// Version as the hypervisor tells it, `7.2.22`; `None` when it does not.
    pub version: Option<String>,
    /// Accelerators in the order in which they are preferred.
    pub accelerators: Vec<AcceleratorAvailability>,
    /// Why it cannot be used; `None` when it can.
    pub reason: Option<String>,
    /// What cannot be done here though it can be used, as when machines can be made and not started.
    pub limit: Option<String>,
    /// What to do about `reason` or `limit`.
    pub hint: Option<String>,
}

impl Availability {
    /// Tells whether it can be used.
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
    /// What names the machine to the tools of its hypervisor, where that is not its process.
    pub name: Option<String>,
    /// The hypervisor's process, when it has one of its own.
    pub pid: Option<u32>,
    /// What runs the guest's code.
    pub accelerator: ChosenAccelerator,
    /// The program and its arguments, as started.
    pub command_line: Vec<String>,
    /// Where a VNC viewer may connect.
    pub vnc: Option<SocketAddr>,
    /// Where a SPICE viewer may connect.
    pub spice: Option<SocketAddr>,
    /// Where a viewer of remote desktops (RDP) may connect.
    pub remote_desktop: Option<SocketAddr>,
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
    /// It ended, and the hypervisor does not tell whether by the guest's will or because its process was killed.
    Ended {
        /// The end of the hypervisor's log, on one line; empty: there is none.
        log: String,
    },
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
    /// A process without which the machine cannot go on ended by itself, and the machine was ended.
    HelperEnded {
        /// The process's program: `swtpm`.
        program: &'static str,
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
    /// Tells whether the guest ended as a guest should, as far as that is known.
    pub fn is_clean(&self) -> bool {
        matches!(self, Self::GuestShutdown | Self::Ended { .. })
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
            Self::Ended { log } => {
                f.write_str("the machine ended unexpectedly: the guest shut down, or its process was killed")?;
                if log.is_empty() { Ok(()) } else { write!(f, "; its log ends: {log}") }
            }
            Self::GuestReset => f.write_str("the guest restarted"),
            Self::Killed => f.write_str("the machine was killed"),
            Self::Crashed { status, stderr_tail } if stderr_tail.is_empty() => {
                write!(f, "the hypervisor ended with {status}")
            }
            Self::Crashed { status, stderr_tail } => write!(f, "the hypervisor ended with {status}: {stderr_tail}"),
            Self::HelperEnded { program, status, stderr_tail } => {
                write!(f, "{program}, which the machine needs, ended with {status}")?;
                if stderr_tail.is_empty() { Ok(()) } else { write!(f, ": {stderr_tail}") }
            }
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
