//! One table of routes, from which both the router and the OpenAPI document are made.

use axum::Router;
use axum::extract::{Extension, Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodRouter, delete, get, post};
use kiln_protocol::{ALLOW_INTERACTION_HEADER, Problem, ProblemCode};

use super::handlers::DocumentOf;
use super::openapi::{Answer, Operation, Parameter, document};
use super::problem::{ApiProblem, problem_response};
use super::state::ApiState;
use super::{events, handlers};
use crate::caller::Caller;

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

/// Makes the router. Every request needs a [`Caller`] among its extensions.
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
        .layer(Extension(DocumentOf(document_of_routes)))
        .layer(middleware::from_fn_with_state(state.clone(), refuse_strangers))
        .with_state(state)
}

fn document_of_routes() -> serde_json::Value {
    document(routes().into_iter().map(|route| route.operation))
}

/// Refuses strangers before anything of their request is read. Whatever comes through is asked again by [`Jobs`](crate::jobs::Jobs).
async fn refuse_strangers(State(state): State<ApiState>, mut request: Request, next: Next) -> Response {
    let interactive = request.headers().get(ALLOW_INTERACTION_HEADER).is_some_and(|value| value == "yes");
    if let Some(caller) = request.extensions_mut().get_mut::<Caller>() {
        *caller = caller.asking(interactive);
    }
    let admitted = match request.extensions().get::<Caller>() {
        Some(caller) => state.jobs.admit(caller).await.map_err(ApiProblem::from),
        None => Err(ApiProblem::new(ProblemCode::Forbidden, "the kernel does not say who has connected")),
    };
    match admitted {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}
