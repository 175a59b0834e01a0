//! How a machine comes to its end: its process is waited for, then VirtualBox is asked what became of the guest.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::facts::State;
use super::give_back::{OFF_LIMIT, look, wait_until_off};
use super::guru::{self, Log};
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

/// Waits for the end of the machine and tells it. `log`: where VirtualBox writes its log.
pub(super) async fn watch_over(holdings: Arc<Holdings>, uuid: String, log: Option<PathBuf>) {
    if let Some(process) = holdings.process() {
        let mut log = log.clone().map(Log::new);
        loop {
            tokio::select! {
                () = process.ended() => break,
                () = stops_for_good(&mut log) => {}
            }
            // What a log says is looked at.
            let facts = look(&holdings.program, &uuid).await.ok().flatten();
            if facts.is_some_and(|facts| facts.is_stopped_for_good()) {
                return holdings
                    .tell(crashed("a Guru Meditation (VMState gurumeditation)", log.as_ref().map(Log::path)));
            }
        }
    } else {
        tracing::debug!(uuid, "the machine's process cannot be seen; VirtualBox is asked instead");
    }
    let limit = if holdings.process().is_some() { OFF_LIMIT } else { UNSEEN_LIMIT };
    let state = loop {
        if !holdings.is_alive() {
            return;
        }
        match wait_until_off(&holdings.program, &uuid, limit).await {
            Ok(None) if holdings.process().is_none() => {}
            Ok(ended) => break Ok(ended),
            Err(failure) => break Err(failure),
        }
    };
    let state = state.map(|ended| ended.map(|ended| holdings.was_seen_off(ended)));
    let crashed = |status: &str| crashed(status, log.as_deref());
    holdings.tell(match state {
        _ if holdings.killed.load(Ordering::Acquire) => ExitReport::Killed,
        Ok(Some(State::Off)) => ExitReport::GuestShutdown,
        Ok(Some(State::Aborted)) => crashed("the machine's process ended without a word (aborted)"),
        Ok(Some(State::Saved)) => crashed("it does not run, and its memory is saved"),
        Ok(_) => crashed("its process is gone, but VirtualBox does not say that it is off"),
        Err(failure) => crashed(&failure.to_string()),
    });
}

/// Waits until the log tells that the guest is stopped for good; for ever where there is no log.
async fn stops_for_good(log: &mut Option<Log>) {
    match log {
        Some(log) => log.tells_of_guru_meditation().await,
        None => std::future::pending().await,
    }
}

fn crashed(status: &str, log: Option<&Path>) -> ExitReport {
    let stderr_tail = log.map_or_else(String::new, guru::what_it_tells);
    let status = match log.filter(|_| !stderr_tail.is_empty()) {
        Some(log) => format!("{status}; from {}", log.display()),
        None => status.to_owned(),
    };
    ExitReport::Crashed { status, stderr_tail }
}
