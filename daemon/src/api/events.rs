//! Event streams: a follower has its own place in the file and its own pace.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Extension, Path, Query, State};
use axum::response::Response;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use kiln_protocol::{JobId, NDJSON, Problem, ProblemCode};
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::problem::ApiProblem;
use super::state::ApiState;
use crate::caller::Caller;
use crate::event_log::{EventLine, EventReader, Subscription};
use crate::explain::explain;
use crate::jobs::{Jobs, JobsError};
use crate::memory;
use crate::quotas::Share;

/// Media type of server-sent events (HTML standard, section 9.2).
const EVENT_STREAM: &str = "text/event-stream";

/// Time for a worker to end after its last event.
const ENDING_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Deserialize)]
pub(super) struct EventsQuery {
    after: Option<u64>,
    #[serde(default)]
    follow: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Ndjson,
    ServerSent,
}

/// One reader of one job's events.
struct Follower {
    jobs: Jobs,
    caller: Caller,
    id: JobId,
    format: Format,
    reader: Option<EventReader>,
    /// Present when following.
    subscription: Option<Subscription>,
    endings: watch::Receiver<()>,
    shutdown: CancellationToken,
    /// Counts against the caller's quota.
    _share: Option<Share>,
    done: bool,
}

pub(super) async fn events(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: Result<Query<EventsQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiProblem> {
    let id: JobId = id.parse()?;
    let Query(query) = query.map_err(|error| ApiProblem::new(ProblemCode::InvalidRequest, error.body_text()))?;
    let path = state.jobs.events(&caller, &id).await?;
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = if accept.contains(EVENT_STREAM) { Format::ServerSent } else { Format::Ndjson };
    let last_id = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let after = last_id.or(query.after).unwrap_or(0);
    let failed = |detail: String| ApiProblem(Problem::new(ProblemCode::Internal, detail));
    let share = if query.follow { Some(state.followers.take(caller.uid())?) } else { None };
    // Subscribed before the first read, so that nothing falls between the two.
    let subscription = if query.follow {
        let subscription = state.jobs.watcher().subscribe(&path);
        Some(subscription.map_err(|error| failed(format!("the events cannot be watched: {error}")))?)
    } else {
        None
    };
    let reader = EventReader::open(&path, after).map_err(|error| failed(explain(&error)))?;
    let follower = Follower {
        endings: state.jobs.endings(),
        jobs: state.jobs,
        caller,
        id,
        format,
        reader: Some(reader),
        subscription,
        shutdown: state.shutdown,
        _share: share,
        done: false,
    };
    let body = Body::from_stream(stream::unfold(follower, async |mut follower| {
        let chunk = follower.next().await?;
        Some((chunk, follower))
    }));
    let mut response = Response::new(body);
    let media_type = if format == Format::ServerSent { EVENT_STREAM } else { NDJSON };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

impl Follower {
    /// Returns the next piece of the stream; nothing at its end. An error cuts the connection off.
    async fn next(&mut self) -> Option<Result<Bytes, Arc<JobsError>>> {
        if self.done {
            return None;
        }
        loop {
            // Asked before reading: what was written before the job was over is then read below.
            let over = match self.subscription {
                Some(_) => match self.jobs.is_over(&self.caller, &self.id).await {
                    Ok(over) => over,
                    Err(error) => return Some(Err(Arc::new(error))),
                },
                None => true,
            };
            let batch = self.read().await?;
            if !batch.is_empty() {
                if batch.iter().any(EventLine::is_last) {
                    self.done = true;
                    self.wait_until_over().await;
                }
                return Some(Ok(self.format.events(&batch)));
            }
            if over {
                return None;
            }
            let heartbeat = tokio::time::sleep(self.jobs.limits().heartbeat);
            let subscription = self.subscription.as_mut()?;
            tokio::select! {
                () = subscription.changed() => {}
                _ = self.endings.changed() => {}
                () = heartbeat => return Some(Ok(self.format.heartbeat())),
                () = self.shutdown.cancelled() => return None,
            }
        }
    }

    /// Waits until the worker is gone and the journal knows it: who has read the last event finds nothing running any more.
    async fn wait_until_over(&mut self) {
        let over = async {
            while self.jobs.is_over(&self.caller, &self.id).await.is_ok_and(|over| !over) {
                // The sender lives as long as the jobs do.
                let _ = self.endings.changed().await;
            }
        };
        tokio::select! {
            _ = tokio::time::timeout(ENDING_TIMEOUT, over) => {}
            () = self.shutdown.cancelled() => {}
        }
    }

    async fn read(&mut self) -> Option<Vec<EventLine>> {
        let mut reader = self.reader.take()?;
        let read = tokio::task::spawn_blocking(move || {
            let batch = reader.read_batch();
            (reader, batch)
        });
        let (reader, batch) = read.await.ok()?;
        self.reader = Some(reader);
        batch
            .inspect_err(|error| tracing::error!(job = %self.id, error = explain(error), "a follower was cut off"))
            .ok()
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // What a long stream went through has gone through this process, too.
        memory::give_back();
    }
}

impl Format {
    fn events(self, batch: &[EventLine]) -> Bytes {
        let mut bytes = BytesMut::with_capacity(batch.iter().map(|line| line.text.len() + 64).sum());
        for line in batch {
            match self {
                Self::Ndjson => {
                    bytes.put_slice(&line.text);
                    bytes.put_u8(b'\n');
                }
                Self::ServerSent => {
                    bytes.put_slice(format!("id: {}\nevent: {}\ndata: ", line.seq, line.kind).as_bytes());
                    bytes.put_slice(&line.text);
                    bytes.put_slice(b"\n\n");
                }
            }
        }
        bytes.freeze()
    }

    fn heartbeat(self) -> Bytes {
        match self {
            Self::Ndjson => Bytes::from_static(b"\n"),
            Self::ServerSent => Bytes::from_static(b":\n\n"),
        }
    }
}
