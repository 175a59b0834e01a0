//! A file that is open in the guest.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

use super::failure::Failure;
use super::session::{Session, decoded};
use super::wire::CHUNK;

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Read {
    buf_b64: Option<String>,
}

#[derive(Deserialize)]
struct Position {
    position: Option<u64>,
}

#[derive(Deserialize)]
struct Written {
    count: Option<u64>,
}

/// A file that is open in the guest; closed there when dropped.
pub(super) struct GuestFile {
    session: Arc<Session>,
    handle: i64,
    is_open: bool,
}

impl GuestFile {
    /// Opens a file by its absolute path. `mode` is that of C's `fopen`.
    pub(super) async fn open(session: &Arc<Session>, path: &str, mode: &str) -> Result<Self, Failure> {
        let handle = session.call("guest-file-open", json!({ "path": path, "mode": mode })).await?;
        Ok(Self { session: Arc::clone(session), handle, is_open: true })
    }

    /// Reads what comes next; nothing at the end, which may not stay where it is.
    pub(super) async fn read(&self) -> Result<Vec<u8>, Failure> {
        let read: Read = self.session.call("guest-file-read", json!({ "handle": self.handle, "count": CHUNK })).await?;
        let bytes = decoded(read.buf_b64.as_deref())?;
        if bytes.len() > CHUNK {
            return Err(Failure::Nonsense("more bytes than were asked for".to_owned()));
        }
        Ok(bytes)
    }

    /// The file's length. The next read begins at its start.
    pub(super) async fn length(&self) -> Result<u64, Failure> {
        let seek = async |whence: u8| {
            let request = json!({ "handle": self.handle, "offset": 0, "whence": whence });
            self.session.call::<Position>("guest-file-seek", request).await
        };
        // A file of the kernel's has no end.
        let end = seek(2).await?.position.unwrap_or(0);
        seek(0).await?;
        Ok(end)
    }

    /// Writes all of it; an error may come with a later call only.
    pub(super) async fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        for mut chunk in bytes.chunks(CHUNK) {
            while !chunk.is_empty() {
                let request = json!({ "handle": self.handle, "buf-b64": STANDARD.encode(chunk) });
                let written: Written = self.session.call("guest-file-write", request).await?;
                let written = written.count.and_then(|count| usize::try_from(count).ok());
                let written = written.filter(|&count| (1..=chunk.len()).contains(&count));
                let written = written.ok_or_else(|| Failure::Nonsense("a write of no length".to_owned()))?;
                chunk = &chunk[written..];
            }
        }
        Ok(())
    }

    /// Sees to it that everything is written, and closes the file.
    pub(super) async fn finish(mut self) -> Result<(), Failure> {
        // A close that fails tells less.
        self.session.order("guest-file-flush", json!({ "handle": self.handle })).await?;
        self.is_open = false;
        self.session.order("guest-file-close", json!({ "handle": self.handle })).await
    }

    /// Closes a file that was read.
    pub(super) async fn close(mut self) -> Result<(), Failure> {
        self.is_open = false;
        self.session.order("guest-file-close", json!({ "handle": self.handle })).await
    }
}

impl Drop for GuestFile {
    fn drop(&mut self) {
        if !self.is_open || self.session.is_over() {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (session, handle) = (Arc::clone(&self.session), self.handle);
        runtime.spawn(async move {
            // An error means that it is closed already, or nobody is there.
            let _ = session.order("guest-file-close", json!({ "handle": handle })).await;
        });
    }
}
