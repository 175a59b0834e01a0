//! Connects to the guest, and explains itself when that does not work.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use kiln_communicators::ssh::{
    Bastion, ConnectError, ConnectEvent, ConnectObserver, PrivateKeySource, Socks5Proxy, SshConfig, Stage,
    TransferMethod, Tunnel,
};
use kiln_communicators::{Communicator, EcdsaBits, KeyKind, KeyPair, Lookout, Secret, generate_key_pair};
use kiln_hypervisors::{DhcpState, ForwardState, GuestNetwork, Machine};

use super::evidence;
use super::lookout::MachineLookout;
use super::sightings::Sightings;
use crate::backends::Backends;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::plan::SshPlan;
use crate::way_in::WayIn;
use kiln_template::GoDuration;

/// The largest RSA key that is made; OpenSSH's own limit.
const MAX_RSA_BITS: u32 = 16384;

/// Makes the temporary key pair that the plan asks for.
pub(crate) async fn make_key(plan: &SshPlan, context: &BuildContext) -> Result<Option<KeyPair>, StepError> {
    let Some((kind, bits)) = &plan.temporary_key else { return Ok(None) };
    let kind = match (kind.as_str(), bits) {
        ("ed25519", _) => KeyKind::Ed25519,
        ("ecdsa", Some(256)) => KeyKind::Ecdsa(EcdsaBits::P256),
        ("ecdsa", Some(384)) => KeyKind::Ecdsa(EcdsaBits::P384),
        ("ecdsa", _) => KeyKind::Ecdsa(EcdsaBits::P521),
        (_, bits) => KeyKind::Rsa(bits.unwrap_or(4096).clamp(1024, MAX_RSA_BITS)),
    };
    let comment = format!("kiln_{}", context.settings.run_uuid);
    let made = tokio::task::spawn_blocking(move || generate_key_pair(kind, &comment));
    let pair = made
        .await
        .map_err(|error| StepError::new("making the temporary key ended abnormally").with_source(error))?
        .map_err(StepError::wrap)?;
    context.redactor.add(pair.private_openssh.expose());
    Ok(Some(pair))
}

/// The connection settings for a guest at `host`:`port`.
pub(crate) fn config(plan: &SshPlan, host: &str, port: u16, key: Option<&KeyPair>) -> Result<SshConfig, StepError> {
    let keys_of = |file: &Option<PathBuf>| -> Vec<_> { file.iter().cloned().map(PrivateKeySource::File).collect() };
    let mut config = SshConfig::new(plan.host.as_deref().unwrap_or(host), &plan.username);
    config.port = if plan.host.is_some() { plan.port } else { port };
    config.password.clone_from(&plan.password);
    config.private_keys = keys_of(&plan.private_key_file);
    config.private_keys.extend(key.map(|pair| PrivateKeySource::Pem(pair.private_openssh.clone())));
    config.certificate.clone_from(&plan.certificate_file);
    config.agent_socket = std::env::var_os("SSH_AUTH_SOCK").map(PathBuf::from);
    config.agent_auth = plan.agent;
    config.agent_forwarding = plan.agent_forwarding;
    config.pty = plan.pty;
    config.keep_alive_interval = plan.keep_alive;
    config.read_write_timeout = plan.read_write_timeout;
    config.handshake_attempts = plan.handshake_attempts;
    config.timeout = plan.timeout;
    config.transfer = if plan.sftp { TransferMethod::Sftp } else { TransferMethod::Scp };
    config.ciphers.clone_from(&plan.ciphers);
    config.key_exchange_algorithms.clone_from(&plan.key_exchanges);
    config.bastion = plan.bastion.as_ref().map(|bastion| Bastion {
        host: bastion.host.clone(),
        port: bastion.port,
        username: bastion.username.clone(),
        password: bastion.password.clone(),
        private_keys: keys_of(&bastion.private_key_file),
        certificate: bastion.certificate_file.clone(),
        agent_auth: bastion.agent,
    });
    config.proxy = plan.proxy.as_ref().map(|proxy| Socks5Proxy {
        host: proxy.host.clone(),
        port: proxy.port,
        credentials: proxy
            .username
            .clone()
            .map(|user| (user, proxy.password.clone().unwrap_or_else(|| Secret::from("")))),
    });
    let tunnels = |list: &[String]| -> Result<Vec<Tunnel>, StepError> {
        list.iter().map(|tunnel| tunnel.parse().map_err(StepError::wrap)).collect()
    };
    config.local_tunnels = tunnels(&plan.local_tunnels)?;
    config.remote_tunnels = tunnels(&plan.remote_tunnels)?;
    Ok(config)
}

