//! Errors of the API, in the form of RFC 9457 (`application/problem+json`).

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Media type of [`Problem`].
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Says why a request was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Problem {
    /// What to branch on.
    pub code: ProblemCode,
    /// HTTP status, repeated here so that a stored answer is complete.
    pub status: u16,
    /// The kind of problem in a few words, the same each time.
    pub title: String,
    /// What happened this time: lower-case, without a full stop.
    pub detail: String,
    /// What to do next, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Kinds of problems.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ProblemCode {
    /// The body is not JSON, or not of the expected form.
    InvalidRequest,
    /// The body is larger than [`crate::MAX_REQUEST_BYTES`].
    RequestTooLarge,
    /// The body did not arrive in time.
    RequestTimeout,
    /// The caller is another user.
    Forbidden,
    /// The caller may if somebody proves who it is, and nobody could be asked to: see [`crate::ALLOW_INTERACTION_HEADER`].
    NeedsAuthentication,
    /// No such path.
    NotFound,
    /// The path exists, the method does not.
    MethodNotAllowed,
    /// No such job on this daemon.
    NoSuchJob,
    /// The job is not in a state in which this is possible.
    WrongState,
    /// The same idempotency key came with another body.
    KeyReused,
    /// The build has no screen, or its guest does not run.
    NoScreen,
    /// The caller has used up its share of this daemon.
    QuotaExceeded,
    /// Too many connections, or the daemon is stopping.
    Unavailable,
    /// The worker did not answer.
    WorkerUnreachable,
    /// The daemon could not do its part; its log says more.
    Internal,
    /// A kind that this version does not know.
    #[serde(other)]
    Unknown,
}

impl ProblemCode {
    /// Returns the HTTP status of this kind.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::Forbidden | Self::NeedsAuthentication => 403,
            Self::NotFound | Self::NoSuchJob | Self::NoScreen => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::WrongState => 409,
            Self::RequestTooLarge => 413,
            Self::KeyReused => 422,
            Self::QuotaExceeded => 429,
            Self::Internal | Self::Unknown => 500,
            Self::WorkerUnreachable => 502,
            Self::Unavailable => 503,
        }
    }

    /// Returns the fixed title of this kind.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid request",
            Self::RequestTooLarge => "request too large",
            Self::RequestTimeout => "request timed out",
            Self::Forbidden => "forbidden",
            Self::NeedsAuthentication => "authentication needed",
            Self::NotFound => "not found",
            Self::MethodNotAllowed => "method not allowed",
            Self::NoSuchJob => "no such job",
            Self::WrongState => "wrong state",
            Self::KeyReused => "idempotency key reused",
            Self::NoScreen => "no screen",
            Self::QuotaExceeded => "quota exceeded",
            Self::Unavailable => "unavailable",
            Self::WorkerUnreachable => "worker unreachable",
            Self::Internal => "internal error",
            Self::Unknown => "unknown problem",
        }
    }
}

impl Problem {
    /// Makes a problem of this kind; the status and title follow from it.
    #[must_use]
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        Self { code, status: code.status(), title: code.title().to_owned(), detail: detail.into(), hint: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.title, self.detail)
    }
}

impl std::error::Error for Problem {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_problem_json() {
        let problem = Problem::new(ProblemCode::NoSuchJob, "no job abc").with_hint("`kiln jobs` lists them");
        assert_eq!(
            serde_json::to_string(&problem).unwrap(),
            r#"{"code":"no-such-job","status":404,"title":"no such job","detail":"no job abc","hint":"`kiln jobs` lists them"}"#
        );
    }

    #[test]
    fn an_unknown_code_of_a_newer_daemon_is_understood() {
        let text = r#"{"code":"teapot","status":418,"title":"t","detail":"d"}"#;
        assert_eq!(serde_json::from_str::<Problem>(text).unwrap().code, ProblemCode::Unknown);
    }
}
