//! What the API's routes do, except for the event streams.

use axum::Json;
use axum::extract::{Extension, Path, Query, State};
use axum::response::{IntoResponse, Response};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{StatusCode, header};
use kiln_protocol::{
    Answer, CancelRequest, IDEMPOTENCY_KEY_HEADER, ImageTask, Info, JobId, JobKind, JobList, JobState, JobSubmission,
    MAX_IMAGE_ITEMS, Problem, ProblemCode, ShutdownReport,
};
use serde::Deserialize;
use uuid::Uuid;

use super::ApiState;
use super::body::JsonBody;
use super::problem::ApiProblem;
use crate::config::Mode;
use crate::control::ControlRequest;
use crate::event_log::{KILN_MAX_LOG_MIB, limit_of};
use crate::jobs::JobsError;
use crate::journal::Wanted;
use crate::peer::Peer;

/// Jobs in a list when the client does not say.
const DEFAULT_LIMIT: u32 = 100;

/// Longest idempotency key, in bytes.
const MAX_KEY_BYTES: usize = 200;

/// Optional abilities of this version.
const FEATURES: &[&str] = &["answers", "events-ndjson", "events-sse", "idempotency-key", "images", "screen"];

pub(super) async fn info(State(state): State<ApiState>) -> Result<Json<Info>, ApiProblem> {
    let counts = state.jobs.counts().await?;
    let config = state.jobs.config();
    let (hypervisors, looking_for_hypervisors) = state.hypervisors.get().await;
    Ok(Json(Info {
        version: crate::VERSION.to_owned(),
        api: 1,
        mode: match config.mode {
            Mode::User => "user".to_owned(),
        },
        pid: std::process::id(),
        started_at: state.started_at.to_string(),
        state_directory: config.state_directory.display().to_string(),
        features: FEATURES.iter().map(|&feature| feature.to_owned()).collect(),
        max_running_jobs: count(config.max_running_jobs),
        running_jobs: count(counts.running),
        queued_jobs: count(counts.queued),
        hypervisors,
        looking_for_hypervisors,
        socket: config.socket.display().to_string(),
        notices: state.jobs.notices().to_vec(),
    }))
}

pub(super) async fn create_job(
    State(state): State<ApiState>,
    Extension(peer): Extension<Peer>,
    headers: HeaderMap,
    body: JsonBody<JobSubmission>,
) -> Result<Response, ApiProblem> {
    let key = match headers.get(IDEMPOTENCY_KEY_HEADER).map(|value| value.to_str()) {
        None => None,
        Some(Ok(key)) if (1..=MAX_KEY_BYTES).contains(&key.len()) => Some(key.to_owned()),
        Some(_) => {
            let detail = format!("the idempotency key is not 1 to {MAX_KEY_BYTES} printable characters");
            return Err(ApiProblem::new(ProblemCode::InvalidRequest, detail));
        }
    };
    check(&body.value)?;
    let digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, &body.bytes).to_string();
    let (job, new) = state.jobs.submit(body.value, peer.uid, key, digest).await?;
    let status = if new { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/v1/jobs/{}", job.id);
    Ok((status, [(header::LOCATION, location)], Json(job)).into_response())
}

/// Refuses what no process can be started with.
fn check(submission: &JobSubmission) -> Result<(), ApiProblem> {
    let invalid = |detail: &str| Err(ApiProblem::new(ProblemCode::InvalidRequest, detail));
    match (submission.kind, &submission.image) {
        (JobKind::Convert, Some(ImageTask::Convert(request))) => {
            let counts =
                [request.inputs.len(), request.outputs.len(), request.options.len(), request.machine.nics.len()];
            if counts.into_iter().any(|count| count > MAX_IMAGE_ITEMS) {
                return invalid("the conversion has too many inputs, outputs or options");
            }
            if request.inputs.is_empty() || request.outputs.is_empty() {
                return invalid("the conversion has no input or no output");
            }
        }
        (JobKind::Image, Some(task)) if !matches!(task, ImageTask::Convert(_)) => {}
        (JobKind::Build, None) if submission.template.is_empty() => {
            return invalid("`template` is empty");
        }
        (JobKind::Build, None) => {}
        _ => return invalid("`image` does not fit the `kind`"),
    }
    if let Some(image) = &submission.image
        && image.paths().any(|path| path.is_empty() || path.contains('\0'))
    {
        return invalid("a path is empty or holds a zero byte");
    }
    if !submission.working_directory.starts_with('/') {
        return invalid("`working_directory` is not an absolute path");
    }
    let names = submission.environment.keys().any(|name| name.is_empty() || name.contains(['=', '\0']));
    if names || submission.environment.values().any(|value| value.contains('\0')) {
        return invalid("`environment` holds a name or a value that no process can have");
    }
    if let Err(error) = limit_of(submission.environment.get(KILN_MAX_LOG_MIB).map(String::as_str)) {
        return Err(ApiProblem(
            Problem::new(ProblemCode::InvalidRequest, error.to_string())
                .with_hint(format!("unset {KILN_MAX_LOG_MIB}: a job's log is then kept to 64 MiB")),
        ));
    }
    if submission.working_directory.contains('\0') || submission.template.contains('\0') {
        return invalid("a path holds a zero byte");
    }
    Ok(())
}

