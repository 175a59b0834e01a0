//! Why a guest could not be reached, for the first time or again: the error itself, and what else is known of the guest.

use std::time::Duration;

use kiln_communicators::{
    Communicator, CommunicatorKind, ConnectConfig, ConnectError, ConnectStage, DiscardedOutput, Exit,
};
use kiln_hypervisors::{DhcpState, ExitReport, ForwardState, GuestNetwork, Machine};

use super::evidence;
use super::sightings::Sightings;
use crate::context::BuildContext;
use crate::error::{Loss, StepError};

/// How long the end of a machine may take to be known after its connection: VMware is asked every two seconds at the most.
const END_NOTICE: Duration = Duration::from_secs(5);

/// Whether the guest does anything at all; one that is booting is waited for as long as `communicator` does. Every shell that there is knows the
/// command.
pub(super) async fn answers(communicator: &dyn Communicator) -> bool {
    match communicator.execute("exit 0", &DiscardedOutput).await {
        Ok(exit) => exit != Exit::Disconnected,
        Err(error) => !error.is_transport(),
    }
}

/// Shows what there is to see of the guest, and returns what the network knows of why connecting came no further than `stage`.
pub(crate) async fn look(
    machine: &dyn Machine,
    kind: CommunicatorKind,
    stage: ConnectStage,
    context: &BuildContext,
) -> Option<String> {
    evidence::show(machine, context).await;
    // A guest that has crashed uses no network, whatever it was about to do there.
    if context.sightings.kernel_has_crashed() {
        return None;
    }
    network_words(machine, kind, stage).await
}

/// Shows what there is to see of a guest that was lost by `error`, and adds to it what is known of why. Other errors stay as they are.
pub(crate) async fn explain_loss(
    mut error: StepError,
    kind: CommunicatorKind,
    machine: Option<&dyn Machine>,
    context: &BuildContext,
) -> StepError {
    let Some(loss) = error.take_loss() else { return error };
    let sightings = &context.sightings;
    let (more, hint) = match (&loss, machine) {
        (Loss::NotReached(why), Some(machine)) => {
            let network = look(machine, kind, why.kind, context).await;
            (more_words(network, sightings.last_words()), sightings.hint(kind, why, true))
        }
        (Loss::NotReached(why), None) => (String::new(), sightings.hint(kind, why, true)),
        (Loss::CutOff, Some(machine)) => {
            // The connection goes before the machine does.
            let end = tokio::time::timeout(END_NOTICE, machine.exited()).await.ok();
            evidence::show(machine, context).await;
            let crashed = sightings.kernel_has_crashed();
            if let Some(end) = &end {
                error = error.with_first(&format!("the machine stopped while it was provisioned: {end}. "));
            }
            let seen = more_words(None, sightings.last_words().filter(|_| crashed));
            (seen, sightings.crash_hint().or_else(|| end.as_ref().and_then(end_hint)))
        }
        (Loss::CutOff, None) => return error,
    };
    let hint = hint.or_else(|| error.hint().map(str::to_owned));
    error.with_more(&more).with_hint_maybe(hint)
}

/// What to do about a machine that ended under a provisioner.
fn end_hint(end: &ExitReport) -> Option<String> {
    let own = "a provisioner that shuts the guest down must be the last one; use shutdown_command instead";
    if *end == ExitReport::GuestShutdown { Some(own.to_owned()) } else { end.hint().map(|hint| hint.to_string()) }
}

/// What the network knows and what was seen last, to be said behind an error.
fn more_words(network: Option<String>, last: Option<String>) -> String {
    let network = network.map(|network| format!(": {network}"));
    network.into_iter().chain(last.map(|last| format!("; {last}"))).collect()
}

/// What the host's side of the network knows beyond the connection itself.
async fn network_words(machine: &dyn Machine, kind: CommunicatorKind, stage: ConnectStage) -> Option<String> {
    let network = tokio::time::timeout(Duration::from_secs(5), machine.network()).await.unwrap_or_default();
    let restarts = machine.watch_network().map_or(0, |sights| sights.borrow().restarts);
    words(&network, restarts, kind, stage)
}

fn words(network: &GuestNetwork, restarts: u32, kind: CommunicatorKind, stage: ConnectStage) -> Option<String> {
    if !matches!(
        stage,
        ConnectStage::NoAddress | ConnectStage::Silent | ConnectStage::NoAnswer | ConnectStage::ClosedAtOnce
    ) {
        return None;
    }
    // A guest that has restarted has had its chance to ask before: what is not known now was perhaps known then.
    let since = match restarts {
        0 => String::new(),
        1 => " since it restarted".to_owned(),
        times => format!(" since it restarted for the {times}. time"),
    };
    match network.forward_state {
        // Whoever was seen to use the network has an address, however it came by it.
        ForwardState::NoAnswer if network.guest_seen => Some(
            "the guest is on the network but does not answer: a firewall drops the packets, or it hangs".to_owned(),
        ),
        ForwardState::NoAnswer | ForwardState::Idle
            if stage == ConnectStage::NoAddress || network.forward_state != ForwardState::Idle =>
        {
            Some(match network.dhcp {
                Some(DhcpState::Answered) => {
                    "the guest has an address (by DHCP) but does not answer: a firewall drops the packets".to_owned()
                }
                Some(DhcpState::Asked) => format!("it asked for one by DHCP{since} and got no answer"),
                Some(DhcpState::Silent) => format!(
                    "it has not asked for one by DHCP{since} (no driver for its network adapter, or it has not got that far)"
                ),
                None => "no DHCP, no driver for its network adapter, or it never got that far".to_owned(),
            })
        }
        ForwardState::Established | ForwardState::Closing if stage != ConnectStage::NoAddress => {
            let title = kind.title();
            Some(format!("the guest accepts the connection but never says anything: its {title} server hangs"))
        }
        _ => None,
    }
}

