//! Passes an HTTP proxy by CONNECT (RFC 9110, 9.3.6), whatever is spoken behind it.

use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::secret::Secret;

/// Longest answer of a proxy.
const MAX_ANSWER: usize = 16 << 10;

/// Longest part of an answer that is told.
const MAX_TOLD: usize = 200;

/// A proxy that has not opened the way.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The connection to the proxy failed.
    Transport(io::Error),
    /// It said something else than yes.
    Answer {
        /// The status of its answer, when it is HTTP.
        status: Option<u16>,
        /// What was asked for and what it said.
        reason: String,
    },
}

/// Asks the proxy behind `stream` for a connection to `target` (`host:port`), showing `login` (`user:password`). Returns what has come from the
/// other end already.
pub(crate) async fn ask(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    target: &str,
    login: Option<&Secret>,
) -> Result<Vec<u8>, Refusal> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n");
    if let Some(login) = login {
        request.push_str(&format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(login.expose())));
    }
    request.push_str("\r\n");
    stream.write_all(request.as_bytes()).await.map_err(Refusal::Transport)?;
    let mut answer = Vec::new();
    // What follows the head, as a page that says why not, may never end.
    while end_of_head(&answer).is_none() && answer.len() < MAX_ANSWER {
        if stream.read_buf(&mut answer).await.map_err(Refusal::Transport)? == 0 {
            break;
        }
    }
    let head = String::from_utf8_lossy(&answer);
    let line: String = head.lines().next().unwrap_or_default().trim().chars().take(MAX_TOLD).collect();
    let status = status_of(&line);
    match end_of_head(&answer) {
        Some(end) if status.is_some_and(|status| (200..300).contains(&status)) => Ok(answer.split_off(end)),
        Some(_) => Err(Refusal::Answer { status, reason: format!("asked for {target} it answered {line:?}") }),
        None => Err(Refusal::Answer { status, reason: format!("asked for {target} it said {line:?} and did not end") }),
    }
}

/// The status in the first line of an answer.
fn status_of(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("HTTP/1.")?.get(1..)?.strip_prefix(' ')?;
    rest.split(' ').next()?.parse().ok().filter(|status| (100..600).contains(status))
}

/// Where the head of an answer ends, when it does.
fn end_of_head(answer: &[u8]) -> Option<usize> {
    const END: &[u8] = b"\r\n\r\n";
    answer.windows(END.len()).position(|bytes| bytes == END).map(|at| at + END.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(answer: &'static [u8], login: Option<&str>) -> (Result<Vec<u8>, Refusal>, String) {
        let (mut near, mut far) = tokio::io::duplex(64 << 10);
        let proxy = tokio::spawn(async move {
            let mut request = Vec::new();
            while end_of_head(&request).is_none() {
                far.read_buf(&mut request).await.unwrap();
            }
            far.write_all(answer).await.unwrap();
            String::from_utf8(request).unwrap()
        });
        let asked = ask(&mut near, "[::1]:22", login.map(Secret::from).as_ref()).await;
        (asked, proxy.await.unwrap())
    }

    #[tokio::test]
    async fn what_the_other_end_says_first_is_not_lost() {
        let (open, request) =
            answered(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nSSH-2.0-x\r\n", None).await;
        assert_eq!(open.unwrap(), b"SSH-2.0-x\r\n");
        assert_eq!(request, "CONNECT [::1]:22 HTTP/1.1\r\nHost: [::1]:22\r\n\r\n");
        let (open, request) = answered(b"HTTP/1.0 299 OK\r\n\r\n", Some("me:secret")).await;
        assert_eq!(open.unwrap(), b"");
        assert!(request.contains("\r\nProxy-Authorization: Basic bWU6c2VjcmV0\r\n"), "{request}");
    }

    #[tokio::test]
    async fn a_no_is_told_as_the_proxy_says_it() {
        for (answer, status, words) in [
            (
                &b"HTTP/1.1 407 Who are you?\r\nConnection: keep-alive\r\n\r\n<h1>No</h1>"[..],
                Some(407),
                "407 Who are you?",
            ),
            (b"HTTP/1.1 2x0 OK\r\n\r\n", None, "2x0"),
            (b"HTTP/1.1 200 OK\r\n", Some(200), "did not end"),
            (b"SSH-2.0-x\r\n", None, "SSH-2.0-x"),
            (b"\x05\xff", None, "did not end"),
            (b"", None, "did not end"),
        ] {
            let (refused, _) = answered(answer, None).await;
            let Err(Refusal::Answer { status: told, reason }) = refused else { panic!("{refused:?}") };
            assert_eq!(told, status, "{reason}");
            assert!(reason.contains(words) && !reason.contains('\u{5}'), "{reason}");
        }
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_not_kept() {
        static LONG: [u8; 20 << 10] = [b'x'; 20 << 10];
        let (refused, _) = answered(&LONG, None).await;
        let Err(Refusal::Answer { reason, .. }) = refused else { panic!("{refused:?}") };
        assert!(reason.len() < 300, "{reason}");
    }
}
