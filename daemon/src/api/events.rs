//! Event streams: what a follower reads, as lines of JSON or as server-sent events.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Extension, Path, Query, State};
use axum::response::Response;
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use hyper::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderValue};
use kiln_protocol::{JobId, NDJSON, Problem, ProblemCode};
use serde::Deserialize;

use super::problem::ApiProblem;
use super::state::ApiState;
use crate::caller::Caller;
use crate::event_log::EventLine;
use crate::explain::explain;
use crate::jobs::{FollowError, Follower, JobsError, Piece};

/// Media type of server-sent events (HTML standard, section 9.2).
const EVENT_STREAM: &str = "text/event-stream";

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

pub(super) async fn events(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: Result<Query<EventsQuery>, axum::extract::rejection::QueryRejection>,
    headers: HeaderMap,
) -> Result<Response, ApiProblem> {
    let id: JobId = id.parse()?;
    let Query(query) = query.map_err(|error| ApiProblem::new(ProblemCode::InvalidRequest, error.body_text()))?;
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = if accept.contains(EVENT_STREAM) { Format::ServerSent } else { Format::Ndjson };
    let last_id = headers.get("last-event-id").and_then(|value| value.to_str().ok()?.parse().ok());
    let after = last_id.or(query.after).unwrap_or(0);
    let share = if query.follow { Some(state.followers.take(caller.counts_as())?) } else { None };
    let follower = Follower::open(&state.jobs, caller, id, after, query.follow, state.shutdown).await;
    let follower = follower.map_err(|error| match error {
        FollowError::Jobs(error) => error.into(),
        other => ApiProblem(Problem::new(ProblemCode::Internal, explain(&other))),
    })?;
    // An error cuts the connection off.
    let body = Body::from_stream(stream::unfold((follower, format, share), async |(mut follower, format, share)| {
        let piece = follower.next().await?;
        let bytes = piece.map(|piece| format.bytes(&piece)).map_err(Arc::<JobsError>::new);
        // It counts against the caller's quota as long as it is read.
        Some((bytes, (follower, format, share)))
    }));
    let mut response = Response::new(body);
    let media_type = if format == Format::ServerSent { EVENT_STREAM } else { NDJSON };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

impl Format {
    fn bytes(self, piece: &Piece) -> Bytes {
        match (self, piece) {
            (_, Piece::Events(events)) => self.events(events),
            (Self::Ndjson, Piece::Silence) => Bytes::from_static(b"\n"),
            (Self::ServerSent, Piece::Silence) => Bytes::from_static(b":\n\n"),
        }
    }

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
}
