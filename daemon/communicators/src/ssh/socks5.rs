//! Passes a SOCKS5 proxy: RFC 1928, and RFC 1929 for the password.

use std::io;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::ssh::config::Proxy;
use crate::ssh::error::ConnectFailure;
use crate::ssh::stream::BoxedTransport;

const VERSION: u8 = 5;
const METHOD_NONE: u8 = 0;
const METHOD_PASSWORD: u8 = 2;
const COMMAND_CONNECT: u8 = 1;
const ADDRESS_IPV4: u8 = 1;
const ADDRESS_NAME: u8 = 3;
const ADDRESS_IPV6: u8 = 4;

/// What the proxy's answer to CONNECT says about the target, RFC 1928 §6.
pub(crate) enum Answer {
    /// The target is connected.
    Connected,
    /// The proxy works; the target does not, for this reason.
    TargetFailed(io::Error),
}

/// Asks the proxy behind `stream` for a connection to `host:port`. The name is resolved by the proxy.
pub(crate) async fn ask(
    stream: &mut BoxedTransport,
    proxy: &Proxy,
    host: &str,
    port: u16,
) -> Result<Answer, ConnectFailure> {
    let methods: &[u8] = if proxy.credentials.is_some() { &[METHOD_NONE, METHOD_PASSWORD] } else { &[METHOD_NONE] };
    let mut hello = vec![VERSION, methods.len() as u8];
    hello.extend_from_slice(methods);
    stream.write_all(&hello).await.map_err(ConnectFailure::Transport)?;
    let [version, method] = read(stream).await?;
    if version != VERSION {
        return Err(refused("it does not speak SOCKS5"));
    }
    match (method, &proxy.credentials) {
        (METHOD_NONE, _) => {}
        (METHOD_PASSWORD, Some((user, password))) => log_in(stream, user, password.expose()).await?,
        _ => return Err(refused("it wants a user and password, or a method nobody knows")),
    }

    let mut request = vec![VERSION, COMMAND_CONNECT, 0];
    request.extend(target(host)?);
    request.extend(port.to_be_bytes());
    stream.write_all(&request).await.map_err(ConnectFailure::Transport)?;
    let [_version, reply, _reserved, kind] = read(stream).await?;
    // The address the proxy bound follows; nobody needs it, but it must not be taken for the banner.
    let length = match kind {
        ADDRESS_IPV4 => 4,
        ADDRESS_IPV6 => 16,
        ADDRESS_NAME => usize::from(read::<1>(stream).await?[0]),
        _ => return Err(refused("its answer makes no sense")),
    };
    let mut bound = vec![0; length + 2];
    stream.read_exact(&mut bound).await.map_err(ConnectFailure::Transport)?;
    Ok(match reply {
        0 => Answer::Connected,
        2 => return Err(refused("its rules do not allow this target")),
        3 => Answer::TargetFailed(io::ErrorKind::NetworkUnreachable.into()),
        4 => Answer::TargetFailed(io::ErrorKind::HostUnreachable.into()),
        5 => Answer::TargetFailed(io::ErrorKind::ConnectionRefused.into()),
        6 => Answer::TargetFailed(io::ErrorKind::TimedOut.into()),
        7 | 8 => return Err(refused("it does not support the request")),
        _ => Answer::TargetFailed(io::Error::other("the proxy reports a general failure")),
    })
}

async fn log_in(stream: &mut BoxedTransport, user: &str, password: &str) -> Result<(), ConnectFailure> {
    let too_long = |_| refused("user and password may have 255 bytes each");
    let mut request = vec![1, u8::try_from(user.len()).map_err(too_long)?];
    request.extend_from_slice(user.as_bytes());
    request.push(u8::try_from(password.len()).map_err(too_long)?);
    request.extend_from_slice(password.as_bytes());
    stream.write_all(&request).await.map_err(ConnectFailure::Transport)?;
    let [_version, status] = read(stream).await?;
    if status == 0 { Ok(()) } else { Err(refused("it rejects the user or the password")) }
}

fn target(host: &str) -> Result<Vec<u8>, ConnectFailure> {
    Ok(match host.parse() {
        Ok(std::net::IpAddr::V4(address)) => [&[ADDRESS_IPV4][..], &address.octets()].concat(),
        Ok(std::net::IpAddr::V6(address)) => [&[ADDRESS_IPV6][..], &address.octets()].concat(),
        Err(_) => {
            let length = u8::try_from(host.len()).map_err(|_| refused("host names may have 255 bytes"))?;
            [&[ADDRESS_NAME, length][..], host.as_bytes()].concat()
        }
    })
}

async fn read<const N: usize>(stream: &mut BoxedTransport) -> Result<[u8; N], ConnectFailure> {
    let mut bytes = [0; N];
    stream.read_exact(&mut bytes).await.map_err(ConnectFailure::Transport)?;
    Ok(bytes)
}

fn refused(reason: &str) -> ConnectFailure {
    ConnectFailure::Proxy { reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ssh::config::ProxyKind;

    #[tokio::test]
    async fn passes_with_a_password_and_by_name() {
        let (near, mut far) = tokio::io::duplex(1024);
        let proxy = Proxy {
            kind: ProxyKind::Socks5,
            host: "p".into(),
            port: 1080,
            credentials: Some(("me".into(), "secret".into())),
        };
        let server = tokio::spawn(async move {
            let mut hello = [0; 4];
            far.read_exact(&mut hello).await.unwrap();
            assert_eq!(hello, [5, 2, 0, 2]);
            far.write_all(&[5, 2]).await.unwrap();
            let mut login = [0; 11];
            far.read_exact(&mut login).await.unwrap();
            assert_eq!(&login, b"\x01\x02me\x06secret");
            far.write_all(&[1, 0]).await.unwrap();
            let mut request = [0; 12];
            far.read_exact(&mut request).await.unwrap();
            assert_eq!(&request, b"\x05\x01\x00\x03\x05guest\x00\x16");
            far.write_all(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x12\x34SSH-2.0").await.unwrap();
            far
        });
        let mut stream: BoxedTransport = Box::new(near);
        assert!(matches!(ask(&mut stream, &proxy, "guest", 22).await.unwrap(), Answer::Connected));
        let mut banner = [0; 7];
        stream.read_exact(&mut banner).await.unwrap();
        assert_eq!(&banner, b"SSH-2.0");
        server.await.unwrap();
    }
}
