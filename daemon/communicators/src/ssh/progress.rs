//! Keeps track of how far connecting has come, tells the observer of changes, and makes the final error.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::observer::{ConnectEvent, ConnectObserver};
use crate::ssh::error::{ConnectFailure, SshConnectError, Stage};

/// One attempt that came to nothing.
#[derive(Debug)]
pub(crate) struct AttemptFailure {
    pub(crate) stage: Stage,
    pub(crate) failure: ConnectFailure,
    /// Whether trying again cannot help.
    pub(crate) is_final: bool,
}

impl AttemptFailure {
    pub(crate) fn new(stage: Stage, failure: ConnectFailure) -> Self {
        Self { stage, failure, is_final: false }
    }

    pub(crate) fn final_at(stage: Stage, failure: ConnectFailure) -> Self {
        Self { stage, failure, is_final: true }
    }
}

pub(crate) struct Progress {
    observer: Arc<dyn ConnectObserver>,
    address: String,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    attempts: u32,
    shown: Option<Stage>,
    last_failure: Option<(Stage, ConnectFailure)>,
}

impl Progress {
    pub(crate) fn new(observer: Arc<dyn ConnectObserver>, address: String) -> Self {
        Self { observer, address, started: Instant::now(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    pub(crate) fn count_attempt(&self) {
        let mut state = self.state();
        state.attempts = state.attempts.saturating_add(1);
    }

    /// Notes that an attempt has come to this stage. A stage that failed before is not announced again, or a rejected
    /// login would be followed by a "key exchange" every second.
    pub(crate) fn reached(&self, stage: Stage) {
        let mut state = self.state();
        match state.shown {
            Some(Stage::Authentication { .. }) => return,
            Some(Stage::Algorithms(_) | Stage::HostKey) if stage == Stage::KeyExchange => return,
            _ => {}
        }
        self.show(&mut state, stage);
    }

    pub(crate) fn failed(&self, stage: Stage, failure: ConnectFailure) {
        let mut state = self.state();
        state.last_failure = Some((stage.clone(), failure));
        self.show(&mut state, stage);
    }

    fn show(&self, state: &mut State, stage: Stage) {
        if state.shown.as_ref() != Some(&stage) {
            tracing::debug!(address = %self.address, %stage, "ssh stage");
            self.observer.event(&ConnectEvent::Stage { stage: stage.kind(), words: stage.to_string() });
            state.shown = Some(stage);
        }
    }

    /// Makes the error for giving up now: what failed last, else how far the running attempt has come.
    pub(crate) fn error(&self) -> SshConnectError {
        let mut state = self.state();
        let (stage, source) = state
            .last_failure
            .take()
            .unwrap_or_else(|| (state.shown.clone().unwrap_or(Stage::NoAnswer), ConnectFailure::TimeUp));
        self.make_error(state.attempts, stage, source)
    }

    /// Makes the error for an attempt after which no other is worth trying.
    pub(crate) fn final_error(&self, failure: AttemptFailure) -> SshConnectError {
        let attempts = self.state().attempts;
        self.make_error(attempts, failure.stage, failure.failure)
    }

    fn make_error(&self, attempts: u32, stage: Stage, source: ConnectFailure) -> SshConnectError {
        SshConnectError { address: self.address.clone(), stage, attempts, elapsed: self.elapsed(), source }
    }
}
