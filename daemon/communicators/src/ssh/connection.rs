//! One live SSH connection.

use std::sync::Arc;
use std::time::Duration;

use russh::client::{Handle, Msg};
use russh::{Channel, Disconnect};
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::ssh::handler::ClientHandler;
use crate::ssh::stream::SeverHandle;

/// How long closing channels may hold up the opening of a new one; a little more than their own limit.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(4);

/// How long the goodbye may take.
const GOODBYE_TIMEOUT: Duration = Duration::from_secs(1);

/// A connection that is logged in. Dropping the last reference closes its socket and ends its task.
pub(crate) struct Connection {
    handle: Handle<ClientHandler>,
    address: String,
    banner: String,
    ended: CancellationToken,
    closing: watch::Sender<usize>,
    sever: SeverHandle,
    /// The connection this one runs through.
    _bastion: Option<Arc<Self>>,
}

impl Connection {
    pub(crate) fn new(
        handle: Handle<ClientHandler>,
        address: String,
        banner: String,
        ended: CancellationToken,
        sever: SeverHandle,
        bastion: Option<Arc<Self>>,
    ) -> Self {
        Self { handle, address, banner, ended, closing: watch::Sender::new(0), sever, _bastion: bastion }
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    pub(crate) fn banner(&self) -> &str {
        &self.banner
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.ended.is_cancelled() || self.sever.is_severed() || self.handle.is_closed()
    }

    /// Resolves when the connection has ended.
    pub(crate) async fn ended(&self) {
        self.ended.cancelled().await;
    }

    /// Gives the connection up at once.
    pub(crate) fn sever(&self) {
        self.sever.sever();
    }

    /// Says goodbye, then gives the connection up.
    pub(crate) async fn close(&self) {
        let goodbye = async {
            if self.handle.disconnect(Disconnect::ByApplication, "done", "en").await.is_ok() {
                self.ended().await;
            }
        };
        // A guest that is powered off hears no goodbye.
        let _ = timeout(GOODBYE_TIMEOUT, goodbye).await;
        self.sever();
    }

    pub(crate) async fn open_session(&self) -> Result<Channel<Msg>, russh::Error> {
        self.wait_for_closing_channels().await;
        self.handle.channel_open_session().await
    }

    /// Opens a channel to a TCP port seen from the server.
    pub(crate) async fn open_direct(&self, host: &str, port: u16) -> Result<Channel<Msg>, russh::Error> {
        self.handle.channel_open_direct_tcpip(host, u32::from(port), "127.0.0.1", 0).await
    }

    /// Has the server listen on its loopback and hand connections to us.
    pub(crate) async fn listen_remotely(&self, port: u16) -> Result<(), russh::Error> {
        self.handle.tcpip_forward("localhost", u32::from(port)).await.map(|_chosen_port| ())
    }

    /// Waits until the server has answered to something sent now, and so has handled all that was sent before.
    pub(crate) async fn round_trip(&self) {
        // An error means the connection is gone.
        let _ = self.handle.send_ping().await;
    }

    /// Notes that a channel is being closed, until the guard is dropped.
    pub(crate) fn channel_closing(&self) -> ClosingGuard {
        self.closing.send_modify(|count| *count += 1);
        ClosingGuard(self.closing.clone())
    }

    async fn wait_for_closing_channels(&self) {
        let mut closing = self.closing.subscribe();
        // After the time-out the new channel takes its chance. The sender lives in self, so there is no other error.
        let _ = timeout(CLOSING_TIMEOUT, closing.wait_for(|count| *count == 0)).await;
    }
}

pub(crate) struct ClosingGuard(watch::Sender<usize>);

impl Drop for ClosingGuard {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}
