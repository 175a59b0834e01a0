//! What the server may ask of us: its host key, forwarded ports, the agent.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use russh::client::{ChannelOpenHandle, DisconnectReason, Handler, Msg, Session};
use russh::keys::{HashAlg, PublicKeyOrCertificate};
use russh::{Channel, ChannelOpenFailure};
use tokio::net::UnixStream;
use tokio_util::sync::DropGuard;

use crate::observer::{ConnectEvent, ConnectObserver};
use crate::ssh::config::Tunnel;
use crate::ssh::host_keys::HostKeyMemory;
use crate::ssh::relay::relay;
use crate::ssh::tcp::connect_tcp;

/// How long the near end of a forwarded port or agent may take to connect.
const NEAR_END_TIMEOUT: Duration = Duration::from_secs(15);

/// The longest pre-login message shown.
const MAX_BANNER: usize = 2048;

pub(crate) struct ClientHandler {
    pub(crate) address: String,
    pub(crate) observer: Arc<dyn ConnectObserver>,
    pub(crate) host_keys: HostKeyMemory,
    /// The agent commands in the guest may use.
    pub(crate) forwarded_agent: Option<PathBuf>,
    pub(crate) remote_tunnels: Vec<Tunnel>,
    /// Tells the connection's owner that russh's task, which owns this handler, has ended.
    pub(crate) _ended: DropGuard,
}

impl Handler for ClientHandler {
    type Error = russh::Error;

    async fn check_server_key(&mut self, key: &PublicKeyOrCertificate) -> Result<bool, Self::Error> {
        let fingerprint = key.public_key().fingerprint(HashAlg::Sha256).to_string();
        let previous = self.host_keys.record(&self.address, &fingerprint);
        if previous.as_ref() != Some(&fingerprint) {
            let address = self.address.clone();
            self.observer.event(&ConnectEvent::Identity { what: "host key", address, fingerprint, previous });
        }
        Ok(true)
    }

    async fn auth_banner(&mut self, banner: &str, _session: &mut Session) -> Result<(), Self::Error> {
        let shown = |c: &char| *c == '\n' || *c == '\t' || !c.is_control();
        let text: String = banner.chars().filter(shown).take(MAX_BANNER).collect();
        self.observer.event(&ConnectEvent::Banner(text.trim_end().to_owned()));
        Ok(())
    }

    async fn server_channel_open_forwarded_tcpip(
        &mut self,
        channel: Channel<Msg>,
        _connected_address: &str,
        connected_port: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let known = |tunnel: &&Tunnel| u32::from(tunnel.listen_port) == connected_port;
        let Some(tunnel) = self.remote_tunnels.iter().find(known).cloned() else {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        };
        // Connecting takes its time and must not hold the connection up. The task ends with the channel, and the channel
        // with the connection.
        tokio::spawn(async move {
            let target = connect_tcp(&tunnel.target_host, tunnel.target_port);
            match tokio::time::timeout(NEAR_END_TIMEOUT, target).await {
                Ok(Ok(stream)) => {
                    reply.accept().await;
                    let (mut read, write) = channel.split();
                    relay(&mut read, &write, stream).await;
                    // An error means the connection is gone, and the channel with it.
                    let _ = write.close().await;
                }
                _ => reply.reject(ChannelOpenFailure::ConnectFailed).await,
            }
        });
        Ok(())
    }

    async fn server_channel_open_agent_forward(
        &mut self,
        channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        let Some(socket) = self.forwarded_agent.clone() else {
            reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
            return Ok(());
        };
        tokio::spawn(async move {
            match tokio::time::timeout(NEAR_END_TIMEOUT, UnixStream::connect(&socket)).await {
                Ok(Ok(stream)) => {
                    reply.accept().await;
                    let (mut read, write) = channel.split();
                    relay(&mut read, &write, stream).await;
                    let _ = write.close().await;
                }
                _ => reply.reject(ChannelOpenFailure::ConnectFailed).await,
            }
        });
        Ok(())
    }

    async fn server_channel_open_forwarded_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _socket_path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        refuse(reply).await
    }

    async fn server_channel_open_session(
        &mut self,
        _channel: Channel<Msg>,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        refuse(reply).await
    }

    async fn server_channel_open_direct_tcpip(
        &mut self,
        _channel: Channel<Msg>,
        _host_to_connect: &str,
        _port_to_connect: u32,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        refuse(reply).await
    }

    async fn server_channel_open_direct_streamlocal(
        &mut self,
        _channel: Channel<Msg>,
        _socket_path: &str,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        refuse(reply).await
    }

    async fn server_channel_open_x11(
        &mut self,
        _channel: Channel<Msg>,
        _originator_address: &str,
        _originator_port: u32,
        reply: ChannelOpenHandle,
        _session: &mut Session,
    ) -> Result<(), Self::Error> {
        refuse(reply).await
    }

    async fn disconnected(&mut self, reason: DisconnectReason<Self::Error>) -> Result<(), Self::Error> {
        tracing::debug!(address = %self.address, ?reason, "ssh connection ended");
        Ok(())
    }
}

/// A guest has no business opening such a channel towards us; russh accepts them all unless told otherwise.
async fn refuse(reply: ChannelOpenHandle) -> Result<(), russh::Error> {
    reply.reject(ChannelOpenFailure::AdministrativelyProhibited).await;
    Ok(())
}