#[derive(Deserialize)]
pub(super) struct ListQuery {
    limit: Option<u32>,
    all: Option<bool>,
    state: Option<String>,
    since: Option<String>,
    unfinished_first: Option<bool>,
}

impl ListQuery {
    fn wanted(self) -> Result<Wanted, ApiProblem> {
        let invalid = |detail: String| ApiProblem::new(ProblemCode::InvalidRequest, detail);
        let state = |name: &str| {
            let known = JobState::ALL.into_iter().find(|state| state.as_str() == name);
            let names = JobState::ALL.map(JobState::as_str).join(", ");
            known.ok_or_else(|| invalid(format!("`state` is `{name}`, not one of {names}")))
        };
        let states = self.state.as_deref().unwrap_or_default();
        let states = states.split(',').filter(|name| !name.is_empty()).map(state).collect::<Result<_, _>>()?;
        let since = |text: String| match text.parse::<jiff::Timestamp>() {
            Ok(time) => Ok(format!("{time:.3}")),
            Err(_) => Err(invalid(format!("`since` is `{text}`, not a time as 2026-01-02T03:04:05Z (RFC 3339)"))),
        };
        Ok(Wanted {
            limit: self.limit.unwrap_or(DEFAULT_LIMIT),
            looks: self.all.unwrap_or(true),
            states,
            since: self.since.map(since).transpose()?,
            unfinished_first: self.unfinished_first.unwrap_or(false),
        })
    }
}

pub(super) async fn list_jobs(
    State(state): State<ApiState>,
    query: Result<Query<ListQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<JobList>, ApiProblem> {
    let Query(query) = query.map_err(|error| ApiProblem::new(ProblemCode::InvalidRequest, error.body_text()))?;
    let jobs = state.jobs.list(query.wanted()?).await?;
    Ok(Json(JobList { jobs }))
}

pub(super) async fn remove_job(
    State(state): State<ApiState>,
    Path(id): Path<String>,
) -> Result<StatusCode, ApiProblem> {
    let id: JobId = id.parse()?;
    state.jobs.remove(&id).await?;
    Ok(StatusCode::NO_CONTENT)
}

pub(super) async fn get_job(State(state): State<ApiState>, Path(id): Path<String>) -> Result<Response, ApiProblem> {
    let id: JobId = id.parse()?;
    Ok(Json(state.jobs.job(&id).await?).into_response())
}

pub(super) async fn cancel_job(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    body: JsonBody<CancelRequest>,
) -> Result<Response, ApiProblem> {
    let id: JobId = id.parse()?;
    let job = state.jobs.cancel(&id, body.value.mode).await?;
    Ok((StatusCode::ACCEPTED, Json(job)).into_response())
}

pub(super) async fn answer(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    body: JsonBody<Answer>,
) -> Result<StatusCode, ApiProblem> {
    let id: JobId = id.parse()?;
    let Answer { prompt, answer } = body.value;
    state.jobs.ask(&id, &ControlRequest::Answer { prompt, answer }).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
pub(super) struct ScreenQuery {
    build: Option<String>,
}

pub(super) async fn screen(
    State(state): State<ApiState>,
    Path(id): Path<String>,
    query: Result<Query<ScreenQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Response, ApiProblem> {
    let id: JobId = id.parse()?;
    let Query(query) = query.map_err(|error| ApiProblem::new(ProblemCode::InvalidRequest, error.body_text()))?;
    let picture = state.jobs.ask(&id, &ControlRequest::Screen { build: query.build }).await;
    let picture = picture.map_err(|error| match error {
        JobsError::Worker(crate::control::ControlError::Refused { reason }) => {
            ApiProblem(Problem::new(ProblemCode::NoScreen, reason).with_hint("a screen is there while a guest runs"))
        }
        other => other.into(),
    })?;
    Ok(([(CONTENT_TYPE, "image/png")], picture).into_response())
}

pub(super) async fn shutdown(State(state): State<ApiState>) -> Result<Response, ApiProblem> {
    let counts = state.jobs.counts().await?;
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

pub(super) async fn openapi() -> Response {
    Json(super::openapi::document(super::routes().into_iter().map(|route| route.operation))).into_response()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
