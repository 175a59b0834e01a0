//! How a machine comes to its end: its process is waited for, then VirtualBox is asked what became of the guest.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::facts::State;
use super::give_back::{OFF_LIMIT, wait_until_off};
use super::holdings::Holdings;
use super::vm_process;
use crate::machine::ExitReport;
use crate::process::Stranger;

/// How long the process of a machine that has just been started is looked for.
const FIND_LIMIT: Duration = Duration::from_secs(10);

/// Pause between two looks for it.
const FIND_INTERVAL: Duration = Duration::from_millis(50);

/// Longest wait for the end of a machine whose process cannot be seen, before it is asked again.
const UNSEEN_LIMIT: Duration = Duration::from_secs(60 * 60);

/// The process of a machine that runs; `None`: it cannot be seen.
pub(super) async fn find(uuid: &str) -> Option<Arc<Stranger>> {
    let looking = async {
        loop {
            match vm_process::find(uuid) {
                Some(process) => break process,
                // VirtualBox says that a machine runs when it does; its process has the arguments from its first moment.
                None => tokio::time::sleep(FIND_INTERVAL).await,
            }
        }
    };
    tokio::time::timeout(FIND_LIMIT, looking).await.ok().map(Arc::new)
}

/// Waits for the end of the machine and tells it.
pub(super) async fn watch_over(holdings: Arc<Holdings>, uuid: String) {
    match holdings.process() {
        Some(process) => process.ended().await,
        None => tracing::debug!(uuid, "the machine's process cannot be seen; VirtualBox is asked instead"),
    }
    let limit = if holdings.process().is_some() { OFF_LIMIT } else { UNSEEN_LIMIT };
    let state = loop {
        if !holdings.is_alive() {
            return;
        }
        match wait_until_off(&holdings.program, &uuid, limit).await {
            Ok(None) if holdings.process().is_none() => {}
            Ok(state) => break Ok(state),
            Err(failure) => break Err(failure),
        }
    };
    holdings.tell(match state {
        _ if holdings.killed.load(Ordering::Acquire) => ExitReport::Killed,
        Ok(Some(State::Off)) => ExitReport::GuestShutdown,
        Ok(Some(State::Aborted)) => crashed("the machine's process ended without a word (aborted)", &holdings),
        Ok(Some(State::Saved)) => crashed("it does not run, and its memory is saved", &holdings),
        Ok(_) => crashed("its process is gone, but VirtualBox does not say that it is off", &holdings),
        Err(failure) => crashed(&failure.to_string(), &holdings),
    });
}

fn crashed(status: &str, holdings: &Holdings) -> ExitReport {
    ExitReport::Crashed { status: status.to_owned(), stderr_tail: last_log_lines(holdings) }
}

/// The end of the machine's log, where it lies in our directory.
fn last_log_lines(holdings: &Holdings) -> String {
    const LINES: usize = 5;
    let Ok(entries) = std::fs::read_dir(&holdings.directory) else { return String::new() };
    let logs = entries.flatten().map(|entry| entry.path().join("Logs/VBox.log"));
    let text = logs.into_iter().find_map(|log| std::fs::read(log).ok()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(LINES)..].join(" / ")
}
