//! Opens the byte stream to the guest's SSH port: directly, through a SOCKS5 proxy or through a bastion.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::ssh::config::{Socks5Proxy, address};
use crate::ssh::connection::Connection;
use crate::ssh::error::{ConnectFailure, Stage};
use crate::ssh::progress::AttemptFailure;
use crate::ssh::socks5;
use crate::ssh::stream::BoxedTransport;

/// Packer's limit for one TCP connect.
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// Knows the way to one SSH server.
pub(crate) struct Dialer {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) route: Route,
}

pub(crate) enum Route {
    Direct,
    Proxy(Socks5Proxy),
    Bastion(Arc<Connection>),
}

impl Dialer {
    /// Opens one stream. A proxy or bastion that is at fault itself makes a final failure.
    pub(crate) async fn dial(&self) -> Result<BoxedTransport, AttemptFailure> {
        match timeout(DIAL_TIMEOUT, self.dial_without_limit()).await {
            Ok(result) => result,
            Err(_) => {
                let failure = ConnectFailure::TimedOut { what: "connecting", after: DIAL_TIMEOUT };
                Err(AttemptFailure::new(Stage::NoAnswer, failure))
            }
        }
    }

    async fn dial_without_limit(&self) -> Result<BoxedTransport, AttemptFailure> {
        match &self.route {
            Route::Direct => Ok(Box::new(connect_tcp(&self.host, self.port).await?)),
            Route::Proxy(proxy) => {
                let tcp = connect_tcp(&proxy.host, proxy.port).await.map_err(|failure| {
                    // A proxy that is down may be starting; one that refuses us will go on doing so.
                    AttemptFailure::new(Stage::Proxy, failure.failure)
                })?;
                let mut stream: BoxedTransport = Box::new(tcp);
                match socks5::ask(&mut stream, proxy, &self.host, self.port).await {
                    Ok(socks5::Answer::Connected) => Ok(stream),
                    Ok(socks5::Answer::TargetFailed(error)) => Err(transport_failure(error)),
                    Err(failure @ ConnectFailure::Proxy { .. }) => Err(AttemptFailure::final_at(Stage::Proxy, failure)),
                    Err(failure) => Err(AttemptFailure::new(Stage::Proxy, failure)),
                }
            }
            Route::Bastion(bastion) => match bastion.open_direct(&self.host, self.port).await {
                Ok(channel) => Ok(Box::new(channel.into_stream())),
                Err(russh::Error::ChannelOpenFailure(russh::ChannelOpenFailure::ConnectFailed)) => {
                    Err(transport_failure(io::ErrorKind::ConnectionRefused.into()))
                }
                Err(error) => {
                    let is_final = matches!(&error, russh::Error::ChannelOpenFailure(_)) || bastion.is_closed();
                    let failure = ConnectFailure::Bastion {
                        address: bastion.address().to_owned(),
                        stage: Stage::Session,
                        source: Box::new(ConnectFailure::Ssh(error)),
                    };
                    Err(AttemptFailure { stage: Stage::Bastion, failure, is_final })
                }
            },
        }
    }
}

/// Connects to the first address of `host` that takes the connection.
pub(crate) async fn connect_tcp(host: &str, port: u16) -> Result<TcpStream, AttemptFailure> {
    let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => lookup_host((host, port)).await.map(Iterator::collect).map_err(|source| {
            AttemptFailure::new(Stage::Resolving, ConnectFailure::Resolve { host: host.to_owned(), source })
        })?,
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", address(host, port)));
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Every keystroke-sized packet of scp waits for an answer: Nagle would add 40 ms to each.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%address, %error, "cannot set TCP_NODELAY");
                }
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(transport_failure(last))
}

fn transport_failure(error: io::Error) -> AttemptFailure {
    let stage = match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Stage::Refused,
        io::ErrorKind::TimedOut => Stage::NoAnswer,
        _ => Stage::Unreachable,
    };
    AttemptFailure::new(stage, ConnectFailure::Transport(error))
}