/// Says why the connection that `config` asks for did not come about, and what to look at.
pub(crate) fn explain(
    error: &ConnectError,
    config: &ConnectConfig,
    network: Option<String>,
    sightings: &Sightings,
) -> StepError {
    let mut text = String::new();
    // The words that scripts wait for, then the reason that Packer does not give. Who used up his log-ins, or was turned
    // away on the way to the guest, was not waiting.
    let kind = config.kind();
    if config.timeout().is_some_and(|timeout| error.elapsed + Duration::from_secs(1) >= timeout) {
        text.push_str(&format!("Timeout waiting for {}. ", kind.title()));
    }
    text.push_str(&StepError::wrap_ref(error));
    text.push_str(&more_words(network, sightings.last_words()));
    StepError::new(text).with_hint_maybe(sightings.hint(kind, error, false))
}

/// [`explain`] for a host that is there already, and whose screen nobody here has.
pub(crate) fn explain_host(error: &ConnectError, config: &ConnectConfig, sightings: &Sightings) -> StepError {
    let explained = explain(error, config, None, sightings);
    if !error.kind.is_unanswered() {
        return explained;
    }
    let (title, name) = (config.kind().title(), config.kind().name());
    explained.with_hint(format!(
        "no {title} server answers at {}: see that the host is up, runs one and lets this machine in, and that {name}_host and {name}_port are \
         right",
        error.address
    ))
}

#[cfg(test)]
mod tests {
    use kiln_communicators::ssh::SshConfig;

    use super::*;

    const SSH: CommunicatorKind = CommunicatorKind::Ssh;

    fn error(elapsed: u64) -> ConnectError {
        ConnectError {
            kind: ConnectStage::Refused,
            address: "h:22".to_owned(),
            words: "the port is closed".to_owned(),
            attempts: 2,
            elapsed: Duration::from_secs(elapsed),
            hint: Some("look at it".into()),
            source: "refused".into(),
        }
    }

    #[test]
    fn the_words_that_scripts_wait_for_come_only_when_time_is_up() {
        let mut ssh = SshConfig::new("h", "u");
        ssh.timeout = Some(Duration::from_secs(60));
        let config = ConnectConfig::Ssh(Box::new(ssh));
        let sightings = Sightings::default();
        let late = explain(&error(60), &config, None, &sightings);
        let text =
            "Timeout waiting for SSH. cannot connect to h:22 after 2 attempts in 60.0 s: the port is closed: refused";
        assert_eq!((late.to_string().as_str(), late.hint()), (text, Some("look at it")));
        let early = explain(&error(3), &config, Some("it is off".to_owned()), &sightings);
        assert!(
            early.to_string().starts_with("cannot connect") && early.to_string().ends_with(": it is off"),
            "{early}"
        );
    }

    #[test]
    fn nobody_is_sent_to_the_screen_of_a_host_that_no_build_has_started() {
        let config = ConnectConfig::Ssh(Box::new(SshConfig::new("h", "u")));
        let sightings = Sightings::default();
        let hint = |error: &ConnectError| explain_host(error, &config, &sightings).hint().unwrap().to_owned();
        let refused = hint(&error(3));
        assert!(refused.starts_with("no SSH server answers at h:22: ") && refused.contains("ssh_port"), "{refused}");
        assert_eq!(hint(&ConnectError { kind: ConnectStage::Login, ..error(3) }), "look at it");
    }

    #[test]
    fn what_was_seen_is_not_contradicted() {
        let fetched = GuestNetwork { guest_seen: true, dhcp: Some(DhcpState::Silent), ..GuestNetwork::default() };
        let silent = GuestNetwork { forward_state: ForwardState::NoAnswer, ..fetched.clone() };
        let said = words(&silent, 0, SSH, ConnectStage::Silent).unwrap();
        assert!(said.contains("is on the network") && !said.contains("DHCP"), "{said}");
        let restarted = GuestNetwork { dhcp: Some(DhcpState::Silent), ..GuestNetwork::default() };
        let said = words(&restarted, 1, SSH, ConnectStage::NoAddress).unwrap();
        assert!(said.contains("has not asked for one by DHCP since it restarted"), "{said}");
        assert!(!said.contains("never"), "{said}");
        assert_eq!(words(&fetched, 0, SSH, ConnectStage::ClosedAtOnce), None);
    }
}
