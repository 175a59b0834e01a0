//! Which jobs a list shall hold, as the query says it.

use kiln_protocol::{JobState, ProblemCode};
use serde::Deserialize;

use super::problem::ApiProblem;
use crate::journal::Wanted;

/// Jobs in a list when the client does not say.
const DEFAULT_LIMIT: u32 = 100;

#[derive(Deserialize)]
pub(super) struct ListQuery {
    limit: Option<u32>,
    all: Option<bool>,
    state: Option<String>,
    since: Option<String>,
    unfinished_first: Option<bool>,
}

impl ListQuery {
    pub(super) fn wanted(self) -> Result<Wanted, ApiProblem> {
        let invalid = |detail: String| ApiProblem::new(ProblemCode::InvalidRequest, detail);
        let state = |name: &str| {
            let known = JobState::ALL.into_iter().find(|state| state.as_str() == name);
            let names = JobState::ALL.map(JobState::as_str).join(", ");
            known.map(Into::into).ok_or_else(|| invalid(format!("`state` is `{name}`, not one of {names}")))
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
            owner: None,
        })
    }
}
