//! The way to one guest's agent: a session that is made anew when it is lost.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::config::GuestAgentConfig;
use super::failure::Failure;
use super::script_run;
use super::session::{Session, Unusable};
use super::wire::Wire;
use crate::connect_error::{ConnectError, ConnectStage};
use crate::error::CommunicatorError;
use crate::observer::{ConnectEvent, ConnectObserver, Reconnecting};

/// How long an agent may take to answer the first request before it is asked again: one that starts meanwhile answers at once, but a
/// guest that restarts forgets what it was asked.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pause after an attempt that has come to nothing at once.
const PAUSE: Duration = Duration::from_millis(500);

/// How long a lost agent is waited for unless somebody asks for another time, and at the most: as for SSH.
const RECONNECT_TIMEOUT: Duration = Duration::from_mins(5);
const LONGEST_RECONNECT: Duration = Duration::from_mins(15);

/// What to do about an agent that does not answer.
const SILENT_HINT: &str = "the package qemu-guest-agent must be installed and running in the guest (its service needs the port \
                           org.qemu.guest_agent.0, which the machine has); `kiln screen` shows what the guest does";

/// What to do about an agent that may not run commands.
const DISABLED_HINT: &str =
    "allow them in the guest: /etc/sysconfig/qemu-ga or /etc/qemu/qemu-ga.conf lists what the agent may not do";

/// A guest's agent, and the present session with it.
pub(super) struct Link {
    config: GuestAgentConfig,
    observer: Arc<dyn ConnectObserver>,
    current: Mutex<Option<Arc<Session>>>,
    /// Held while a session is made, so that several calls make one.
    making: tokio::sync::Mutex<()>,
    closed: AtomicBool,
    /// Of the last request to begin a session.
    number: AtomicU32,
}

impl Link {
    pub(super) fn new(config: GuestAgentConfig, observer: Arc<dyn ConnectObserver>) -> Self {
        let number = AtomicU32::new(std::process::id() & 0xFF_FFFF);
        let (current, making, closed) = (Mutex::default(), tokio::sync::Mutex::default(), AtomicBool::new(false));
        Self { config, observer, current, making, closed, number }
    }

    pub(super) fn address(&self) -> String {
        self.config.address()
    }

    pub(super) fn present(&self) -> Option<Arc<Session>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Makes the first session.
    pub(super) async fn connect(&self) -> Result<(), ConnectError> {
        let deadline = self.config.timeout.map(|limit| Instant::now() + limit);
        let session = self.make(deadline).await?;
        self.keep(session);
        Ok(())
    }

    fn keep(&self, session: Arc<Session>) {
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Some(session);
    }

