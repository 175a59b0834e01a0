//! Gives back what jobs still hold that are over: again and again while that may be theirs (`housekeeping.rs`), and before such a job is removed.
//!
//! What one user has left, or pretends to have left, keeps nobody else waiting: each has attempts of its own (`leftovers.rs`).

use std::sync::Arc;
use std::time::Duration;

use kiln_protocol::JobId;
use tokio::time::timeout;

use super::error::JobsError;
use super::launcher::{After, SWEEP_TIMEOUT, see_to_end};
use super::shared::Shared;
use crate::explain::explain;
use crate::job_dir::JobDir;

/// Time that somebody waits who removes a job; clients wait 30 s for an answer.
const REMOVAL_PATIENCE: Duration = Duration::from_secs(20);

/// Sees that a job that is over holds nothing, before it is removed.
///
/// # Errors
///
/// It still does, or its directory keeps what was not to be lost.
pub(super) async fn before_removal(shared: &Arc<Shared>, id: &JobId) -> Result<(), JobsError> {
    let directory = shared.directory(id);
    let kept = directory.as_owner(JobDir::keeps).await;
    if !kept.is_empty() {
        return Err(JobsError::Keeps { id: id.clone(), kept });
    }
    if directory.as_owner(JobDir::still_held).await.is_empty() {
        shared.leftovers().remove(id);
        return Ok(());
    }
    // Goes on when nobody waits any more: to end in the middle helps nobody.
    let is_tried = timeout(REMOVAL_PATIENCE, give_back(shared, id)).await.is_ok();
    let (held, reasons) = directory.as_owner(|directory| (directory.still_held(), directory.read_left())).await;
    if held.is_empty() {
        return Ok(());
    }
    let reasons = if is_tried { reasons } else { vec!["that takes long, and goes on".to_owned()] };
    Err(JobsError::Holds { id: id.clone(), held, reasons, ledger: directory.ledger() })
}

/// Tries to give back what a job holds that is over, and keeps in mind whether anything stays; or waits for the end of the attempt that goes on.
pub(super) async fn give_back(shared: &Arc<Shared>, id: &JobId) {
    let mut attempt = shared.attempts.begin(id, || {
        let (shared, id) = (Arc::clone(shared), id.clone());
        async move { try_to_give_back(&shared, &id).await }
    });
    // Nothing is sent; it is closed at the end.
    let _ = attempt.changed().await;
}

async fn try_to_give_back(shared: &Arc<Shared>, id: &JobId) {
    let owner = match shared.journal.owner(id.as_str()).await {
        Ok(Some(owner)) => owner,
        // It was forgotten meanwhile.
        Ok(None) => return,
        Err(error) => {
            return tracing::error!(job = %id, error = explain(&error), "nothing gives back what the job holds");
        }
    };
    let directory = shared.directory(id);
    let (on_ledger, kept) = directory.as_owner(|directory| (directory.still_on_ledger(), directory.keeps())).await;
    if on_ledger.is_empty() && !kept.is_empty() {
        // Its user's to move or to remove.
        return tracing::debug!(job = %id, ?kept, "the job's directory keeps something");
    }
    let attempt = async {
        let submission = directory.as_owner(|directory| directory.read_request().ok()).await;
        match shared.launcher.after(&directory, submission.as_ref(), After::GiveBack).await {
            Ok(mut process) => {
                see_to_end(process.as_mut(), SWEEP_TIMEOUT, id, "giving back what the job still holds").await;
            }
            Err(error) => tracing::error!(job = %id, error = explain(&error), "nothing gives back what the job holds"),
        }
    };
    shared.attempts.make(owner, attempt).await;
    let held = directory.as_owner(|directory| {
        // Also when something stays: a service may have let nobody in by the credentials, which are gone now.
        if let Err(error) = directory.scrub_request() {
            tracing::error!(error = explain(&error), "a request keeps variables that nobody needs");
        }
        directory.still_held()
    });
    let held = held.await;
    if held.is_empty() {
        tracing::info!(job = %id, "what the job still held is given back");
        shared.leftovers().remove(id);
    } else {
        tracing::warn!(job = %id, ?held, "the job still holds something");
    }
}
