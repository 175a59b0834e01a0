//! Finding a port by really listening on it.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::IpAddr;

use tokio::net::TcpListener;

use super::error::HttpServerError;

/// Listens on a free port. All ports of the range are tried, from a random one on, so that builds that start together do not
/// get in each other's way.
pub(super) async fn listen(bind: &str, min: u16, max: u16) -> Result<TcpListener, HttpServerError> {
    let address = match bind {
        "localhost" => IpAddr::from([127, 0, 0, 1]),
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
        match TcpListener::bind((address, port)).await {
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
