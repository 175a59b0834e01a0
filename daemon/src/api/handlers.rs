//! What the API's routes do, except for the event streams.

use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use axum::response::{IntoResponse, Response};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{StatusCode, header};
use kiln_protocol::{
    Answer, CancelRequest, IDEMPOTENCY_KEY_HEADER, Info, JobId, JobList, JobSubmission, Problem, ProblemCode,
    ShutdownReport,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::body::JsonBody;
use super::list::ListQuery;
use super::problem::ApiProblem;
use super::state::ApiState;
use crate::caller::Caller;
use crate::config::Mode;
use crate::control::ControlError;
use crate::jobs::{JobsError, Submission};
use crate::quotas::ROOT;
use crate::turns::{InTurn, Turn};
use crate::version::VERSION;

/// Optional abilities of this version.
const FEATURES: &[&str] = &["answers", "events-ndjson", "events-sse", "idempotency-key", "images", "screen"];

pub(super) async fn info(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
) -> Result<Json<Info>, ApiProblem> {
    let counts = state.jobs.counts(&caller).await?;
    let config = state.jobs.config();
    let (hypervisors, looking_for_hypervisors) = state.hypervisors.get(&caller).await;
    Ok(Json(Info {
        version: VERSION.to_owned(),
        api: 1,
        mode: match config.mode {
            Mode::User => "user".to_owned(),
            Mode::System => "system".to_owned(),
        },
        pid: std::process::id(),
        started_at: state.started_at.to_string(),
        state_directory: config.state_directory.display().to_string(),
        features: FEATURES.iter().map(|&feature| feature.to_owned()).collect(),
        max_running_jobs: count(counts.limit),
        running_jobs: count(counts.running),
        queued_jobs: count(counts.queued),
        hypervisors,
        looking_for_hypervisors,
        socket: config.socket.display().to_string(),
        dbus: state.bus.state(),
        // They tell of everybody's jobs.
        notices: if config.mode == Mode::User || caller.uid() == ROOT { state.jobs.notices() } else { Vec::new() },
    }))
}

pub(super) async fn create_job(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: JsonBody<JobSubmission>,
) -> Result<Response, ApiProblem> {
    let key = headers.get(IDEMPOTENCY_KEY_HEADER).map(|key| String::from_utf8_lossy(key.as_bytes()).into_owned());
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, &body.bytes).to_string();
    let (job, new) = state.jobs.submit(&caller, Submission { request: body.value, key, digest }).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/v1/jobs/{}", job.id);
    Ok((status, [(header::LOCATION, location)], Json(job)).into_response())
}

pub(super) async fn list_jobs(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiProblem> {
    let Query(query) = query.map_err(|error| ApiProblem::new(ProblemCode::InvalidRequest, error.body_text()))?;
    let wanted = query.wanted()?;
    // It is megabytes where there are many jobs, and is held until it is sent.
    let turn = state.jobs.turn_for_list(&caller).await?;
    let jobs = state.jobs.list(&caller, wanted).await?;
    in_turn(&JobList { jobs }, turn)
}

pub(super) async fn remove_job(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiProblem> {
    let id: JobId = id.parse()?;
    state.jobs.remove(&caller, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn get_job(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
) -> Result<Response, ApiProblem> {
    let id: JobId = id.parse()?;
    let (job, turn) = state.jobs.job_in_turn(&caller, &id).await?;
    in_turn(&job, turn)
}

/// An answer that counts against the caller until it is sent.
fn in_turn(answer: &impl Serialize, turn: Turn) -> Result<Response, ApiProblem> {
    let bytes =
        serde_json::to_vec(answer).map_err(|error| ApiProblem::new(ProblemCode::Internal, error.to_string()))?;
    Ok(([(CONTENT_TYPE, "application/json")], InTurn::new(bytes, turn).into_bytes()).into_response())
}

pub(super) async fn cancel_job(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: JsonBody<CancelRequest>,
) -> Result<Response, ApiProblem> {
    let id: JobId = id.parse()?;
    let job = state.jobs.cancel(&caller, &id, body.value.mode).await?;
    Ok((StatusCode::ACCEPTED, Json(job)).into_response())
}

pub(super) async fn answer(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    body: JsonBody<Answer>,
) -> Result<StatusCode, ApiProblem> {
    let id: JobId = id.parse()?;
    let Answer { prompt, answer } = body.value;
    state.jobs.answer(&caller, &id, prompt, answer).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(super) struct ScreenQuery {
    build: Option<String>,
}

pub(super) async fn screen(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
    Path(id): Path<String>,
    query: Result<Query<ScreenQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiProblem> {
    let id: JobId = id.parse()?;
    let Query(query) = query.map_err(|error| ApiProblem::new(ProblemCode::InvalidRequest, error.body_text()))?;
    let picture = state.jobs.screen(&caller, &id, query.build).await;
    let picture = picture.map_err(|error| match error {
        JobsError::Worker(ControlError::Refused { reason }) => {
            ApiProblem(Problem::new(ProblemCode::NoScreen, reason).with_hint("a screen is there while a guest runs"))
        }
        other => other.into(),
    })?;
    Ok(([(CONTENT_TYPE, "image/png")], picture.into_bytes()).into_response())
}

pub(super) async fn shutdown(
    State(state): State<ApiState>,
    Extension(caller): Extension<Caller>,
) -> Result<Response, ApiProblem> {
    let counts = state.jobs.before_stop(&caller).await?;
    tracing::info!("stopping on request");
    // The answer still goes out: connections are drained after the listener is closed.
    state.shutdown.cancel();
    let report = ShutdownReport {
        pid: std::process::id(),
        running_jobs: count(counts.running),
        queued_jobs: count(counts.queued),
    };
    Ok((StatusCode::ACCEPTED, Json(report)).into_response())
}

/// Makes the document of the routes.
#[derive(Clone, Copy)]
pub(super) struct DocumentOf(pub(super) fn() -> Value);

pub(super) async fn openapi(Extension(document): Extension<DocumentOf>) -> Response {
    Json((document.0)()).into_response()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
