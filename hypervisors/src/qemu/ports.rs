//! The ports of a machine: promised before QEMU is told of them, and passed over where it cannot bind them.

use super::arguments::{CommandLine, NETDEV_ID};
use super::machine_spec::QemuMachineSpec;
use super::network::LOOPBACK;
use super::qmp::QmpClient;
use crate::error::{MachineError, StartError};
use crate::port_lease::{PortLease, PortRange};
use crate::spec::{NetworkMode, PortForward};

/// QEMU's words when a port to forward is taken.
const FORWARDING_FAILED: &str = "Could not set up host forwarding rule";

/// The ports that one QEMU listens on, for as long as this lives.
#[derive(Debug)]
pub(super) struct Ports {
    /// The one that leads to the guest.
    forward: Option<Candidate>,
    display: Option<Candidate>,
}

/// A port that QEMU is told of, and those that are left should it not have it.
#[derive(Debug)]
struct Candidate {
    range: PortRange,
    lease: PortLease,
}

impl Ports {
    /// Takes those that have to be in the command line: the screen's, and where the template names it, the guest's.
    pub(super) fn take(spec: QemuMachineSpec<'_>, line: &CommandLine) -> Result<Self, StartError> {
        let mut ports = Self { forward: None, display: None };
        if let (Some(forward), true) = (forward_of(spec), line.mentions_forwarded_port()) {
            let mut range = forwarding(forward);
            ports.forward = Some(Candidate { lease: range.next_promised()?, range });
        }
        if let (Some(vnc), true) = (&spec.hardware.vnc, line.has_own_vnc) {
            let mut range = PortRange::new("VNC", &vnc.bind, (vnc.port_min, vnc.port_max));
            ports.display = Some(Candidate { lease: range.next_free()?, range });
        }
        Ok(ports)
    }

    /// The port that leads to the guest.
    pub(super) fn forwarded(&self) -> Option<u16> {
        self.forward.as_ref().map(|it| it.lease.number())
    }

    /// The port of the screen.
    pub(super) fn display(&self) -> Option<u16> {
        self.display.as_ref().map(|it| it.lease.number())
    }

    /// Lets QEMU bind them.
    pub(super) fn hand_over(&mut self) {
        self.display.iter_mut().for_each(|it| it.lease.hand_over());
    }

    /// Takes the next port in place of the one that QEMU ended for; false: that was none of these.
    pub(super) fn pass_over(&mut self, complaint: &str) -> Result<bool, StartError> {
        let of_forward = complaint.contains(FORWARDING_FAILED);
        let Some(taken) = (if of_forward { &mut self.forward } else { &mut self.display }) else { return Ok(false) };
        // The template's rules may have fixed ports beside ours, which no other port of ours makes free. The rule stands behind the words.
        let rule = complaint.split_once(FORWARDING_FAILED).map(|(_, rule)| rule);
        if rule.is_some_and(|rule| !rule.contains(&format!(":{}-", taken.lease.number()))) {
            return Ok(false);
        }
        taken.range.refused(complaint.trim().to_owned());
        taken.lease = if of_forward { taken.range.next_promised()? } else { taken.range.next_free()? };
        Ok(true)
    }

    /// Has a port forwarded to the guest by a QEMU that runs, which binds one after the other until one is free.
    pub(super) async fn forward(&mut self, qmp: &QmpClient, forward: PortForward) -> Result<(), StartError> {
        let mut range = forwarding(forward);
        loop {
            let lease = range.next_promised()?;
            let rule = format!("hostfwd_add {NETDEV_ID} tcp:{LOOPBACK}:{}-:{}", lease.number(), forward.guest_port);
            let answer = qmp.human(&rule).await.map_err(StartError::Setup)?;
            let answer = answer.trim();
            if answer.is_empty() {
                self.forward = Some(Candidate { range, lease });
                return Ok(());
            }
            if !answer.contains(FORWARDING_FAILED) {
                return Err(StartError::Setup(MachineError::Refused { command: rule, message: answer.to_owned() }));
            }
            range.refused(answer.to_owned());
        }
    }
}

/// Whether QEMU ended because a port is taken.
pub(super) fn is_taken(stderr: &str) -> bool {
    let of_display = |line: &str| line.contains(": -vnc ") && line.contains("Address already in use");
    stderr.contains(FORWARDING_FAILED) || stderr.lines().any(of_display)
}

/// What the machine wants forwarded to its guest.
pub(super) fn forward_of(spec: QemuMachineSpec<'_>) -> Option<PortForward> {
    match spec.hardware.network.mode {
        NetworkMode::User { forward } => forward,
        NetworkMode::Bridge { .. } => None,
    }
}

fn forwarding(forward: PortForward) -> PortRange {
    PortRange::new("the guest", LOOPBACK, (forward.host_min, forward.host_max))
}
