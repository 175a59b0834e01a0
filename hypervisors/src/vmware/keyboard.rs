//! The guest's keyboard and screen by VNC: VMware has no other way to either.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;

use crate::error::{KeyboardError, MachineError, ScreenError};
use crate::keyboard::{Key, KeyEvent, KeyPacing, Keyboard};
use crate::machine::ExitReport;
use crate::rfb::{RfbClient, RfbError, capture};
use crate::screen::{Screen, Screenshot};

/// Pause after each event where the template says nothing. What the guest has read cannot be seen, so this is slow enough for a boot
/// loader that asks its BIOS; Packer leaves 100 ms.
const EVENT_PAUSE: Duration = Duration::from_millis(50);

/// How long the VNC server may take to listen after the machine was started.
const LISTEN_LIMIT: Duration = Duration::from_secs(30);

/// First and longest pause between two tries to connect: nothing tells when it listens.
const TRY_PAUSES: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(500));

/// How a machine's VNC server is reached.
#[derive(Clone)]
pub(super) struct Console {
    pub(super) address: SocketAddr,
    pub(super) password: Option<String>,
    /// Set when the machine has ended.
    pub(super) report: watch::Receiver<Option<ExitReport>>,
}

impl Console {
    async fn connect(&self) -> Result<RfbClient, MachineError> {
        let deadline = Instant::now() + LISTEN_LIMIT;
        let mut pause = TRY_PAUSES.0;
        loop {
            if self.report.borrow().is_some() {
                return Err(MachineError::Gone);
            }
            match RfbClient::connect(self.address, self.password.as_deref()).await {
                Err(RfbError::Io(error)) if Instant::now() < deadline => {
                    tracing::debug!(%error, address = %self.address, "VNC does not listen yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(TRY_PAUSES.1);
                }
                answer => return answer.map_err(|error| refused("connect to VNC", &error)),
            }
        }
    }
}

fn refused(what: &str, error: &RfbError) -> MachineError {
    MachineError::Refused { command: what.to_owned(), message: error.to_string() }
}

/// A machine's keyboard.
pub(super) struct VncKeyboard {
    console: Console,
    pacing: KeyPacing,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    client: Option<RfbClient>,
    held: Vec<Key>,
}

impl VncKeyboard {
    pub(super) fn new(console: Console, pacing: KeyPacing) -> Self {
        Self { console, pacing, state: Mutex::default() }
    }

    async fn type_all(&self, state: &mut State, events: &[KeyEvent]) -> Result<(), KeyboardError> {
        let pause = match self.pacing {
            KeyPacing::Adaptive => EVENT_PAUSE,
            KeyPacing::Fixed { per_event } => per_event,
        };
        for event in events {
            if self.console.report.borrow().is_some() {
                return Err(MachineError::Gone.into());
            }
            // Taken out meanwhile: a connection that has failed is not used again.
            let mut client = match state.client.take() {
                Some(client) => client,
                None => self.console.connect().await?,
            };
            state.held.retain(|key| *key != event.key);
            if event.down {
                state.held.push(event.key);
            }
            let shift = state.held.iter().any(|key| matches!(key, Key::ShiftLeft | Key::ShiftRight));
            let sent = client.key(event.key.keysym_with(shift), event.down).await;
            sent.map_err(|error| refused("press a key by VNC", &error))?;
            state.client = Some(client);
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }
}

impl Keyboard for VncKeyboard {
    fn press<'a>(&'a self, events: &'a [KeyEvent]) -> BoxFuture<'a, Result<(), KeyboardError>> {
        async move { self.type_all(&mut *self.state.lock().await, events).await }.boxed()
    }

    fn release_all(&self) -> BoxFuture<'_, Result<(), KeyboardError>> {
        async move {
            let mut state = self.state.lock().await;
            let events: Vec<_> = state.held.iter().copied().map(KeyEvent::up).collect();
            self.type_all(&mut state, &events).await
        }
        .boxed()
    }
}

/// A machine's screen.
pub(super) struct VncScreen(pub(super) Console);

impl Screen for VncScreen {
    fn capture(&self) -> BoxFuture<'_, Result<Screenshot, ScreenError>> {
        async move {
            let mut client = self.0.connect().await?;
            let picture = capture(&mut client).await.map_err(|error| refused("take a picture by VNC", &error))?;
            Screenshot::from_rgb(picture.width, picture.height, &picture.rgb)
        }
        .boxed()
    }
}