/// Connects. `machine` is watched meanwhile and asked for evidence when it does not work.
pub(crate) async fn connect(
    plan: &SshPlan,
    config: &SshConfig,
    machine: Option<&dyn Machine>,
    context: &BuildContext,
    backends: &Backends,
) -> Result<Arc<dyn Communicator>, StepError> {
    let address = config.address();
    context.control.guest_at(&context.build, WayIn::of(config));
    let mut config = config.clone();
    // What is seen of our guest says nothing about another host.
    if plan.host.is_none() {
        let sights = machine.and_then(Machine::watch_network);
        config.lookout = sights.map(|sights| Arc::new(MachineLookout(sights)) as Arc<dyn Lookout>);
    }
    context.say(format!("Using SSH communicator to connect: {}", config.host));
    context.say("Waiting for SSH to become available...");
    let connection = attempt(&config, machine, context, backends).await?;
    let pause = plan.pause_before_connecting;
    if pause.is_zero() {
        context.say("Connected to SSH!");
        return Ok(connection);
    }
    connection.close().await;
    context.say(format!("Pausing {} before connecting...", GoDuration(pause)));
    {
        let _wait = context.waiting("pause before connecting", Some(pause));
        tokio::time::sleep(pause).await;
    }
    let connection = attempt(&config, machine, context, backends).await?;
    context.say("Connected to SSH!");
    tracing::debug!(address, "connected");
    Ok(connection)
}

async fn attempt(
    config: &SshConfig,
    machine: Option<&dyn Machine>,
    context: &BuildContext,
    backends: &Backends,
) -> Result<Arc<dyn Communicator>, StepError> {
    let _wait = context.waiting("connect", config.timeout);
    let observer = Arc::new(Teller { context: context.clone() });
    let connecting = backends.connector.connect(config, observer);
    let Some(machine) = machine else {
        return connecting.await.map_err(|error| explain(&error, config.timeout, None, &context.sightings));
    };
    tokio::select! {
        result = connecting => match result {
            Ok(connection) => Ok(connection),
            Err(error) => {
                let network = network_words(machine, &error.stage).await;
                evidence::show(machine, context).await;
                Err(explain(&error, config.timeout, network, &context.sightings))
            }
        },
        exit = machine.exited() => {
            evidence::show(machine, context).await;
            let error = StepError::new(format!("the machine stopped before SSH became available: {exit}"));
            Err(error.with_hint_maybe(exit.hint()))
        }
    }
}

/// What the host's side of the network knows beyond the connection itself.
async fn network_words(machine: &dyn Machine, stage: &Stage) -> Option<String> {
    let network = tokio::time::timeout(Duration::from_secs(5), machine.network()).await.unwrap_or_default();
    let restarts = machine.watch_network().map_or(0, |sights| sights.borrow().restarts);
    words(&network, restarts, stage)
}

fn words(network: &GuestNetwork, restarts: u32, stage: &Stage) -> Option<String> {
    if !matches!(stage, Stage::NoAddress | Stage::NoBanner | Stage::NoAnswer | Stage::ClosedAtOnce) {
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
            if *stage == Stage::NoAddress || network.forward_state != ForwardState::Idle =>
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
        ForwardState::Established | ForwardState::Closing if *stage != Stage::NoAddress => {
            Some("the guest accepts the connection but never says anything: its SSH server hangs".into())
        }
        _ => None,
    }
}

fn explain(
    error: &ConnectError,
    timeout: Option<Duration>,
    network: Option<String>,
    sightings: &Sightings,
) -> StepError {
    let mut text = String::new();
    // The words that scripts wait for, then the reason that Packer does not give. Who used up his log-ins, or was turned
    // away on the way to the guest, was not waiting.
    if timeout.is_some_and(|timeout| error.elapsed + Duration::from_secs(1) >= timeout) {
        text.push_str("Timeout waiting for SSH. ");
    }
    text.push_str(&StepError::wrap_ref(error));
    if let Some(network) = network {
        text.push_str(": ");
        text.push_str(&network);
    }
    if let Some(last) = sightings.last_words() {
        text.push_str("; ");
        text.push_str(&last);
    }
    StepError::new(text).with_hint_maybe(sightings.hint(error))
}

/// Tells what happens while a connection is made.
struct Teller {
    context: BuildContext,
}

impl ConnectObserver for Teller {
    fn event(&self, event: &ConnectEvent) {
        self.context.sightings.connection(event);
        match event {
            ConnectEvent::HostKey { address, fingerprint, previous: Some(previous) } => self.context.say(format!(
                "The host key at {address} is now {fingerprint} (it was {previous}): another system answers."
            )),
            ConnectEvent::Note(text) => self.context.say(text),
            ConnectEvent::Reconnecting { address } => {
                self.context.say(format!("The connection to {address} is lost; connecting again..."));
            }
            other => tracing::debug!(?other, "ssh"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_is_not_contradicted() {
        let fetched = GuestNetwork { guest_seen: true, dhcp: Some(DhcpState::Silent), ..GuestNetwork::default() };
        let silent = GuestNetwork { forward_state: ForwardState::NoAnswer, ..fetched.clone() };
        let said = words(&silent, 0, &Stage::NoBanner).unwrap();
        assert!(said.contains("is on the network") && !said.contains("DHCP"), "{said}");
        let restarted = GuestNetwork { dhcp: Some(DhcpState::Silent), ..GuestNetwork::default() };
        let said = words(&restarted, 1, &Stage::NoAddress).unwrap();
        assert!(said.contains("has not asked for one by DHCP since it restarted"), "{said}");
        assert!(!said.contains("never"), "{said}");
        assert_eq!(words(&fetched, 0, &Stage::ClosedAtOnce), None);
    }
}
