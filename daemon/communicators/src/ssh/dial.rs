//! Opens the byte stream to the guest's SSH port: directly, through a SOCKS5 proxy or through a bastion.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::communicator::BoxFuture;
use crate::ssh::config::Socks5Proxy;
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
    Proxy(Socks5Proxy),
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
