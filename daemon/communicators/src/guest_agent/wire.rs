//! The agent's protocol: a JSON object to a line, each way. <https://qemu-project.gitlab.io/qemu/interop/qemu-ga-ref.html>
//!
//! Answers carry no number, so they are taken in the order of the requests; `guest-sync-delimited` is how both sides agree on where they are
//! after something went wrong: the agent forgets what it has half read, and its answer begins with a byte that no JSON has.

use std::io;

use bytes::{Buf, BytesMut};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::failure::Failure;

/// The longest answer to most requests, and to the one that begins a session: `guest-info` has some thousand bytes.
pub(super) const SHORT: usize = 64 << 10;

/// Bytes of a file in one request or answer.
pub(super) const CHUNK: usize = 256 << 10;

/// The longest answer at all. The agent itself keeps 16 MiB of a program's output, which is a third more in base64.
pub(super) const LONGEST: usize = 24 << 20;

/// What an agent may say before it answers to the request that begins a session.
const MAX_STALE: usize = 64 << 20;

/// Begins a session, on both sides: no byte of UTF-8.
const DELIMITER: u8 = 0xFF;

/// The bytes between us and an agent.
pub(super) struct Wire<S> {
    stream: S,
    unread: BytesMut,
    /// How much of `unread` is known to have no end of line.
    searched: usize,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, unread: BytesMut::new(), searched: 0 }
    }

    /// Asks to agree on where we are; [`Self::synchronised`] waits for the answer.
    pub(super) async fn begin(&mut self, number: u32) -> io::Result<()> {
        let mut request = vec![DELIMITER];
        request.extend(request_line("guest-sync-delimited", &json!({ "id": number })));
        self.stream.write_all(&request).await
    }

    /// Reads over whatever comes until the answer to [`Self::begin`] with `number`.
    pub(super) async fn synchronised(&mut self, number: u32) -> Result<(), Failure> {
        let mut stale = 0;
        loop {
            let line = match self.line(SHORT).await {
                // An answer to whoever was here before may be long. Nothing of it is kept.
                Err(Failure::Nonsense(_)) => self.without_what_is_stale(),
                line => line?,
            };
            stale += line.len();
            if stale > MAX_STALE {
                return Err(Failure::Nonsense("it talks and talks, and never answers".to_owned()));
            }
            let start = line.iter().rposition(|&byte| byte == DELIMITER).map_or(0, |at| at + 1);
            let answer = serde_json::from_slice::<Answer<u32>>(&line[start..]);
            if answer.is_ok_and(|answer| answer.returned == Some(number)) {
                return Ok(());
            }
        }
    }

    /// Takes what was read of a line that is too long, but for what may be the beginning of an answer to [`Self::begin`].
    fn without_what_is_stale(&mut self) -> BytesMut {
        let mut line = std::mem::take(&mut self.unread);
        self.searched = 0;
        if let Some(at) = line.iter().rposition(|&byte| byte == DELIMITER).filter(|&at| line.len() - at < SHORT / 2) {
            self.unread = line.split_off(at);
        }
        line
    }

    /// Sends a request and returns what the agent answers, in at most so many bytes: a line for [`returned`].
    pub(super) async fn ask(&mut self, request: &[u8], most: usize) -> Result<BytesMut, Failure> {
        self.stream.write_all(request).await.map_err(lost)?;
        let line = self.line(most).await?;
        // Nothing of it is kept meanwhile: a few bytes of JSON can become many of a tree.
        returned::<IgnoredAny>(&line)?;
        Ok(line)
    }

    /// Reads a line that is not empty, without its end, and not longer than that.
    async fn line(&mut self, most: usize) -> Result<BytesMut, Failure> {
        loop {
            if let Some(found) = self.unread[self.searched..].iter().position(|&byte| byte == b'\n') {
                let line = self.unread.split_to(self.searched + found);
                self.unread.advance(1);
                self.searched = 0;
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                return Ok(line);
            }
            self.searched = self.unread.len();
            if self.searched > most {
                return Err(Failure::Nonsense("its answer does not end".to_owned()));
            }
            self.unread.reserve(64 << 10);
            if self.stream.read_buf(&mut self.unread).await.map_err(lost)? == 0 {
                return Err(Failure::Lost("the machine has closed the channel".to_owned()));
            }
        }
    }
}

/// What an agent says to a request.
#[derive(Deserialize)]
struct Answer<T> {
    #[serde(rename = "return")]
    returned: Option<T>,
    error: Option<Refusal>,
}

#[derive(Deserialize)]
struct Refusal {
    desc: Option<String>,
}

