//! How errors of the inside become problems on the wire.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{StatusCode, header};
use kiln_protocol::problem::PROBLEM_JSON;
use kiln_protocol::{InvalidJobId, Problem, ProblemCode};

use crate::control::ControlError;
use crate::explain::explain;
use crate::jobs::{Forbidden, InvalidSubmission, JobsError};
use crate::quotas::QuotaExceeded;

/// A problem on its way out of a handler.
#[derive(Debug)]
pub(super) struct ApiProblem(pub(super) Problem);

impl ApiProblem {
    pub(super) fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self(Problem::new(code, detail))
    }
}

impl IntoResponse for ApiProblem {
    fn into_response(self) -> Response {
        problem_response(&self.0)
    }
}

/// Makes the response for a problem.
pub(crate) fn problem_response(problem: &Problem) -> Response {
    let body = serde_json::to_vec(problem).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    if matches!(problem.code, ProblemCode::RequestTooLarge | ProblemCode::RequestTimeout) {
        // The rest of the body is still on its way; the connection is of no use any more.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

impl From<InvalidJobId> for ApiProblem {
    fn from(error: InvalidJobId) -> Self {
        Self(Problem::new(ProblemCode::NoSuchJob, error.to_string()).with_hint("`kiln jobs` lists the jobs"))
    }
}

impl From<QuotaExceeded> for ApiProblem {
    fn from(error: QuotaExceeded) -> Self {
        Self(quota_problem(error))
    }
}

/// Says which quota is used up, and what to do.
pub(crate) fn quota_problem(error: QuotaExceeded) -> Problem {
    Problem::new(ProblemCode::QuotaExceeded, error.to_string()).with_hint(error.hint())
}

impl From<JobsError> for ApiProblem {
    fn from(error: JobsError) -> Self {
        let detail = explain(&error);
        Self(match error {
            JobsError::NoSuchJob(_) => {
                Problem::new(ProblemCode::NoSuchJob, detail).with_hint("`kiln jobs` lists the jobs")
            }
            JobsError::Over { id, .. } => {
                Problem::new(ProblemCode::WrongState, detail).with_hint(format!("`kiln logs {id}` shows what happened"))
            }
            JobsError::NotOver { id, .. } => Problem::new(ProblemCode::WrongState, detail)
                .with_hint(format!("`kiln cancel --wait {id}` ends it first")),
            JobsError::Holds { ledger, .. } => Problem::new(ProblemCode::WrongState, detail).with_hint(format!(
                "remove it by its own tools and try again; to have it forgotten where it is, delete {} first, and with it the notes \
                 remote-*.json beside it, which say what lies at a service",
                ledger.display()
            )),
            JobsError::WhichQuestion { id, waiting } => Problem::new(ProblemCode::WrongState, detail).with_hint(
                match waiting.first().and_then(|name| name.split(' ').next()) {
                    Some(first) => format!("`kiln answer {id} {first} ANSWER` answers the first"),
                    None => format!("`kiln attach {id}` waits for a question"),
                },
            ),
            JobsError::Keeps { .. } | JobsError::NotRunning { .. } => Problem::new(ProblemCode::WrongState, detail),
            JobsError::Forbidden(Forbidden::Stranger { .. }) => {
                Problem::new(ProblemCode::Forbidden, detail).with_hint("unset KILN_SOCKET to use a daemon of your own")
            }
            JobsError::Forbidden(Forbidden::OnlyRoot { .. }) => {
                Problem::new(ProblemCode::Forbidden, detail).with_hint("ask whoever administers this machine")
            }
            JobsError::Forbidden(forbidden @ Forbidden::ByPolicy { .. }) => {
                let code = if forbidden.needs_authentication() {
                    ProblemCode::NeedsAuthentication
                } else {
                    ProblemCode::Forbidden
                };
                Problem { hint: forbidden.hint(), ..Problem::new(code, detail) }
            }
            JobsError::Account(error) => Problem::new(ProblemCode::Forbidden, detail).with_hint(error.hint()),
            JobsError::Quota(quota) => return quota.into(),
            JobsError::Invalid(InvalidSubmission { hint, .. }) => {
                Problem { hint, ..Problem::new(ProblemCode::InvalidRequest, detail) }
            }
            JobsError::KeyReused(_) => Problem::new(ProblemCode::KeyReused, detail),
            JobsError::Worker(ControlError::Refused { reason }) => Problem::new(ProblemCode::WrongState, reason),
            JobsError::Worker(ControlError::Unreachable { .. }) => Problem::new(ProblemCode::WorkerUnreachable, detail),
            JobsError::Busy { .. } | JobsError::Worker(ControlError::Busy) => Problem::new(ProblemCode::Unavailable, detail)
                .with_hint("read those first, or end what does not read them"),
            JobsError::Stopping => Problem::new(ProblemCode::Unavailable, detail),
            JobsError::Journal(_) | JobsError::Directory(_) => {
                tracing::error!(detail, "a request failed");
                Problem::new(ProblemCode::Internal, detail).with_hint("`kiln daemon status` shows where the log is")
            }
        })
    }
}
