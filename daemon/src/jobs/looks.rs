//! What can run guests, as a user of a daemon for all users finds it: a process of that user's looks, which kilnd only waits for.

use std::time::Duration;

use kiln_protocol::HypervisorInfo;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::time::timeout;

use super::launcher::{KILL_TIMEOUT, LaunchError, Launcher, Look};
use crate::account::AccountError;
use crate::explain::explain;

/// Time for a look: trying out an accelerator takes some seconds, a VBoxManage that hangs takes for ever.
const LOOK_TIMEOUT: Duration = Duration::from_secs(60);

/// Longest list, in bytes, and most of what is in it: its user could write anything.
const MAX_SAID: u64 = 64 << 10;
const MAX_HYPERVISORS: usize = 32;

/// Has this user look; an empty list when nothing comes of it.
pub(super) async fn look(launcher: &dyn Launcher, uid: u32) -> Vec<HypervisorInfo> {
    let Look { mut process, said } = match launcher.look(uid).await {
        Ok(Some(look)) => look,
        Ok(None) => return Vec::new(),
        Err(LaunchError::Account(error @ AccountError::NoLogin { .. })) => {
            // No louder: it may ask as often as it likes.
            tracing::debug!(uid, %error, "nobody looks for hypervisors");
            return Vec::new();
        }
        Err(error) => {
            tracing::warn!(uid, error = explain(&error), "nobody looks for hypervisors");
            return Vec::new();
        }
    };
    let read = async {
        let mut text = Vec::new();
        // Ends with the process, and with whatever it has left with its output.
        pipe::Receiver::from_owned_fd(said)?.take(MAX_SAID).read_to_end(&mut text).await.map(|_| text)
    };
    let found = match timeout(LOOK_TIMEOUT, read).await {
        Ok(Ok(text)) => found_in(&text),
        Ok(Err(error)) => {
            tracing::warn!(uid, %error, "what was found of hypervisors cannot be read");
            None
        }
        Err(_) => {
            tracing::info!(uid, "a look for hypervisors took too long");
            None
        }
    };
    if timeout(KILL_TIMEOUT, process.ended()).await.is_err() {
        process.kill();
        if timeout(KILL_TIMEOUT, process.ended()).await.is_err() {
            tracing::warn!(uid, pid = process.identity().pid, "a process that looked for hypervisors is left over");
        }
    }
    found.unwrap_or_default()
}

/// Reads the last line of what was said.
fn found_in(text: &[u8]) -> Option<Vec<HypervisorInfo>> {
    let line = text.trim_ascii().rsplit(|byte| *byte == b'\n').next()?;
    let mut found: Vec<HypervisorInfo> = serde_json::from_slice(line).ok()?;
    found.truncate(MAX_HYPERVISORS);
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_behind_whatever_else_was_said_and_is_not_long() {
        let one = r#"{"name":"qemu","available":true}"#;
        let many = format!("warning: something\n[{}]\n", vec![one; 100].join(","));
        assert_eq!(found_in(many.as_bytes()).unwrap().len(), MAX_HYPERVISORS);
        assert_eq!(found_in(b"Segmentation fault"), None);
        assert_eq!(found_in(b""), None);
    }
}
