//! Opens the byte stream to the guest's SSH port: directly, through a SOCKS5 proxy or through a bastion.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use crate::ssh::config::Socks5Proxy;
use crate::ssh::connection::Connection;
use crate::ssh::error::{ConnectFailure, Stage};
use crate::ssh::progress::AttemptFailure;
use crate::ssh::socks5;
use crate::ssh::stream::BoxedTransport;
use crate::ssh::tcp::{connect_tcp, transport_failure};

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
