//! One reader of one job's events: it has its own place in the file and its own pace.

use std::time::Duration;

use kiln_protocol::JobId;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::error::JobsError;
use super::handle::Jobs;
use crate::caller::Caller;
use crate::event_log::{EventLine, EventReader, REST, ReadError, Subscription};
use crate::explain::explain;
use crate::job_dir::JobDir;
use crate::memory;

/// Time for a worker to end after its last event.
const ENDING_TIMEOUT: Duration = Duration::from_secs(5);

/// One reader of one job's events.
pub(crate) struct Follower {
    jobs: Jobs,
    id: JobId,
    directory: JobDir,
    reader: Option<EventReader>,
    /// Present when following.
    subscription: Option<Subscription>,
    endings: watch::Receiver<()>,
    shutdown: CancellationToken,
    done: bool,
}

/// What a follower comes to read.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Events, in their order.
    Events(Vec<EventLine>),
    /// Nothing has happened for the time after which a heartbeat is due.
    Silence,
}

/// Reports that a job's events cannot be followed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FollowError {
    /// The caller may not, there is no such job, or the journal failed.
    #[error(transparent)]
    Jobs(#[from] JobsError),
    /// They cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// They cannot be watched.
    #[error("the events cannot be watched")]
    Watch(#[source] std::io::Error),
}

impl Follower {
    /// Begins after the event of this number. One that follows goes on until the job is over, or `shutdown` is cancelled. Leave is asked for
    /// here, once: whoever may read the job may read it to its end, and a person is not asked for the password again.
    ///
    /// # Errors
    ///
    /// The caller may not, there is no such job, or its events cannot be read or watched.
    pub(crate) async fn open(
        jobs: &Jobs,
        caller: Caller,
        id: JobId,
        after: u64,
        follow: bool,
        shutdown: CancellationToken,
    ) -> Result<Self, FollowError> {
        let directory = jobs.events(&caller, &id).await?;
        // Subscribed before the first read, so that nothing falls between the two.
        let mut subscription = None;
        if follow {
            let watcher = jobs.watcher().clone();
            let subscribed = directory.as_owner(move |of| watcher.subscribe(&of.events())).await;
            subscription = Some(subscribed.map_err(FollowError::Watch)?);
        }
        let reader = directory.as_owner(move |directory| EventReader::open(&directory.events(), after)).await;
        let reader = Some(reader?);
        let (jobs, endings) = (jobs.clone(), jobs.endings());
        Ok(Self { jobs, id, directory, reader, subscription, endings, shutdown, done: false })
    }

    /// Returns what comes next; nothing at the end.
    ///
    /// # Errors
    ///
    /// The journal failed, or the job was removed.
    pub(crate) async fn next(&mut self) -> Option<Result<Piece, JobsError>> {
        if self.done {
            return None;
        }
        loop {
            // Asked before reading: what was written before the job was over is then read below.
            let over = match self.subscription {
                Some(_) => match self.jobs.is_over(&self.id).await {
                    Ok(over) => over,
                    Err(error) => return Some(Err(error)),
                },
                None => true,
            };
            let batch = self.read().await?;
            if !batch.is_empty() {
                if batch.iter().any(EventLine::is_last) {
                    self.done = true;
                    self.wait_until_over().await;
                }
                return Some(Ok(Piece::Events(batch)));
            }
            if over {
                return None;
            }
            let heartbeat = tokio::time::sleep(self.jobs.limits().heartbeat);
            let subscription = self.subscription.as_mut()?;
            tokio::select! {
                () = subscription.changed() => {}
                _ = self.endings.changed() => {}
                () = heartbeat => return Some(Ok(Piece::Silence)),
                () = self.shutdown.cancelled() => return None,
            }
        }
    }

    /// Waits until the worker is gone and the journal knows it: who has read the last event finds nothing running any more.
    async fn wait_until_over(&mut self) {
        let over = async {
            while self.jobs.is_over(&self.id).await.is_ok_and(|over| !over) {
                // The sender lives as long as the jobs do.
                let _ = self.endings.changed().await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(ENDING_TIMEOUT, over) => {}
            () = self.shutdown.cancelled() => {}
        }
    }

    /// Returns the next events, none when there is nothing new, and nothing at all at the end. Each piece of the file is a turn of its own.
    async fn read(&mut self) -> Option<Vec<EventLine>> {
        loop {
            let mut reader = self.reader.take()?;
            let read = self.directory.as_owner(move |_| {
                let piece = reader.read_piece();
                (reader, piece)
            });
            let (reader, piece) = read.await;
            self.reader = Some(reader);
            match piece {
                // What is wanted may be far away, or nowhere.
                Ok(Some(events)) if events.is_empty() && self.shutdown.is_cancelled() => return None,
                // Nothing of ours writes so much that is no event, and who does shall not keep us busy.
                Ok(Some(events)) if events.is_empty() => tokio::time::sleep(REST).await,
                Ok(events) => return Some(events.unwrap_or_default()),
                Err(error) => {
                    tracing::error!(job = %self.id, error = explain(&error), "a follower was cut off");
                    return None;
                }
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // What a long stream went through has gone through this process, too.
        memory::give_back();
    }
}
