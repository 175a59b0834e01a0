//! What jobs still hold that are over, because it could not be given back: tried again for an hour, when the daemon starts and whenever a
//! job is over, and before such a job is removed. Until then the job is not forgotten, for its ledger is all that knows of it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use kiln_protocol::JobId;
use tokio::sync::watch;
use tokio::time::timeout;

use super::error::JobsError;
use super::launcher::Exit;
use super::shared::Shared;
use super::supervisor::SWEEP_TIMEOUT;
use super::wire;
use crate::explain::explain;
use crate::job_dir::JobDir;

/// Time that somebody waits who removes a job; clients wait 30 s for an answer.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(20);

/// Time after the last entry in a job's ledger in which it is tried again by itself. Later somebody may have made the machine or the
/// folder his own, and only `kiln jobs rm`, which he asks for, takes it.
const SURELY_OURS: Duration = Duration::from_secs(3600);

/// Tries again and again, for as long as the daemon runs.
pub(super) async fn run(shared: Arc<Shared>, mut endings: watch::Receiver<()>) {
    match shared.journal.finished().await {
        Ok(jobs) => {
            for id in jobs.iter().filter_map(|id| wire::job_id(id).ok()) {
                let directory = shared.directory(&id);
                if !directory.as_owner(JobDir::still_held).await.is_empty() {
                    shared.leftovers().insert(id);
                }
            }
        }
        Err(error) => tracing::error!(error = explain(&error), "what finished jobs still hold is not known"),
    }
    loop {
        let jobs: Vec<JobId> = shared.leftovers().iter().cloned().collect();
        for id in jobs {
            let directory = shared.directory(&id);
            if directory.as_owner(|directory| is_recent(&directory.ledger(), SURELY_OURS)).await {
                give_back(&shared, &id).await;
            }
        }
        if endings.changed().await.is_err() {
            return;
        }
    }
}

/// Whether the file was written in the time before now.
fn is_recent(path: &Path, time: Duration) -> bool {
    let written = path.symlink_metadata().and_then(|found| found.modified());
    // One from the future was written by a clock that has been set back since.
    written.is_ok_and(|written| written.elapsed().map_or(true, |age| age < time))
}

/// Sees that a job that is over holds nothing, before it is removed.
///
/// # Errors
///
/// It still does.
pub(super) async fn before_removal(shared: &Arc<Shared>, id: &JobId) -> Result<(), JobsError> {
    let directory = shared.directory(id);
    if directory.as_owner(JobDir::still_held).await.is_empty() {
        shared.leftovers().remove(id);
        return Ok(());
    }
    let (this, job) = (Arc::clone(shared), id.clone());
    // Goes on when nobody waits any more: to end in the middle helps nobody.
    let attempt = tokio::spawn(async move { give_back(&this, &job).await });
    let is_tried = timeout(REMOVAL_PATIENCE, attempt).await.is_ok();
    let (held, reasons) = directory.as_owner(|directory| (directory.still_held(), directory.read_left())).await;
    if held.is_empty() {
        return Ok(());
    }
    let reasons = if is_tried { reasons } else { vec!["that takes long, and goes on".to_owned()] };
    Err(JobsError::Holds { id: id.clone(), held, reasons, ledger: directory.ledger() })
}

/// Tries to give back what a job holds that is over, and keeps in mind whether anything stays.
async fn give_back(shared: &Arc<Shared>, id: &JobId) {
    let directory = shared.directory(id);
    let submission = directory.as_owner(|directory| directory.read_request().ok()).await;
    match shared.launcher.give_back(&directory, submission.as_ref()).await {
        Ok(mut process) => match timeout(SWEEP_TIMEOUT, process.ended()).await {
            Ok(Exit::Status(status)) if status.success() => {}
            Ok(exit) => tracing::error!(job = %id, ?exit, "what the job still holds could not be given back"),
            Err(_) => {
                tracing::error!(job = %id, "giving back what the job still holds took too long");
                process.kill();
                process.ended().await;
            }
        },
        Err(error) => tracing::error!(job = %id, error = explain(&error), "nothing gives back what the job holds"),
    }
    let held = directory.as_owner(|directory| {
        let held = directory.still_held();
        if held.is_empty()
            && let Err(error) = directory.scrub_request()
        {
            tracing::error!(error = explain(&error), "a request keeps variables that nobody needs");
        }
        held
    });
    let held = held.await;
    if held.is_empty() {
        tracing::info!(job = %id, "what the job still held is given back");
        shared.leftovers().remove(id);
    } else {
        tracing::warn!(job = %id, ?held, "the job still holds something");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_long_ago_is_left_alone() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(is_recent(file.path(), SURELY_OURS));
        let old = std::time::SystemTime::now() - 2 * SURELY_OURS;
        file.as_file().set_modified(old).unwrap();
        assert!(!is_recent(file.path(), SURELY_OURS));
        assert!(!is_recent(Path::new("/nonexistent"), SURELY_OURS));
    }
}
