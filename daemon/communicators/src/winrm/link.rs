//! The way to one guest: whether it was there when it was last asked, and how it is found again.
//!
//! There is no connection that lives as long as the guest: each question may go over a new one. So the guest counts as lost when a question
//! goes unanswered, and is looked for before the next.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};

use super::connect::establish;
use super::endpoint::Endpoint;
use super::error::Attempt;
use super::shell::Shell;
use crate::error::CommunicatorError;
use crate::observer::{ConnectEvent, ConnectObserver, Reconnecting};

/// How long a lost guest is waited for where connecting has no limit of its own.
const RECONNECT_TIMEOUT: Duration = Duration::from_mins(5);

/// The longest that a lost guest is waited for unless somebody asks for [another time](crate::Communicator::until).
const LONGEST_RECONNECT: Duration = Duration::from_mins(15);

/// Pace of the questions whether the guest is there, while somebody waits for its end.
const PACE: Duration = Duration::from_secs(3);

/// From a question that went unanswered to the next.
const SECOND_LOOK: Duration = Duration::from_secs(1);

/// What is known of the guest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct State {
    /// How often it was lost.
    losses: u64,
    is_lost: bool,
    is_closed: bool,
}

/// A guest's service, and what is known of it.
pub(crate) struct Link {
    endpoint: Arc<Endpoint>,
    observer: Arc<dyn ConnectObserver>,
    state: watch::Sender<State>,
    /// Held while connecting again, so that several calls make one attempt at a time.
    reconnecting: tokio::sync::Mutex<()>,
}

impl Link {
    pub(crate) fn new(endpoint: Arc<Endpoint>, observer: Arc<dyn ConnectObserver>) -> Self {
        Self { endpoint, observer, state: watch::Sender::default(), reconnecting: tokio::sync::Mutex::default() }
    }

    pub(crate) fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    pub(crate) fn address(&self) -> String {
        self.endpoint.address()
    }

    /// Tells the observer something.
    pub(crate) fn tell(&self, note: &str) {
        self.observer.event(&ConnectEvent::Note(note.to_owned()));
    }

    fn check_open(&self) -> Result<(), CommunicatorError> {
        if self.state.borrow().is_closed { Err(CommunicatorError::Closed { host: self.address() }) } else { Ok(()) }
    }

    /// Notes that the guest did not answer.
    pub(crate) fn lost(&self) {
        self.endpoint.forget_kept();
        self.state.send_if_modified(|state| {
            let is_new = !state.is_lost;
            state.losses += u64::from(is_new);
            state.is_lost = true;
            is_new
        });
    }

    /// Notes the loss that an error tells of.
    pub(crate) fn note<T>(&self, result: Result<T, CommunicatorError>) -> Result<T, CommunicatorError> {
        if result.as_ref().is_err_and(CommunicatorError::is_loss) {
            self.lost();
        }
        result
    }

    /// Finds a lost guest again by `until`; without it, in the time that [`patience`] gives.
    async fn find(&self, until: Option<Instant>) -> Result<(), CommunicatorError> {
        self.check_open()?;
        if !self.state.borrow().is_lost {
            return Ok(());
        }
        let begun = Instant::now();
        let deadline = until.unwrap_or_else(|| begun + patience(self.endpoint.config().timeout));
        let _one_at_a_time =
            timeout_at(deadline, self.reconnecting.lock()).await.map_err(|_| CommunicatorError::TimedOut {
                host: self.address(),
                operation: "connecting again".to_owned(),
                after: begun.elapsed(),
            })?;
        self.check_open()?;
        if !self.state.borrow().is_lost {
            return Ok(());
        }
        let limit = deadline.saturating_duration_since(Instant::now());
        let _told = Reconnecting::begin(&*self.observer, self.address(), Some(limit));
        let found = establish(&self.endpoint, &*self.observer, Some(deadline)).await;
        found.map_err(|source| CommunicatorError::Reconnect { host: self.address(), source: Box::new(source) })?;
        self.state.send_modify(|state| state.is_lost = false);
        Ok(())
    }

    /// Makes a shell; a guest that turns out to be lost is looked for once, by `until` if that is given.
    pub(crate) async fn open_shell(&self, until: Option<Instant>) -> Result<Shell, CommunicatorError> {
        let mut last = None;
        for _ in 0..2 {
            let time_is_up = until.is_some_and(|until| until <= Instant::now());
            if let Some(last) = last.take_if(|_| time_is_up) {
                return Err(last);
            }
            self.find(until).await?;
            match Shell::open(&self.endpoint).await {
                Ok(shell) => return Ok(shell),
                Err(attempt) => last = Some(self.refused(&attempt)?),
            }
        }
        Err(last.expect("the loop ran"))
    }

    /// The error of a shell that was not made, when the guest may have been lost; what it refuses is told at once.
    fn refused(&self, attempt: &Attempt) -> Result<CommunicatorError, CommunicatorError> {
        let (host, operation) = (self.address(), "a shell".to_owned());
        if let Some(fault) = attempt.fault().filter(|fault| !fault.is_loss()) {
            return Err(CommunicatorError::Refused { host, operation, reason: fault.to_string() });
        }
        tracing::debug!(%host, stage = %attempt.stage, failure = %attempt.failure, "no shell");
        self.lost();
        Ok(CommunicatorError::Disconnected { host, operation: "the opening of a shell".to_owned() })
    }

    /// Resolves when the guest as it is now is lost, or nobody asks it any more.
    pub(crate) async fn gone(self: Arc<Self>) {
        let mut state = self.state.subscribe();
        let then = *state.borrow_and_update();
        if then.is_lost || then.is_closed {
            return;
        }
        let noticed = async {
            // The sender lives in self, so there is no other error.
            let _ = state.wait_for(|now| now.is_closed || now.losses != then.losses).await;
        };
        let looked = async {
            loop {
                sleep(PACE).await;
                if self.endpoint.shows_life().await {
                    continue;
                }
                sleep(SECOND_LOOK).await;
                if !self.endpoint.shows_life().await {
                    self.lost();
                    return;
                }
            }
        };
        tokio::select! {
            () = noticed => {}
            () = looked => {}
        }
    }

    /// Ends it; nothing looks for the guest afterwards.
    pub(crate) async fn close(&self) {
        let mut was_closed = false;
        self.state.send_modify(|state| was_closed = std::mem::replace(&mut state.is_closed, true));
        if !was_closed {
            self.endpoint.close().await;
        }
    }
}

/// How long a lost guest is waited for by default: as long as for the first connection, but no longer than a boot takes.
fn patience(timeout: Option<Duration>) -> Duration {
    timeout.unwrap_or(RECONNECT_TIMEOUT).min(LONGEST_RECONNECT)
}