    fn check_open(&self) -> Result<(), CommunicatorError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(CommunicatorError::Closed { host: self.address() });
        }
        Ok(())
    }

    /// Returns the session if its agent is there, and another one, made by `until`, if it is lost.
    pub(super) async fn session(&self, until: Option<Instant>) -> Result<Arc<Session>, CommunicatorError> {
        self.check_open()?;
        if let Some(session) = self.present()
            && session.is_there().await
        {
            return Ok(session);
        }
        self.check_open()?;
        let begun = Instant::now();
        let patience = self.config.timeout.unwrap_or(RECONNECT_TIMEOUT).min(LONGEST_RECONNECT);
        let deadline = until.unwrap_or(begun + patience);
        let _one_at_a_time =
            timeout_at(deadline, self.making.lock()).await.map_err(|_| CommunicatorError::TimedOut {
                host: self.address(),
                operation: "connecting again".to_owned(),
                after: begun.elapsed(),
            })?;
        self.check_open()?;
        if let Some(session) = self.present().filter(|session| !session.is_over()) {
            return Ok(session);
        }
        let limit = deadline.saturating_duration_since(Instant::now());
        let _told = Reconnecting::begin(&*self.observer, self.address(), Some(limit));
        let made = self.make(Some(deadline)).await;
        let session =
            made.map_err(|source| CommunicatorError::Reconnect { host: self.address(), source: Box::new(source) })?;
        self.keep(Arc::clone(&session));
        Ok(session)
    }

    /// Tries until it works, time is up, or trying is pointless.
    async fn make(&self, deadline: Option<Instant>) -> Result<Arc<Session>, ConnectError> {
        let begun = Instant::now();
        let mut attempts = 0_u32;
        let mut told = None;
        let mut last = (ConnectStage::Silent, Unusable::Failed(Failure::Silent(PATIENCE)));
        loop {
            attempts = attempts.saturating_add(1);
            let trying = self.attempt();
            let tried = match deadline {
                Some(deadline) => timeout_at(deadline, trying).await,
                None => Ok(trying.await),
            };
            let is_over = tried.is_err() || deadline.is_some_and(|deadline| Instant::now() >= deadline);
            match tried {
                Ok(Ok(session)) => {
                    let (address, server) = (self.address(), session.version.clone());
                    self.observer.event(&ConnectEvent::Connected { address, elapsed: begun.elapsed(), server });
                    return Ok(session);
                }
                Ok(Err(failed)) => last = failed,
                Err(_) => {}
            }
            let (stage, why) = &last;
            if told.replace(*stage) != Some(*stage) {
                self.observer.event(&ConnectEvent::Stage { stage: *stage, words: words(*stage).to_owned() });
            }
            if is_over || !matches!(why, Unusable::Failed(_)) {
                let (kind, source) = last;
                return Err(ConnectError {
                    kind,
                    address: self.address(),
                    words: words(kind).to_owned(),
                    attempts,
                    elapsed: begun.elapsed(),
                    hint: hint(&source).map(Into::into),
                    source: Box::new(source),
                });
            }
            if !matches!(why, Unusable::Failed(Failure::Silent(_))) {
                sleep(PAUSE).await;
            }
        }
    }

    async fn attempt(&self) -> Result<Arc<Session>, (ConnectStage, Unusable)> {
        let connected = UnixStream::connect(&self.config.socket).await;
        let stream = connected.map_err(|error| {
            (ConnectStage::Refused, Unusable::Failed(Failure::Lost(format!("nobody listens at the channel: {error}"))))
        })?;
        let mut wire = Wire::new(stream);
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let begun = timeout(PATIENCE, async {
            wire.begin(number).await.map_err(|error| Failure::Lost(error.to_string()))?;
            wire.synchronised(number).await
        });
        match begun.await {
            Err(_) => return Err((ConnectStage::Silent, Unusable::Failed(Failure::Silent(PATIENCE)))),
            Ok(Err(failure @ Failure::Nonsense(_))) => {
                return Err((ConnectStage::OtherService, Unusable::Failed(failure)));
            }
            Ok(Err(failure)) => return Err((ConnectStage::ClosedAtOnce, Unusable::Failed(failure))),
            Ok(Ok(())) => {}
        }
        let unusable = |why| (ConnectStage::Session, why);
        let mut session = Session::begin(wire).await.map_err(unusable)?;
        session.scratch = script_run::scratch(&session).await.map_err(|failure| unusable(failure.into()))?;
        Ok(Arc::new(session))
    }

    /// Ends the session once; no other one is made afterwards.
    pub(super) async fn close(&self) {
        if !self.closed.swap(true, Ordering::AcqRel)
            && let Some(session) = self.present()
        {
            session.end();
            session.over().await;
        }
    }
}

fn words(stage: ConnectStage) -> &'static str {
    match stage {
        ConnectStage::Refused => "the machine has no channel to a guest agent",
        ConnectStage::Silent => "the guest agent does not answer",
        ConnectStage::OtherService => "something else than a guest agent answers",
        ConnectStage::ClosedAtOnce => "the machine closes the channel",
        _ => "the guest agent cannot be used",
    }
}

fn hint(why: &Unusable) -> Option<&'static str> {
    match why {
        Unusable::Disabled { .. } => Some(DISABLED_HINT),
        Unusable::Foreign { .. } => Some("use communicator = \"winrm\" or \"ssh\""),
        Unusable::Failed(_) => Some(SILENT_HINT),
    }
}
