//! Opens the byte stream to the guest's SSH port: directly, through a proxy or through a bastion.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::communicator::BoxFuture;
use crate::http_connect::{self, Refusal};
use crate::secret::Secret;
use crate::ssh::config::{Proxy, ProxyKind, address};
use crate::ssh::connection::Connection;
use crate::ssh::error::{ConnectFailure, Stage};
use crate::ssh::progress::AttemptFailure;
use crate::ssh::socks5;
use crate::ssh::stream::BoxedTransport;
use crate::ssh::tcp::{connect_tcp, transport_failure};

/// Packer's limit for one TCP connect; here for the whole way through a proxy or a bastion.
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

/// The limit for a host that is reached directly, which costs one packet: another attempt asks sooner than the system repeats its own.
const DIRECT_DIAL_TIMEOUT: Duration = Duration::from_secs(3);

/// Opens streams to one server.
pub(crate) trait Dial: Send + Sync {
    /// Opens one stream. A proxy or bastion that is at fault itself makes a final failure.
    fn dial(&self) -> BoxFuture<'_, Result<BoxedTransport, AttemptFailure>>;
}

/// Knows the way to one SSH server.
pub(crate) struct Dialer {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) route: Route,
}

pub(crate) enum Route {
    Direct,
    Proxy(Proxy),
    Bastion(Arc<Connection>),
}

impl Dial for Dialer {
    fn dial(&self) -> BoxFuture<'_, Result<BoxedTransport, AttemptFailure>> {
        let after = if matches!(self.route, Route::Direct) { DIRECT_DIAL_TIMEOUT } else { DIAL_TIMEOUT };
        Box::pin(async move {
            match timeout(after, self.dial_without_limit()).await {
                Ok(result) => result,
                Err(_) => {
                    let failure = ConnectFailure::TimedOut { what: "connecting", after };
                    Err(AttemptFailure::new(Stage::NoAnswer, failure))
                }
            }
        })
    }
}

impl Dialer {
    async fn dial_without_limit(&self) -> Result<BoxedTransport, AttemptFailure> {
        match &self.route {
            Route::Direct => Ok(Box::new(connect_tcp(&self.host, self.port).await?)),
            Route::Proxy(proxy) => {
                let tcp = connect_tcp(&proxy.host, proxy.port).await.map_err(|failure| {
                    // A proxy that is down may be starting; one that refuses us will go on doing so.
                    AttemptFailure::new(Stage::Proxy, failure.failure)
                })?;
                match proxy.kind {
                    ProxyKind::Socks5 => self.through_socks5(tcp, proxy).await,
                    ProxyKind::Http => self.through_http(tcp, proxy).await,
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

    async fn through_socks5(&self, tcp: TcpStream, proxy: &Proxy) -> Result<BoxedTransport, AttemptFailure> {
        let mut stream: BoxedTransport = Box::new(tcp);
        match socks5::ask(&mut stream, proxy, &self.host, self.port).await {
            Ok(socks5::Answer::Connected) => Ok(stream),
            Ok(socks5::Answer::TargetFailed(error)) => Err(transport_failure(error)),
            Err(failure @ ConnectFailure::Proxy { .. }) => Err(AttemptFailure::final_at(Stage::Proxy, failure)),
            Err(failure) => Err(AttemptFailure::new(Stage::Proxy, failure)),
        }
    }

    async fn through_http(&self, mut tcp: TcpStream, proxy: &Proxy) -> Result<BoxedTransport, AttemptFailure> {
        let login =
            proxy.credentials.as_ref().map(|(user, password)| Secret::new(format!("{user}:{}", password.expose())));
        match http_connect::ask(&mut tcp, &address(&self.host, self.port), login.as_ref()).await {
            Ok(banner) if banner.is_empty() => Ok(Box::new(tcp)),
            // The guest speaks first.
            Ok(banner) => {
                let (read, write) = tokio::io::split(tcp);
                Ok(Box::new(tokio::io::join(io::Cursor::new(banner).chain(read), write)))
            }
            Err(Refusal::Transport(error)) => Err(AttemptFailure::new(Stage::Proxy, ConnectFailure::Transport(error))),
            Err(Refusal::Answer { status, reason }) => {
                let failure = ConnectFailure::Proxy { reason };
                Err(match status {
                    // The proxy works; the guest does not answer it yet.
                    Some(504) => AttemptFailure::new(Stage::NoAnswer, failure),
                    Some(404 | 500..=503) => AttemptFailure::new(Stage::Unreachable, failure),
                    Some(408 | 429) => AttemptFailure::new(Stage::Proxy, failure),
                    _ => AttemptFailure::final_at(Stage::Proxy, failure),
                })
            }
        }
    }
}
