//! The HTTP API: what comes over the socket becomes a call of [`Jobs`](crate::jobs::Jobs), and what comes of it an answer.

mod body;
mod events;
mod handlers;
mod hypervisors;
mod list;
mod openapi;
mod problem;
mod routes;
mod state;

pub(crate) use problem::{problem_response, quota_problem};
pub(crate) use routes::router;
pub(crate) use state::ApiState;
