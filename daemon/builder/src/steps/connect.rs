//! Connects to the guest, whatever it is spoken to with, and explains itself when that does not work.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kiln_communicators::{Communicator, CommunicatorKind, ConnectConfig, ConnectEvent, ConnectObserver, Lookout};
use kiln_hypervisors::Machine;
use kiln_template::GoDuration;

use super::access::Access;
use super::lookout::MachineLookout;
use super::{endpoint, evidence, unreachable};
use crate::backends::Backends;
use crate::build_data::BuildData;
use crate::context::{BuildContext, Waiting};
use crate::error::{BuildError, StepError};
use crate::records::Output;
use crate::step::Step;
use crate::way_in::WayIn;

/// Connects to `machine`, or without one to the host that the template names, and notes in `data` what provisioners are told of the
/// connection. A machine is watched meanwhile and asked for evidence when it does not work. Nothing where nobody speaks to the guest.
pub(crate) async fn connect(
    access: &Access,
    machine: Option<&dyn Machine>,
    data: &mut BuildData,
    context: &BuildContext,
    backends: &Backends,
) -> Result<Option<Arc<dyn Communicator>>, BuildError> {
    if access.is_none() {
        data.connection = access.connection(&ConnectConfig::None, machine.is_some());
        return Ok(None);
    }
    let connecting = || async {
        let config = settings(access, machine, context).await?;
        let communicator = reach(access, &config, machine, context, backends).await?;
        Ok::<_, StepError>((communicator, config))
    };
    let connected = |(_, config): &(Arc<dyn Communicator>, ConnectConfig)| {
        let (host, port) = config.endpoint()?;
        Some(Output::Connection { communicator: config.kind().name().to_owned(), host: host.to_owned(), port })
    };
    let step = Step::bring_up("connect").on(machine);
    let (communicator, config) = context.run_step(step, connected, connecting).await?;
    data.connection = access.connection(&config, machine.is_some());
    Ok(Some(communicator))
}

/// Where to connect to, and how: the port of our guest, unless the template names a host, or a channel of the machine's.
async fn settings(
    access: &Access,
    machine: Option<&dyn Machine>,
    context: &BuildContext,
) -> Result<ConnectConfig, StepError> {
    let Some(guest_port) = access.guest_port() else { return access.config("", 0) };
    let Some(machine) = machine.filter(|_| !access.leads_elsewhere()) else {
        return access.config("", guest_port);
    };
    let endpoint = endpoint::of_guest(access, guest_port, machine, context).await?;
    let mut config = access.config(&endpoint.host, endpoint.port)?;
    // What is seen of our guest says nothing about another host.
    if let Some(sights) = machine.watch_network() {
        config.watch_by(Arc::new(MachineLookout(sights)) as Arc<dyn Lookout>);
    }
    Ok(config)
}

async fn reach(
    access: &Access,
    config: &ConnectConfig,
    machine: Option<&dyn Machine>,
    context: &BuildContext,
    backends: &Backends,
) -> Result<Arc<dyn Communicator>, StepError> {
    context.control.guest_at(&context.build, WayIn::of(config));
    let title = config.kind().title();
    let place = config.endpoint().map_or_else(String::new, |(host, _)| format!(": {host}"));
    context.say(format!("Using {title} communicator to connect{place}"));
    context.say(format!("Waiting for {title} to become available..."));
    let mut connection = attempt(config, machine, context, backends).await?;
    let pause = access.pause();
    if !pause.is_zero() {
        connection.close().await;
        context.say(format!("Pausing {} before connecting...", GoDuration(pause)));
        {
            let _wait = context.waiting("pause before connecting", Some(pause));
            tokio::time::sleep(pause).await;
        }
        connection = attempt(config, machine, context, backends).await?;
    }
    context.say(format!("Connected to {title}!"));
    Ok(connection)
}

async fn attempt(
    config: &ConnectConfig,
    machine: Option<&dyn Machine>,
    context: &BuildContext,
    backends: &Backends,
) -> Result<Arc<dyn Communicator>, StepError> {
    let _wait = context.waiting("connect", config.timeout());
    let kind = config.kind();
    let observer = Arc::new(Teller { kind, context: context.clone(), reconnecting: Mutex::default() });
    let connecting = backends.connector.connect(config, observer);
    let Some(machine) = machine else {
        return connecting.await.map_err(|error| unreachable::explain_host(&error, config, &context.sightings));
    };
    tokio::select! {
        result = connecting => match result {
            Ok(connection) => Ok(connection),
            Err(error) => {
                let network = unreachable::look(machine, kind, error.kind, context).await;
                Err(unreachable::explain(&error, config, network, &context.sightings))
            }
        },
        exit = machine.exited() => {
            evidence::show(machine, context).await;
            let error =
                StepError::new(format!("the machine stopped before {} became available: {exit}", kind.title()));
            Err(error.with_hint_maybe(exit.hint()))
        }
    }
}

/// Tells what happens while a connection is made, for the first time or anew.
struct Teller {
    kind: CommunicatorKind,
    context: BuildContext,
    /// The wait for a guest that was lost.
    reconnecting: Mutex<Option<Waiting>>,
}

impl Teller {
    fn wait(&self, wait: Option<Waiting>) {
        *self.reconnecting.lock().unwrap_or_else(PoisonError::into_inner) = wait;
    }
}

impl ConnectObserver for Teller {
    fn event(&self, event: &ConnectEvent) {
        self.context.sightings.connection(self.kind, event);
        match event {
            ConnectEvent::Identity { what, address, fingerprint, previous: Some(previous) } => self.context.say(
                format!("The {what} at {address} is now {fingerprint} (it was {previous}): another system answers."),
            ),
            ConnectEvent::Note(text) => self.context.say(text),
            ConnectEvent::Reconnecting { address, limit } => {
                self.context.say(format!("The connection to {address} is lost; connecting again..."));
                // What has passed since the wait was asked for is no part of what people are told.
                let limit =
                    limit.map(|limit| Duration::from_secs(limit.as_secs() + u64::from(limit.subsec_nanos() > 0)));
                self.wait(Some(self.context.waiting("connect again", limit)));
            }
            ConnectEvent::ReconnectEnded => self.wait(None),
            other => tracing::debug!(kind = self.kind.name(), ?other, "connecting"),
        }
    }
}
