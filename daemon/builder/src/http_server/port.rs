//! Finding a port by really listening on it.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::Serialize;
use tokio::net::{TcpListener, TcpSocket};

use super::error::HttpServerError;

/// A family of addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum AddressFamily {
    /// Either.
    #[default]
    Any,
    /// IPv4 alone.
    V4,
    /// IPv6 alone.
    V6,
}

impl AddressFamily {
    /// The loopback address.
    pub(crate) const fn localhost(self) -> IpAddr {
        match self {
            Self::Any | Self::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        }
    }
}

/// Listens on a free port. All ports of the range are tried, from a random one on, so that builds that start together do not
/// get in each other's way.
pub(super) async fn listen(
    bind: &str,
    family: AddressFamily,
    min: u16,
    max: u16,
) -> Result<TcpListener, HttpServerError> {
    let address = match bind {
        "localhost" => family.localhost(),
        _ => bind
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse()
            .map_err(|_| HttpServerError::Address { bind: bind.to_owned() })?,
    };
    if min > max {
        return Err(HttpServerError::PortRange { min, max });
    }
    let count = u64::from(max - min) + 1;
    // The standard library's own seed of hash tables is random enough, and saves a crate.
    let first = RandomState::new().hash_one(min) % count;
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for step in 0..count {
        let port = min + ((first + step) % count) as u16;
        match listen_on(address, family, port) {
            Ok(listener) => return Ok(listener),
            // Taken, or below 1024 without the right to it: another port may do.
            Err(error) if matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::PermissionDenied) => {
                last = error;
            }
            Err(source) => return Err(HttpServerError::Listen { address, source }),
        }
    }
    Err(HttpServerError::NoPort { address, min, max, source: last })
}

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

fn listen_on(address: IpAddr, family: AddressFamily, port: u16) -> io::Result<TcpListener> {
    let socket = if address.is_ipv6() { TcpSocket::new_v6()? } else { TcpSocket::new_v4()? };
    socket.set_reuseaddr(true)?;
    if address.is_ipv6() && family == AddressFamily::V6 {
        // Otherwise the address that stands for all would stand for those of IPv4, too.
        rustix::net::sockopt::set_ipv6_v6only(&socket, true)?;
    }
    socket.bind(SocketAddr::new(address, port))?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn one_family_is_listened_on_alone() {
        let reached = async |bind: &str, family: AddressFamily| {
            let listener = listen(bind, family, 20_000, 40_000).await.unwrap();
            let port = listener.local_addr().unwrap().port();
            [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)]
                .map(|address| TcpStream::connect((address, port)).is_ok())
        };
        for (bind, family, wanted) in [
            ("0.0.0.0", AddressFamily::V4, [true, false]),
            ("::", AddressFamily::Any, [true, true]),
            ("::", AddressFamily::V6, [false, true]),
            ("localhost", AddressFamily::Any, [true, false]),
            ("localhost", AddressFamily::V4, [true, false]),
            ("localhost", AddressFamily::V6, [false, true]),
        ] {
            assert_eq!(reached(bind, family).await, wanted, "{bind} {family:?}");
        }
    }
}
