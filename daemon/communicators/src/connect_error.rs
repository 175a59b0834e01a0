//! Why a guest could not be reached, and how far it got, whatever it was spoken to with.

use std::borrow::Cow;
use std::error::Error;
use std::time::Duration;

/// A connection that did not come about.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect to {address} after {attempts} attempts in {:.1} s: {words}", elapsed.as_secs_f64())]
pub struct ConnectError {
    /// How far the last attempt got: what to branch on.
    pub kind: ConnectStage,
    /// The guest, as `host:port`.
    pub address: String,
    /// The communicator's own words for how far the last attempt got, with what was tried and what the guest offers.
    pub words: String,
    /// Attempts made, whatever they came to.
    pub attempts: u32,
    /// How long it was tried.
    pub elapsed: Duration,
    /// What the user can look at.
    pub hint: Option<Cow<'static, str>>,
    /// What happened to the last attempt.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// How far connecting has come, or had come when it failed. From the settings to the first thing asked of the guest, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ConnectStage {
    /// A setting is wrong: nothing was tried.
    Configuration,
    /// The host name has no address.
    Resolving,
    /// Something on the way to the guest (a bastion, a proxy) could not be passed.
    Route,
    /// There is no way to the host.
    Unreachable,
    /// The guest is watched and has not been seen to have an address.
    NoAddress,
    /// The host does not answer.
    NoAnswer,
    /// The host refuses connections to the port.
    Refused,
    /// A forwarded port took the connection and closed it: the guest is up, its port is closed.
    ClosedAtOnce,
    /// The port is open but nothing is said: behind a forwarded port, a guest without an address.
    Silent,
    /// The port is open and something else answers than what was expected.
    OtherService,
    /// The right service is there and turns us away before it speaks.
    TurnedAway,
    /// The service answers; how to speak safely is being agreed on.
    Handshake,
    /// The service answers; there is nothing in common to speak safely with.
    Algorithms,
    /// The guest's proof of who it is is none.
    Identity,
    /// Logging in.
    Login,
    /// Logged in; what was asked for next was refused.
    Session,
}

impl ConnectStage {
    /// Whether nothing that runs in the guest has answered: what is known of the guest from elsewhere then says more than the error.
    #[must_use]
    pub fn is_unanswered(self) -> bool {
        matches!(self, Self::NoAddress | Self::NoAnswer | Self::Refused | Self::ClosedAtOnce | Self::Silent)
    }
}
