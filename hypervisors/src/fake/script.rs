//! What a test says a fake machine does.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::error::Unsupported;
use crate::guest_network::{GuestNetwork, NetworkSight};
use crate::machine::ExitReport;
use crate::processor::{Occupant, ProcessorUse};
use crate::spec::MachineSpec;

/// An address that no real machine has (RFC 5737), so that another backend's is not taken for it.
const HOST_SEEN_BY_GUEST: &str = "192.0.2.1";

/// What [`Hypervisor::start`](crate::Hypervisor::start) does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FakeStart {
    /// Starts the machine.
    #[default]
    Works,
    /// Fails with [`StartError::EndedEarly`](crate::StartError::EndedEarly) and these last words.
    Fails(String),
    /// Registers the machine and never returns. The machine is given back a while after the call was given up.
    Hangs,
}

/// What the guest does by itself after [`Machine::resume`](crate::Machine::resume).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum FakeEnd {
    /// Shuts down when the power button is pressed.
    #[default]
    OnPowerButton,
    /// Ignores the power button and runs for ever.
    Never,
    /// Ends so after a while.
    After(Duration, ExitReport),
}

/// Something a test does when the guest starts to run, for example write its disk.
pub type OnResume = Arc<dyn Fn(&MachineSpec) + Send + Sync>;

/// Something a test looks at when its disks have been read, and says of the machine.
pub type Moved = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// What a fake machine does.
#[derive(Clone)]
pub struct FakeScript {
    /// Why machines are unavailable; `None`: they are available.
    pub unavailable: Option<String>,
    /// What [`Hypervisor::check`](crate::Hypervisor::check) complains about.
    pub unsupported: Vec<Unsupported>,
    /// [`Hypervisor::look_first`](crate::Hypervisor::look_first) refuses with these words.
    pub look_error: Option<String>,
    /// How the start goes, of whatever origin.
    pub start: FakeStart,
    /// Machines start paused.
    pub starts_paused: bool,
    /// [`Machine::resume`](crate::Machine::resume) fails with these words.
    pub resume_error: Option<String>,
    /// Called in [`Machine::still_retired`](crate::Machine::still_retired): how somebody has run the machine, if so.
    pub moved: Option<Moved>,
    /// How the guest ends.
    pub end: FakeEnd,
    /// Called in [`Machine::resume`](crate::Machine::resume).
    pub on_resume: Option<OnResume>,
    /// What the guest writes to its serial port as soon as it runs.
    pub serial: Vec<u8>,
    /// The guest sends what is typed to its serial port.
    pub echoes: bool,
    /// What the network looks like.
    pub network: GuestNetwork,
    /// What is seen of the guest's network, when it can be watched.
    pub sight: Option<watch::Receiver<NetworkSight>>,
    /// The forwarded port; `None`: the lowest of the spec's range.
    pub forwarded_port: Option<u16>,
    /// The host as the guest sees it; `None`: it does not.
    pub host_seen_by_guest: Option<String>,
    /// The address of a guest on a bridge, once the hypervisor knows it; `None`: it never does.
    pub bridge_address: Option<watch::Receiver<Option<IpAddr>>>,
    /// Size of the one-coloured picture on the screen; `None`: there is no screen.
    pub screen: Option<(u32, u32)>,
    /// Pressing keys fails with these words.
    pub keyboard_error: Option<String>,
    /// What machines need of the processor.
    pub processor_use: Option<ProcessorUse>,
    /// A machine of others that has the processor.
    pub unclaimed_machine: Option<Occupant>,
    /// Giving back a registered machine fails with these words.
    pub give_back_error: Option<String>,
    /// Every machine is registered, and no end of it takes it off the registry.
    pub stays: bool,
}

impl Default for FakeScript {
    fn default() -> Self {
        Self {
            unavailable: None,
            unsupported: Vec::new(),
            look_error: None,
            start: FakeStart::Works,
            starts_paused: true,
            resume_error: None,
            moved: None,
            end: FakeEnd::OnPowerButton,
            on_resume: None,
            serial: b"fake guest\n".to_vec(),
            echoes: false,
            network: GuestNetwork::default(),
            sight: None,
            forwarded_port: None,
            host_seen_by_guest: Some(HOST_SEEN_BY_GUEST.to_owned()),
            bridge_address: None,
            screen: Some((4, 3)),
            keyboard_error: None,
            processor_use: None,
            unclaimed_machine: None,
            give_back_error: None,
            stays: false,
        }
    }
}
