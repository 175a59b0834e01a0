//! A guest that is none: its script, its files, its memory, and the connections to it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::script::{Answer, Call};
use crate::connect_error::{ConnectError, ConnectStage};
use crate::error::CommunicatorError;
use crate::observer::{ConnectObserver, Reconnecting, SilentObserver};

/// The guest's address in errors.
pub(super) const HOST: &str = "fake:22";

/// Records everything it is asked to do. Clones share one guest and one connection.
#[derive(Clone)]
pub struct FakeCommunicator {
    pub(super) guest: Arc<Guest>,
    pub(super) connection: Arc<Connection>,
    /// How long connecting may take; without it, a guest that went away is waited for without end.
    pub(super) timeout: Option<Duration>,
    pub(super) until: Option<Instant>,
    pub(super) observer: Arc<dyn ConnectObserver>,
}

impl std::fmt::Debug for FakeCommunicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FakeCommunicator").field("guest", &self.guest).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
pub(super) struct Guest {
    state: Mutex<State>,
    /// How often all connections were lost.
    losses: watch::Sender<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Connection {
    /// How often all connections had been lost when this one was made.
    made_after: AtomicU64,
    closed: watch::Sender<bool>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) calls: Vec<Call>,
    pub(super) scripts: Vec<(String, VecDeque<Answer>)>,
    pub(super) files: BTreeMap<String, Vec<u8>>,
    pub(super) failing_transfers: u32,
    pub(super) gone: bool,
}

impl Default for FakeCommunicator {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeCommunicator {
    /// Makes a connected fake with no scripts and no files.
    #[must_use]
    pub fn new() -> Self {
        Self {
            guest: Arc::default(),
            connection: Arc::default(),
            timeout: None,
            until: None,
            observer: Arc::new(SilentObserver),
        }
    }

    /// Makes another connection to the same guest, which is open whatever became of this one.
    #[must_use]
    pub fn connect_again(&self) -> Self {
        let again = Self { connection: Arc::default(), ..self.clone() };
        again.connect();
        again
    }

    fn connect(&self) {
        self.connection.made_after.store(*self.guest.losses.borrow(), Ordering::Release);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.guest.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an answer for the next command that contains `part`. Scripts are tried in the order they were added.
    pub fn on_command(&self, part: &str, answer: Answer) -> &Self {
        let mut state = self.state();
        match state.scripts.iter_mut().find(|(known, _)| known == part) {
            Some((_, answers)) => answers.push_back(answer),
            None => state.scripts.push((part.to_owned(), VecDeque::from([answer]))),
        }
        drop(state);
        self
    }

    /// Puts a file into the guest, to be downloaded.
    pub fn add_file(&self, path: &str, content: impl Into<Vec<u8>>) -> &Self {
        self.state().files.insert(path.to_owned(), content.into());
        self
    }

    /// Makes the next `count` transfers fail as a lost connection.
    pub fn fail_transfers(&self, count: u32) -> &Self {
        self.state().failing_transfers = count;
        self
    }

    /// Loses all connections to the guest: what hangs ends, `disconnected` resolves. The next call connects again.
    pub fn disconnect(&self) {
        self.guest.losses.send_modify(|losses| *losses += 1);
    }

    /// Returns everything asked for so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Returns the commands asked for so far.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        let state = self.state();
        state.calls.iter().filter_map(|call| if let Call::Execute(c) = call { Some(c.clone()) } else { None }).collect()
    }

    /// Returns what was last uploaded to `path`.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.state().files.get(path).cloned()
    }

    /// Notes a call, which makes a connection that was lost anew.
    pub(super) async fn begin(&self, call: Call) -> Result<(), CommunicatorError> {
        if self.state().gone {
            return Err(self.stays_away().await);
        }
        if *self.connection.closed.borrow() {
            return Err(CommunicatorError::Closed { host: HOST.to_owned() });
        }
        if *self.guest.losses.borrow() > self.connection.made_after.load(Ordering::Acquire) {
            drop(Reconnecting::begin(&*self.observer, HOST.to_owned(), self.limit()));
        }
        self.connect();
        self.state().calls.push(call);
        Ok(())
    }

    /// Waits for a guest that does not come back.
    async fn stays_away(&self) -> CommunicatorError {
        let (begun, limit) = (Instant::now(), self.limit());
        let _told = Reconnecting::begin(&*self.observer, HOST.to_owned(), limit);
        match limit {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
        let source = ConnectError {
            kind: ConnectStage::Silent,
            address: HOST.to_owned(),
            words: "the port is open but nothing answers".to_owned(),
            attempts: 1,
            elapsed: begun.elapsed(),
            hint: Some("the guest is still booting".into()),
            source: "the fake guest has gone away".into(),
        };
        CommunicatorError::Reconnect { host: HOST.to_owned(), source: Box::new(source) }
    }

    fn limit(&self) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(Instant::now())).or(self.timeout)
    }

    /// Takes the answer to a command from the script.
    pub(super) fn answer(&self, command: &str) -> Answer {
        let mut state = self.state();
        let answers = state.scripts.iter_mut().find(|(part, left)| !left.is_empty() && command.contains(part.as_str()));
        answers.and_then(|(_, left)| left.pop_front()).unwrap_or_else(|| Answer::code(0))
    }

    /// Resolves when the connection that is there now has been lost or closed.
    pub(super) fn lost(&self) -> impl Future<Output = ()> + Send + use<> {
        let made_after = self.connection.made_after.load(Ordering::Acquire);
        let (mut losses, mut closed) = (self.guest.losses.subscribe(), self.connection.closed.subscribe());
        async move {
            // Where a sender is gone, so is the connection.
            tokio::select! {
                _ = losses.wait_for(|&losses| losses > made_after) => {}
                _ = closed.wait_for(|&closed| closed) => {}
            }
        }
    }

    /// Closes this connection alone.
    pub(super) fn end(&self) {
        self.state().calls.push(Call::Close);
        self.connection.closed.send_replace(true);
    }
}