/// Reads an answer.
pub(super) fn returned<T: DeserializeOwned>(line: &[u8]) -> Result<T, Failure> {
    let shown = || String::from_utf8_lossy(&line[..line.len().min(80)]).into_owned();
    let answer: Answer<T> =
        serde_json::from_slice(line).map_err(|error| Failure::Nonsense(format!("{:?}: {error}", shown())))?;
    if let Some(error) = answer.error {
        return Err(Failure::refused(error.desc.as_deref().unwrap_or("it does not say why")));
    }
    answer.returned.ok_or_else(|| Failure::Nonsense(format!("{:?} is no answer", shown())))
}

fn lost(error: io::Error) -> Failure {
    Failure::Lost(error.to_string())
}

/// A request as it is sent.
pub(super) fn request_line(command: &str, arguments: &Value) -> Vec<u8> {
    let mut line = json!({ "execute": command, "arguments": arguments }).to_string().into_bytes();
    line.push(b'\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn said(bytes: &[u8]) -> (Wire<tokio::io::DuplexStream>, tokio::io::DuplexStream) {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        far.write_all(bytes).await.unwrap();
        (Wire::new(near), far)
    }

    #[tokio::test]
    async fn what_was_left_over_is_read_over() {
        let left = b"{\"return\": 6}\n\n\"half of\xFF{\"return\": 7}\n{\"return\": {\"a\": 1}}\n";
        let (mut wire, _far) = said(left).await;
        wire.begin(7).await.unwrap();
        wire.synchronised(7).await.unwrap();
        let line = wire.ask(b"\n", SHORT).await.unwrap();
        assert_eq!(returned::<Value>(&line).unwrap(), json!({ "a": 1 }));
    }

    #[tokio::test]
    async fn answers_that_make_no_sense_are_told() {
        for (answer, words) in [
            (&b"7\n"[..], "invalid type"),
            (b"{}\n", "no answer"),
            (b"{\"return\":\n", "EOF"),
            (b"\xFE\n", "expected value"),
            (b"{\"error\": 3}\n", "invalid type"),
            (b"{\"error\": {}}\n", "does not say why"),
            (b"{\"error\": {\"class\": \"GenericError\", \"desc\": \"no\\u001b such\"}}\n", "no  such"),
        ] {
            let (mut wire, _far) = said(answer).await;
            let failure = wire.ask(b"\n", SHORT).await.unwrap_err();
            assert!(failure.to_string().contains(words), "{failure}");
        }
    }

    #[tokio::test]
    async fn an_answer_without_an_end_is_not_kept_for_ever() {
        let (near, mut far) = tokio::io::duplex(1 << 20);
        let flood = tokio::spawn(async move {
            let piece = vec![b'x'; 1 << 20];
            while far.write_all(&piece).await.is_ok() {}
        });
        let mut wire = Wire::new(near);
        let failure = wire.ask(b"", SHORT).await.unwrap_err();
        assert!(matches!(&failure, Failure::Nonsense(what) if what.contains("does not end")), "{failure}");
        assert!(wire.unread.len() < 3 * SHORT, "{} bytes were taken", wire.unread.len());
        drop(wire);
        flood.await.unwrap();
    }

    #[tokio::test]
    async fn a_long_answer_to_somebody_else_is_not_kept() {
        let (near, mut far) = tokio::io::duplex(1 << 16);
        let talking = tokio::spawn(async move {
            far.write_all(b"{\"return\": [0").await.unwrap();
            for _ in 0..1000 {
                far.write_all(&b",0".repeat(2000)).await.unwrap();
            }
            far.write_all(b"]}\n\xFF{\"return\": 7}\n").await.unwrap();
            far
        });
        let mut wire = Wire::new(near);
        wire.begin(7).await.unwrap();
        wire.synchronised(7).await.unwrap();
        assert!(wire.unread.capacity() < 1 << 20, "{} bytes are held", wire.unread.capacity());
        drop(talking.await.unwrap());
    }

    #[test]
    fn an_answer_is_of_its_kind_or_none() {
        #[derive(Debug, Deserialize)]
        struct Number {
            _pid: Option<i64>,
        }
        for answer in ["{\"return\": [[0]]}", "{\"return\": \"x\"}", "{\"return\": {\"_pid\": \"one\"}}"] {
            let failure = returned::<Number>(answer.as_bytes()).unwrap_err();
            assert!(matches!(&failure, Failure::Nonsense(what) if what.contains("invalid type")), "{failure}");
        }
        assert!(returned::<Number>(b"{\"return\": {\"more\": [[0]]}}").is_ok());
    }
}
