//! Opens the TCP connection to the guest, directly or through an HTTP proxy.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::config::{HttpProxy, WinRmConfig};
use super::error::{Attempt, Failure, Stage};
use crate::http_connect::{self, Refusal};

/// The limit for a host that is reached directly: another attempt asks sooner than the system repeats its own.
const DIRECT: Duration = Duration::from_secs(3);

/// The limit for the whole way through a proxy.
const THROUGH_PROXY: Duration = Duration::from_secs(15);

/// Opens a stream to the guest's port. What fails here has asked the guest nothing.
pub(crate) async fn dial(config: &WinRmConfig) -> Result<TcpStream, Attempt> {
    let (after, dialled) = match &config.proxy {
        None => (DIRECT, timeout(DIRECT, connect(&config.host, config.port)).await),
        Some(proxy) => (THROUGH_PROXY, timeout(THROUGH_PROXY, through(proxy, config)).await),
    };
    dialled.unwrap_or_else(|_| Err(late(config, after))).map_err(Attempt::unsent)
}

/// The failure of a way that took too long.
fn late(config: &WinRmConfig, after: Duration) -> Attempt {
    let (stage, what) = match config.proxy {
        None => (Stage::NoAnswer, "connecting"),
        Some(_) => (Stage::Proxy, "the way through the proxy"),
    };
    Attempt::new(stage, Failure::TimedOut { what, after })
}

async fn connect(host: &str, port: u16) -> Result<TcpStream, Attempt> {
    let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => lookup_host((host, port))
            .await
            .map(Iterator::collect)
            .map_err(|source| Attempt::new(Stage::Resolving, Failure::Resolve { host: host.to_owned(), source }))?,
    };
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are small and each waits for an answer.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%address, %error, "cannot set TCP_NODELAY");
                }
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    let stage = match last.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Stage::Refused,
        io::ErrorKind::TimedOut => Stage::NoAnswer,
        _ => Stage::Unreachable,
    };
    Err(Attempt::new(stage, Failure::Transport(last)))
}

/// Has the proxy pass the connection on. Also for HTTP: NTLM logs a connection in, which a proxy that reads along could give to others.
async fn through(proxy: &HttpProxy, config: &WinRmConfig) -> Result<TcpStream, Attempt> {
    let at_proxy = |failure| Attempt::new(Stage::Proxy, failure);
    let mut stream = connect(&proxy.host, proxy.port).await.map_err(|attempt| at_proxy(attempt.failure))?;
    let target = config.address();
    match http_connect::ask(&mut stream, &target, proxy.login.as_ref()).await {
        Ok(rest) if rest.is_empty() => Ok(stream),
        // The guest speaks only after us.
        Ok(_) => {
            let reason = format!("asked for {target} it said yes, and something after that");
            Err(at_proxy(Failure::Proxy { reason }))
        }
        Err(Refusal::Transport(error)) => Err(at_proxy(Failure::Transport(error))),
        Err(Refusal::Answer { reason, .. }) => Err(at_proxy(Failure::Proxy { reason })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_proxy_is_told_from_a_slow_guest() {
        let mut config = WinRmConfig::new("guest", "packer", "x".into());
        assert_eq!(late(&config, DIRECT).stage, Stage::NoAnswer);
        config.proxy = Some(HttpProxy { host: "proxy".to_owned(), port: 3128, login: None });
        assert_eq!(late(&config, THROUGH_PROXY).stage, Stage::Proxy);
    }
}
