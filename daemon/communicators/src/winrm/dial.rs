//! Opens the TCP connection to the guest, directly or through an HTTP proxy.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::config::{HttpProxy, WinRmConfig};
use super::error::{Attempt, Failure, Stage};

/// The limit for a host that is reached directly: another attempt asks sooner than the system repeats its own.
const DIRECT: Duration = Duration::from_secs(3);

/// The limit for the whole way through a proxy.
const THROUGH_PROXY: Duration = Duration::from_secs(15);

/// Longest answer of a proxy.
const MAX_PROXY_ANSWER: usize = 16 << 10;

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
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(login) = &proxy.login {
        request.push_str(&format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(login.expose())));
    }
    request.push_str("\r\n");
    let mut answer = Vec::new();
    let conversation = async {
        stream.write_all(request.as_bytes()).await?;
        // What follows the head, as a page that says why not, may never end.
        while end_of_head(&answer).is_none() && answer.len() < MAX_PROXY_ANSWER {
            if stream.read_buf(&mut answer).await? == 0 {
                break;
            }
        }
        Ok::<_, io::Error>(())
    };
    conversation.await.map_err(|error| at_proxy(Failure::Transport(error)))?;
    let head = String::from_utf8_lossy(&answer);
    let line: String = head.lines().next().unwrap_or_default().trim().chars().take(200).collect();
    let is_open = line.strip_prefix("HTTP/1.").is_some_and(|rest| rest.get(1..3) == Some(" 2"));
    let reason = match end_of_head(&answer) {
        Some(end) if is_open && end == answer.len() => return Ok(stream),
        // The guest speaks only after us.
        Some(_) if is_open => format!("asked for {target} it said {line:?}, and something after that"),
        None if is_open => format!("asked for {target} it said {line:?} and did not end"),
        _ => format!("asked for {target} it answered {line:?}"),
    };
    Err(at_proxy(Failure::Proxy { reason }))
}

/// Where the head of an answer ends, when it does.
fn end_of_head(answer: &[u8]) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    answer.windows(END.len()).position(|bytes| bytes == END).map(|at| at + END.len())
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

    #[test]
    fn a_head_ends_with_its_blank_line_whatever_follows() {
        assert_eq!(end_of_head(b"HTTP/1.1 407 no\r\n\r\n<h1>"), Some(19));
        assert_eq!(end_of_head(b"HTTP/1.1 200 OK\r\n\r"), None);
    }
}
