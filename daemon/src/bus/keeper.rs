//! The life of the connection: made, given its name, served, and made anew when it is lost. A bus that is not there, or a name that
//! somebody else has, keeps nothing from working but this.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use zbus::connection::Builder;
use zbus::{Connection, MessageStream};

use super::activity::Activity;
use super::listeners::Listeners;
use super::reporter::Reporter;
use super::served::Served;
use super::signals::Audience;
use super::state::BusState;
use super::streams::Streams;
use super::{NAME, dispatcher};
use crate::config::{BusConfig, Mode};
use crate::explain::explain;
use crate::jobs::Jobs;

/// Time for connecting, and for one answer of the bus itself.
const BUS_TIMEOUT: Duration = Duration::from_secs(10);

/// Time between attempts: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Messages that wait to be dispatched. The bus keeps what comes on top, and the sender's share of it is limited there.
const QUEUE: std::num::NonZeroUsize = std::num::NonZeroUsize::new(16).unwrap();

/// Flag of `RequestName`: not to wait in line for it. Its answer when the name is ours.
const DO_NOT_QUEUE: u32 = 4;
const PRIMARY_OWNER: u32 = 1;

/// The face on the bus. Cheap to clone; it ends with the daemon.
#[derive(Clone, Debug)]
pub(crate) struct Bus {
    state: watch::Receiver<BusState>,
    activity: Activity,
}

struct Keeper {
    jobs: Jobs,
    config: BusConfig,
    mode: Mode,
    streams: Streams,
    activity: Activity,
    state: watch::Sender<BusState>,
    shutdown: CancellationToken,
}

impl Bus {
    /// Starts to serve jobs on the bus, when that is configured, until `shutdown`.
    pub(crate) fn start(jobs: &Jobs, shutdown: CancellationToken) -> Self {
        let streams = Streams::default();
        let activity = Activity::new(streams.clone());
        let (sender, state) = watch::channel(BusState::Off);
        let (config, mode) = (jobs.config().bus.clone(), jobs.config().mode);
        if let Some(config) = config {
            sender.send_replace(BusState::Connecting);
            let activity = activity.clone();
            let keeper = Keeper { jobs: jobs.clone(), config, mode, streams, activity, state: sender, shutdown };
            tokio::spawn(keeper.run());
        }
        Self { state, activity }
    }

    /// Returns how it is, in a sentence for people.
    pub(crate) fn state(&self) -> String {
        self.state.borrow().to_string()
    }

    pub(crate) fn activity(&self) -> &Activity {
        &self.activity
    }
}

impl Keeper {
    async fn run(self) {
        let mut pause = FIRST_PAUSE;
        loop {
            match self.serve_once(&mut pause).await {
                ControlFlow::Break(()) => return,
                ControlFlow::Continue(state) => self.tell(state),
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = self.shutdown.cancelled() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Says in the log what is new about it, once.
    fn tell(&self, state: BusState) {
        if *self.state.borrow() != state {
            tracing::info!("D-Bus: {state}");
        }
        self.state.send_replace(state);
    }

    /// Serves on one connection until it ends; returns why it is not there, or that there is to be no other.
    async fn serve_once(&self, pause: &mut Duration) -> ControlFlow<(), BusState> {
        let connected = tokio::select! {
            connected = self.connect() => connected,
            () = self.shutdown.cancelled() => return ControlFlow::Break(()),
        };
        let bus = match connected {
            Ok(bus) => bus,
            Err(error) => return ControlFlow::Continue(BusState::NotThere { why: error }),
        };
        let state = tokio::select! {
            state = self.serve_on(&bus, pause) => ControlFlow::Continue(state),
            () = self.shutdown.cancelled() => ControlFlow::Break(()),
        };
        // Whoever comes next is to find the name free, not when the last task has let go of the connection.
        if timeout(BUS_TIMEOUT, bus.close()).await.is_err() {
            tracing::debug!("the connection to the bus does not close");
        }
        state
    }

    async fn serve_on(&self, bus: &Connection, pause: &mut Duration) -> BusState {
        let messages = MessageStream::from(bus);
        let reporter = match Reporter::start(self.jobs.clone(), self.config.keep_finished).await {
            Ok(reporter) => reporter,
            // The daemon stops, or its journal failed.
            Err(error) => return BusState::NotThere { why: explain(&error) },
        };
        let served = Served::new(&self.jobs, &reporter, self.streams.clone(), self.shutdown.clone());
        let audience = match self.mode {
            Mode::User => Audience::OneUser,
            Mode::System => Audience::Several,
        };
        let listeners = Listeners::default();
        let serving = dispatcher::serve(bus.clone(), messages, served, self.activity.clone(), listeners.clone());
        let named = async {
            if let Err(error) = hear_who_leaves(bus).await {
                return BusState::NotThere { why: explain(&error) };
            }
            match request_name(bus).await {
                Ok(true) => {
                    *pause = FIRST_PAUSE;
                    self.tell(BusState::Serves);
                    reporter.run(bus, audience, listeners).await;
                    BusState::NotThere { why: "the connection was lost".to_owned() }
                }
                Ok(false) => BusState::NameTaken,
                Err(error) => BusState::NotThere { why: explain(&error) },
            }
        };
        tokio::select! {
            state = named => state,
            () = serving => BusState::NotThere { why: "the connection was lost".to_owned() },
        }
    }

    /// Connects to the first of the addresses where a bus answers.
    async fn connect(&self) -> Result<Connection, String> {
        let mut why = "there is no address of it".to_owned();
        for address in self.config.address.split(';').filter(|address| !address.is_empty()) {
            let connection = Builder::address(address).max_queued(QUEUE).method_timeout(BUS_TIMEOUT).build();
            match timeout(BUS_TIMEOUT, connection).await {
                Ok(Ok(bus)) => return Ok(bus),
                Ok(Err(error)) => why = format!("{address}: {}", explain(&error)),
                Err(_) => why = format!("{address}: no answer"),
            }
        }
        Err(why)
    }
}

/// Has the bus tell which programs leave it.
async fn hear_who_leaves(bus: &Connection) -> zbus::Result<()> {
    let name = "org.freedesktop.DBus";
    let rule = format!("type='signal',sender='{name}',interface='{name}',member='NameOwnerChanged',arg2=''");
    bus.call_method(Some(name), "/org/freedesktop/DBus", Some(name), "AddMatch", &(rule,)).await.map(drop)
}

/// Asks for our name; false when somebody else has it.
async fn request_name(bus: &Connection) -> zbus::Result<bool> {
    let name = "org.freedesktop.DBus";
    let arguments = (NAME, DO_NOT_QUEUE);
    let answer = bus.call_method(Some(name), "/org/freedesktop/DBus", Some(name), "RequestName", &arguments).await?;
    Ok(answer.body().deserialize::<u32>()? == PRIMARY_OWNER)
}
