//! A file that is open in the guest.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::failure::Failure;
use super::session::{Session, decoded};

/// Bytes in one request or answer.
pub(super) const CHUNK: usize = 256 << 10;

/// A file that is open in the guest; closed there when dropped.
pub(super) struct GuestFile {
    session: Arc<Session>,
    handle: i64,
    is_open: bool,
}

impl GuestFile {
    /// Opens a file by its absolute path. `mode` is that of C's `fopen`.
    pub(super) async fn open(session: &Arc<Session>, path: &str, mode: &str) -> Result<Self, Failure> {
        let opened = session.call("guest-file-open", json!({ "path": path, "mode": mode })).await?;
        let handle = opened.as_i64().ok_or_else(|| Failure::Nonsense("a file without a number".to_owned()))?;
        Ok(Self { session: Arc::clone(session), handle, is_open: true })
    }

    /// Reads what comes next; nothing at the end, which may not stay where it is.
    pub(super) async fn read(&self) -> Result<Vec<u8>, Failure> {
        let answer = self.session.call("guest-file-read", json!({ "handle": self.handle, "count": CHUNK })).await?;
        let bytes = decoded(&answer["buf-b64"])?;
        if bytes.len() > CHUNK {
            return Err(Failure::Nonsense("more bytes than were asked for".to_owned()));
        }
        Ok(bytes)
    }

    /// The file's length. The next read begins at its start.
    pub(super) async fn length(&self) -> Result<u64, Failure> {
        let seek = async |whence: u8| {
            let request = json!({ "handle": self.handle, "offset": 0, "whence": whence });
            self.session.call("guest-file-seek", request).await
        };
        let end = seek(2).await?["position"].as_u64().unwrap_or(0);
        seek(0).await?;
        Ok(end)
    }

    /// Writes all of it; an error may come with a later call only.
    pub(super) async fn write(&self, bytes: &[u8]) -> Result<(), Failure> {
        for mut chunk in bytes.chunks(CHUNK) {
            while !chunk.is_empty() {
                let request = json!({ "handle": self.handle, "buf-b64": STANDARD.encode(chunk) });
                let answer = self.session.call("guest-file-write", request).await?;
                let written = answer["count"].as_u64().and_then(|count| usize::try_from(count).ok());
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
        self.session.call("guest-file-flush", json!({ "handle": self.handle })).await?;
        self.is_open = false;
        self.session.call("guest-file-close", json!({ "handle": self.handle })).await.map(drop)
    }

    /// Closes a file that was read.
    pub(super) async fn close(mut self) -> Result<(), Failure> {
        self.is_open = false;
        self.session.call("guest-file-close", json!({ "handle": self.handle })).await.map(drop)
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
            let _ = session.call("guest-file-close", json!({ "handle": handle })).await;
        });
    }
}
