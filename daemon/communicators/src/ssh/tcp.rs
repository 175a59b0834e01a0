//! Opens TCP connections.

use std::io;
use std::net::{IpAddr, SocketAddr};

use tokio::net::{TcpStream, lookup_host};

use crate::ssh::config::address;
use crate::ssh::error::{ConnectFailure, Stage};
use crate::ssh::progress::AttemptFailure;

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

/// Says which stage a failed connect has reached.
pub(crate) fn transport_failure(error: io::Error) -> AttemptFailure {
    let stage = match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionReset => Stage::Refused,
        io::ErrorKind::TimedOut => Stage::NoAnswer,
        _ => Stage::Unreachable,
    };
    AttemptFailure::new(stage, ConnectFailure::Transport(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_port_a_silent_host_and_no_way_there_are_told_apart() {
        for (kind, stage) in [
            (io::ErrorKind::ConnectionRefused, Stage::Refused),
            (io::ErrorKind::TimedOut, Stage::NoAnswer),
            (io::ErrorKind::HostUnreachable, Stage::Unreachable),
            (io::ErrorKind::NetworkUnreachable, Stage::Unreachable),
        ] {
            let failure = transport_failure(kind.into());
            assert_eq!((failure.stage, failure.is_final), (stage, false), "{kind:?}");
        }
    }
}
