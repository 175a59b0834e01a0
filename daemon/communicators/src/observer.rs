//! What a connection tells while it comes about and lives.

use std::time::Duration;

use crate::connect_error::ConnectStage;

/// Hears what happens. Called on the connection's path: it must not block.
pub trait ConnectObserver: Send + Sync {
    /// Takes one event.
    fn event(&self, event: &ConnectEvent);
}

/// One thing that happened to a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConnectEvent {
    /// Connecting has come to another stage, or failed at another one than before. Sent on changes only.
    Stage {
        /// How far it has come.
        stage: ConnectStage,
        /// The communicator's own words for it.
        words: String,
    },
    /// The guest has shown who it is for the first time at this address, or for the first time since another was seen.
    Identity {
        /// What it shows: `host key`, `certificate`.
        what: &'static str,
        /// `host:port`.
        address: String,
        /// `SHA256:…`.
        fingerprint: String,
        /// The fingerprint seen there before, when it differs: another system answers now, such as the
        /// installed one after the installer.
        previous: Option<String>,
    },
    /// The server's message before login.
    Banner(String),
    /// A login was rejected.
    Rejected {
        /// How many logins have been rejected so far.
        attempt: u32,
        /// Methods tried, in order.
        tried: Vec<String>,
        /// Methods the server offers.
        offered: Vec<String>,
    },
    /// Logged in.
    Connected {
        /// `host:port`.
        address: String,
        /// How long it took.
        elapsed: Duration,
        /// The server's software, as it calls itself.
        server: String,
    },
    /// The connection is lost; a call is making it anew.
    Reconnecting {
        /// `host:port`.
        address: String,
        /// How long that may take.
        limit: Option<Duration>,
    },
    /// It is made anew, or that was given up.
    ReconnectEnded,
    /// Something the user may want to know: files go another way than configured, a terminal was refused.
    Note(String),
}

/// A lost connection that is being made anew: its observer hears of the end, however it comes.
pub(crate) struct Reconnecting<'a>(&'a dyn ConnectObserver);

impl<'a> Reconnecting<'a> {
    pub(crate) fn begin(observer: &'a dyn ConnectObserver, address: String, limit: Option<Duration>) -> Self {
        observer.event(&ConnectEvent::Reconnecting { address, limit });
        Self(observer)
    }
}

impl Drop for Reconnecting<'_> {
    fn drop(&mut self) {
        self.0.event(&ConnectEvent::ReconnectEnded);
    }
}

/// Hears nothing.
#[derive(Debug, Clone, Copy)]
pub struct SilentObserver;

impl ConnectObserver for SilentObserver {
    fn event(&self, _event: &ConnectEvent) {}
}
