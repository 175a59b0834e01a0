//! The HTTP API: one table of routes, from which both the router and the OpenAPI document are made.

mod body;
mod events;
mod handlers;
mod hypervisors;
mod openapi;
mod problem;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{MethodRouter, delete, get, post};
use kiln_protocol::{Problem, ProblemCode};
use tokio_util::sync::CancellationToken;

use crate::jobs::Jobs;
use crate::peer::Peer;
use crate::runner::JobRunner;
use hypervisors::Hypervisors;
use openapi::{Answer, Operation, Parameter};

pub(crate) use problem::problem_response;

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ApiState {
    jobs: Jobs,
    shutdown: CancellationToken,
    started_at: Arc<str>,
    hypervisors: Arc<Hypervisors>,
}

impl ApiState {
    pub(crate) fn new(jobs: Jobs, runner: Arc<dyn JobRunner>, shutdown: CancellationToken) -> Self {
        let started_at = format!("{:.3}", jiff::Timestamp::now()).into();
        Self { jobs, shutdown, started_at, hypervisors: Arc::new(Hypervisors::new(runner)) }
    }
}

/// A route: what the document says of it, and what does it.
struct Route {
    operation: Operation,
    handler: MethodRouter<ApiState>,
}

const JOB: Parameter = Parameter::path("id", "Identifier of the job.");

fn routes() -> Vec<Route> {
    let route = |operation, handler| Route { operation, handler };
    vec![
        route(
            Operation::get("/v1/info", "getInfo", "Describes this daemon: version, abilities, hypervisors.")
                .answers(200, Answer::json::<kiln_protocol::Info>("The daemon.")),
            get(handlers::info),
        ),
        route(
            Operation::post("/v1/jobs", "createJob", "Submits a job.")
                .parameter(Parameter::header(
                    "Idempotency-Key",
                    "Makes the request repeatable: the same key and body give the same job.",
                ))
                .takes::<kiln_protocol::JobSubmission>()
                .answers(201, Answer::json::<kiln_protocol::Job>("The new job."))
                .answers(200, Answer::json::<kiln_protocol::Job>("The job that was submitted under this key before.")),
            post(handlers::create_job),
        ),
        route(
            Operation::get("/v1/jobs", "listJobs", "Lists jobs, newest first.")
                .parameter(Parameter::query("limit", "Number of jobs at most; 100 when not given."))
                .parameter(Parameter::query("all", "`false`: without looks at images that are over."))
                .parameter(Parameter::query("state", "Only jobs in one of these states, separated by commas."))
                .parameter(Parameter::query("since", "Only jobs that were submitted at this time (RFC 3339) or later."))
                .parameter(Parameter::query("unfinished_first", "`true`: jobs that are not over before all others."))
                .answers(200, Answer::json::<kiln_protocol::JobList>("The jobs.")),
            get(handlers::list_jobs),
        ),
        route(
            Operation::get("/v1/jobs/{id}", "getJob", "Describes a job.")
                .parameter(JOB)
                .answers(200, Answer::json::<kiln_protocol::Job>("The job.")),
            get(handlers::get_job),
        ),
        route(
            Operation::delete("/v1/jobs/{id}", "removeJob", "Removes a job that is over: its record, its events, its files.")
                .parameter(JOB)
                .answers(204, Answer::nothing("The job is removed.")),
            delete(handlers::remove_job),
        ),
        route(
            Operation::get(
                "/v1/jobs/{id}/events",
                "getEvents",
                "Returns the job's events as NDJSON, or as server-sent events when asked for by `Accept: text/event-stream`.",
            )
            .parameter(JOB)
            .parameter(Parameter::query("after", "Only events with a greater number."))
            .parameter(Parameter::query("follow", "`true`: go on with new events until the job is over."))
            .parameter(Parameter::header("Last-Event-ID", "As `after`, for server-sent events."))
            .answers(
                200,
                Answer::events(
                    "One event a line. Empty lines (comments in server-sent events) are heartbeats. A stream that ends without \
                     `job_finished` was cut off: ask again with `after`.",
                ),
            ),
            get(events::events),
        ),
        route(
            Operation::post("/v1/jobs/{id}/cancel", "cancelJob", "Cancels a job; it is over when its clean-up is done.")
                .parameter(JOB)
                .takes::<kiln_protocol::CancelRequest>()
                .answers(202, Answer::json::<kiln_protocol::Job>("The job.")),
            post(handlers::cancel_job),
        ),
        route(
            Operation::post("/v1/jobs/{id}/answers", "answerPrompt", "Answers a prompt of a job.")
                .parameter(JOB)
                .takes::<kiln_protocol::Answer>()
                .answers(204, Answer::nothing("The answer was taken.")),
            post(handlers::answer),
        ),
        route(
            Operation::get("/v1/jobs/{id}/screen", "getScreen", "Shows the screen of a guest that runs.")
                .parameter(JOB)
                .parameter(Parameter::query("build", "Whose guest; any when not given."))
                .answers(200, Answer::png("The screen.")),
            get(handlers::screen),
        ),
        route(
            Operation::post("/v1/shutdown", "shutDown", "Stops the daemon. Workers run on; the next daemon takes them up.")
                .answers(202, Answer::json::<kiln_protocol::ShutdownReport>("What is left behind.")),
            post(handlers::shutdown),
        ),
        route(
            Operation::get("/v1/openapi.json", "getOpenApi", "Returns this document (OpenAPI 3.1).")
                .answers(200, Answer::document("The document.")),
            get(handlers::openapi),
        ),
    ]
}

/// Makes the router. Every request needs a [`Peer`] among its extensions.
pub(crate) fn router(state: ApiState) -> Router {
    let mut router = Router::new();
    for route in routes() {
        router = router.route(route.operation.path, route.handler);
    }
    router
        .fallback(async || problem_response(&Problem::new(ProblemCode::NotFound, "no such path")))
        .method_not_allowed_fallback(async || {
            problem_response(&Problem::new(ProblemCode::MethodNotAllowed, "the path does not take this method"))
        })
        .layer(middleware::from_fn_with_state(state.clone(), refuse_strangers))
        .with_state(state)
}

/// Lets only the owner through.
async fn refuse_strangers(State(state): State<ApiState>, request: Request, next: Next) -> Response {
    let owner = state.jobs.owner();
    match request.extensions().get::<Peer>() {
        Some(peer) if peer.uid == owner => next.run(request).await,
        peer => {
            let uid = peer.map_or_else(|| "unknown".to_owned(), |peer| peer.uid.to_string());
            tracing::warn!(uid, pid = ?peer.and_then(|peer| peer.pid), path = request.uri().path(), "a stranger was refused");
            let detail = format!("this daemon serves user {owner} only, and you are user {uid}");
            problem_response(
                &Problem::new(ProblemCode::Forbidden, detail)
                    .with_hint("unset KILN_SOCKET to use a daemon of your own"),
            )
        }
    }
}
