//! The two halves of a QMP connection: one task writes whole lines, one sorts what comes in.

use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use super::message::{Event, Pending, lock};

/// The longest message accepted, in bytes. The largest real one, `query-qmp-schema`, has 207 kB.
const MAX_MESSAGE_BYTES: usize = 16 << 20;

/// Where incoming messages go.
pub(super) struct Incoming {
    pub(super) greeting: Option<oneshot::Sender<Value>>,
    pub(super) pending: Pending,
    pub(super) events: broadcast::Sender<Event>,
    pub(super) closed: watch::Sender<bool>,
}

/// Writes commands until there are no more or the other side is gone. A task of its own, so that no dropped future leaves half a command behind.
pub(super) async fn write(mut writer: OwnedWriteHalf, mut commands: mpsc::Receiver<Vec<u8>>) {
    while let Some(command) = commands.recv().await {
        if let Err(error) = writer.write_all(&command).await {
            tracing::debug!(%error, "QMP cannot be written");
            break;
        }
    }
}

/// Reads and sorts messages until the other side is gone.
pub(super) async fn read(reader: OwnedReadHalf, mut incoming: Incoming) {
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        match read_line(&mut reader, &mut line).await {
            Ok(true) => incoming.take(&line),
            Ok(false) => break,
            Err(error) => {
                tracing::debug!(%error, "QMP cannot be read");
                break;
            }
        }
    }
    incoming.greeting = None;
    incoming.closed.send_replace(true);
    lock(&incoming.pending).clear();
}

/// Appends bytes up to and including the next newline; `false` at the end.
async fn read_line(reader: &mut (impl AsyncBufRead + Unpin), line: &mut Vec<u8>) -> std::io::Result<bool> {
    loop {
        let buffer = reader.fill_buf().await?;
        if buffer.is_empty() {
            return Ok(!line.is_empty());
        }
        let end = buffer.iter().position(|&byte| byte == b'\n');
        let length = end.map_or(buffer.len(), |end| end + 1);
        if line.len() + length > MAX_MESSAGE_BYTES {
            let message = format!("a message of more than {MAX_MESSAGE_BYTES} bytes");
            return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, message));
        }
        line.extend_from_slice(&buffer[..length]);
        reader.consume(length);
        if end.is_some() {
            return Ok(true);
        }
    }
}

impl Incoming {
    fn take(&mut self, line: &[u8]) {
        if line.trim_ascii().is_empty() {
            return;
        }
        let message: Value = match serde_json::from_slice(line) {
            Ok(message) => message,
            Err(error) => {
                tracing::warn!(%error, bytes = line.len(), "QEMU sent something that is not JSON");
                return;
            }
        };
        if let Some(name) = message["event"].as_str() {
            tracing::debug!(event = name, "QEMU reports");
            // An error means that nobody listens.
            let _ = self.events.send(Event { name: name.to_owned(), data: message["data"].clone() });
        } else if message.get("QMP").is_some() {
            if let Some(greeting) = self.greeting.take() {
                let _ = greeting.send(message);
            }
        } else if let Some(waiting) = message["id"].as_str().and_then(|id| lock(&self.pending).remove(id)) {
            let reply = match (message.get("return"), message.get("error")) {
                (Some(value), _) => Ok(value.clone()),
                (None, Some(error)) => Err(error["desc"].as_str().unwrap_or("no reason given").to_owned()),
                (None, None) => Err("neither a result nor an error came back".to_owned()),
            };
            let _ = waiting.send(reply);
        } else {
            // The late answer to a command nobody waits for, or something newer than this program.
            tracing::debug!(bytes = line.len(), "QEMU sent something nobody asked for");
        }
    }
}
