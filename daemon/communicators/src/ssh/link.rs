//! The way to one guest: a connection that is made anew when it is lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout, timeout_at};

use crate::error::CommunicatorError;
use crate::observer::{ConnectEvent, Reconnecting};
use crate::ssh::channel::SessionChannel;
use crate::ssh::config::SshConfig;
use crate::ssh::connect::ConnectPlan;
use crate::ssh::connection::Connection;

/// How long the guest may take to open a session. An emulated guest starts a process for it.
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a lost guest is waited for where connecting has no limit of its own: with `ssh_handshake_attempts` alone, which a guest
/// that is silent never uses up.
const RECONNECT_TIMEOUT: Duration = Duration::from_mins(5);

/// The longest that a lost guest is waited for unless somebody asks for [another time](crate::Communicator::until): the time for the first
/// connection is that of a whole installation, and to come back takes a boot.
const LONGEST_RECONNECT: Duration = Duration::from_mins(15);

/// A guest's address, settings and present connection.
pub(crate) struct Link {
    plan: Arc<ConnectPlan>,
    current: Mutex<Arc<Connection>>,
    /// Held while connecting again, so that several calls make one connection.
    reconnecting: tokio::sync::Mutex<()>,
    closed: AtomicBool,
}

impl Link {
    pub(crate) fn new(plan: Arc<ConnectPlan>, connection: Arc<Connection>) -> Self {
        Self {
            plan,
            current: Mutex::new(connection),
            reconnecting: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn config(&self) -> &SshConfig {
        &self.plan.config
    }

    /// Tells the observer something.
    pub(crate) fn tell(&self, event: &ConnectEvent) {
        self.plan.observer.event(event);
    }

    pub(crate) fn address(&self) -> String {
        self.plan.config.address()
    }

    /// Returns the connection as it is, lost or not.
    pub(crate) fn present(&self) -> Arc<Connection> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the connection if it lives.
    pub(crate) fn live_connection(&self) -> Option<Arc<Connection>> {
        Some(self.present()).filter(|connection| !connection.is_closed())
    }

    fn check_open(&self) -> Result<(), CommunicatorError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(CommunicatorError::Closed { host: self.address() });
        }
        Ok(())
    }

    /// Returns the connection, made anew by `until` if it is lost; without it, in the time that [`patience`] gives.
    async fn connection(&self, until: Option<Instant>) -> Result<Arc<Connection>, CommunicatorError> {
        self.check_open()?;
        if let Some(connection) = self.live_connection() {
            return Ok(connection);
        }
        let begun = Instant::now();
        let deadline = until.unwrap_or_else(|| begun + patience(self.plan.config.timeout));
        let _one_at_a_time =
            timeout_at(deadline, self.reconnecting.lock()).await.map_err(|_| CommunicatorError::TimedOut {
                host: self.address(),
                operation: "connecting again".to_owned(),
                after: begun.elapsed(),
            })?;
        self.check_open()?;
        if let Some(connection) = self.live_connection() {
            return Ok(connection);
        }
        let limit = deadline.saturating_duration_since(Instant::now());
        let _told = Reconnecting::begin(&*self.plan.observer, self.address(), Some(limit));
        let made = self.plan.establish(Some(deadline), true).await;
        let connection = made
            .map_err(|source| CommunicatorError::Reconnect { host: self.address(), source: Box::new(source.into()) })?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&connection);
        Ok(connection)
    }

    /// Opens a session; a connection that turns out to be lost is made anew once, by `until` if that is given.
    pub(crate) async fn open_session(&self, until: Option<Instant>) -> Result<SessionChannel, CommunicatorError> {
        let mut last = None;
        for _ in 0..2 {
            let time_is_up = until.is_some_and(|until| until <= Instant::now());
            if let Some(last) = last.take_if(|_| time_is_up) {
                return Err(last);
            }
            let connection = self.connection(until).await?;
            match timeout(SESSION_TIMEOUT, connection.open_session()).await {
                Ok(Ok(channel)) => return Ok(SessionChannel::new(connection, channel)),
                Ok(Err(russh::Error::ChannelOpenFailure(reason))) => {
                    return Err(CommunicatorError::Refused {
                        host: self.address(),
                        operation: "a session".to_owned(),
                        reason: reason.description().to_lowercase(),
                    });
                }
                Ok(Err(_)) => {
                    connection.sever();
                    last = Some(CommunicatorError::Disconnected {
                        host: self.address(),
                        operation: "the opening of a session".to_owned(),
                    });
                }
                Err(_) => {
                    connection.sever();
                    last = Some(CommunicatorError::TimedOut {
                        host: self.address(),
                        operation: "the opening of a session".to_owned(),
                        after: SESSION_TIMEOUT,
                    });
                }
            }
        }
        Err(last.expect("the loop ran"))
    }

    /// Says goodbye once; nothing connects again afterwards.
    pub(crate) async fn close(&self) {
        if !self.closed.swap(true, Ordering::AcqRel) {
            self.present().close().await;
        }
    }
}

/// How long a lost guest is waited for by default: as long as for the first connection, but no longer than a boot takes.
fn patience(timeout: Option<Duration>) -> Duration {
    timeout.unwrap_or(RECONNECT_TIMEOUT).min(LONGEST_RECONNECT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_lost_guest_is_waited_for_without_a_limit() {
        assert_eq!(patience(Some(Duration::from_secs(70))), Duration::from_secs(70));
        assert_eq!(patience(Some(Duration::from_secs(7200))), Duration::from_secs(900), "an installation's time");
        assert_eq!(patience(None), Duration::from_secs(300));
    }
}
