//! Accepts connections and serves the API on them, within limits: idle ones make room for new ones.

use std::convert::Infallible;
use std::future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kiln_builder::connections::{Connections, Place};
use kiln_protocol::{Problem, ProblemCode};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;

use crate::answer_time::{AnswerTime, Timed};
use crate::api::{self, ApiState};
use crate::bus::{Activity, Bus};
use crate::caller::Caller;
use crate::config::{Config, Limits};
use crate::jobs::{Jobs, StartError};
use crate::quotas::{Quota, Shares};
use crate::reload::Reloaded;
use crate::runner::JobRunner;

/// Time for open requests when the daemon stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);

/// Time for a client to take an answer. Streams of events are none of these: they are read as slowly as anybody likes.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Time for telling a client that there are too many.
const TURN_AWAY_TIMEOUT: Duration = Duration::from_secs(2);

/// Clients of one user that are told at once that the user has too many connections.
const APOLOGIES: usize = 8;

/// Places on top of all others, for users who have few connections: some users who take all of those leave them to the rest.
const KEPT: usize = 32;

/// How many of them one user may have: so many connections are few.
const KEPT_FOR_EACH_USER: usize = 2;

/// Largest buffer per connection for what is read, in bytes; also the limit of a request's header.
const READ_BUFFER_BYTES: usize = 64 << 10;

/// Reports that the daemon cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The jobs cannot be taken care of.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl ServeError {
    /// Returns what to do about it, where that is known.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Start(error) => error.hint(),
        }
    }
}

/// Serves until `shutdown` is cancelled (from outside, or by `POST /v1/shutdown`). Workers run on.
///
/// What comes in by `reload` is taken over as far as it can change while jobs run. `ready` is called once when requests are answered.
///
/// # Errors
///
/// The journal cannot be used, or the system refuses.
pub async fn serve(
    config: Config,
    listener: UnixListener,
    runner: Arc<dyn JobRunner>,
    shutdown: CancellationToken,
    mut reload: watch::Receiver<Reloaded>,
    ready: impl FnOnce(),
) -> Result<(), ServeError> {
    let (limits, idle_limit) = (config.limits, config.exit_on_idle);
    let shares = Shares::new(Quota::Connections, config.quotas.connections);
    let followers = Shares::new(Quota::Followers, config.quotas.followers);
    let apologies = Shares::new(Quota::Connections, APOLOGIES);
    let jobs = Jobs::start(config).await?;
    let bus = Bus::start(&jobs, shutdown.clone());
    let router = api::router(ApiState::new(jobs.clone(), bus.clone(), runner, shutdown.clone(), followers.clone()));
    let places = Connections::new(limits.connections);
    let kept = Connections::new(KEPT);
    let connections = TaskTracker::new();
    ready();
    let mut last_client = Instant::now();
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    // Out of descriptors: the pause keeps this from becoming a busy loop until some are free.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            Ok(()) = reload.changed() => {
                let Reloaded { config: changed, note } = reload.borrow_and_update().clone();
                shares.resize(changed.quotas.connections);
                followers.resize(changed.quotas.followers);
                if jobs.reconfigure(&changed, note).await.is_err() {
                    break;
                }
                continue;
            }
            () = idle(idle_limit, last_client, &connections, bus.activity(), &jobs) => {
                tracing::info!("nothing to do; the next client starts a daemon again");
                break;
            }
            () = shutdown.cancelled() => break,
        };
        last_client = Instant::now();
        // Whoever comes in masses is refused by the uid alone: what else is to be known of a caller takes several looks at its process,
        // and everybody waits behind them.
        let user = match Caller::user_of(&stream) {
            Ok(user) => user,
            Err(error) => {
                tracing::warn!(%error, "a connection without credentials was closed");
                continue;
            }
        };
        let share = match shares.take(user) {
            Ok(share) => share,
            Err(exceeded) => {
                // Who comes in masses is not even told why.
                if let Ok(apology) = apologies.take(user) {
                    connections.spawn(async move {
                        turn_away(stream, api::quota_problem(exceeded)).await;
                        drop(apology);
                    });
                }
                continue;
            }
        };
        let caller = match Caller::of(&stream) {
            Ok(caller) => caller,
            Err(error) => {
                tracing::warn!(%error, "a connection without credentials was closed");
                continue;
            }
        };
        let is_one_of_few = share.number() <= KEPT_FOR_EACH_USER;
        let (router, stopping) = (router.clone(), &shutdown);
        let shutdown = shutdown.clone();
        let serve = async move |stream, place| {
            let _share = share;
            serve_connection(stream, place, caller, router, limits, shutdown).await;
        };
        if let Some(place) = places.take().or_else(|| is_one_of_few.then(|| kept.take()).flatten()) {
            connections.spawn(async move { serve(stream, place).await });
            continue;
        }
        let in_line = tokio::select! {
            in_line = places.queue() => in_line,
            () = stopping.cancelled() => break,
        };
        let places = places.clone();
        connections.spawn(async move {
            let place = places.wait(limits.wait_for_place).await;
            drop(in_line);
            match place {
                Some(place) => serve(stream, place).await,
                None => {
                    turn_away(stream, Problem::new(ProblemCode::Unavailable, "too many connections to kilnd")).await;
                }
            }
        });
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(DRAIN_TIMEOUT, connections.wait()).await.is_err() {
        tracing::warn!("some connections were cut off");
    }
    Ok(())
}

/// Waits until there has been no job and no client for so long since the last one came; for ever when there is no limit.
async fn idle(limit: Option<Duration>, last_client: Instant, connections: &TaskTracker, bus: &Activity, jobs: &Jobs) {
    let Some(limit) = limit else { return future::pending().await };
    let mut quiet_since = last_client.max(bus.last_call());
    loop {
        tokio::time::sleep_until(quiet_since + limit).await;
        if bus.last_call() > quiet_since {
            quiet_since = bus.last_call();
            continue;
        }
        // One that stops is no longer this function's to end.
        let busy = !connections.is_empty() || bus.is_read() || jobs.is_busy().await.unwrap_or(true);
        if !busy {
            return;
        }
        quiet_since = Instant::now();
    }
}

async fn serve_connection(
    stream: UnixStream,
    place: Place,
    caller: Caller,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let requests = &place;
    let answer_time = AnswerTime::default();
    let stream = Timed::new(stream, answer_time.clone());
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        let busy = requests.busy();
        let mut request: Request = request.map(Body::new);
        request.extensions_mut().insert(caller);
        let (answer, answer_time) = (router.clone().oneshot(request), answer_time.clone());
        async move {
            let answer = answer.await?;
            if answer.body().size_hint().exact().is_some() {
                answer_time.begin(ANSWER_TIMEOUT);
            }
            Ok::<_, Infallible>(answer.map(|body| Body::new(busy.until_sent(body))))
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header)
        .max_buf_size(READ_BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let served = tokio::select! {
        // First of all: after this word no request may begin.
        biased;
        () = place.must_close() => return,
        served = connection.as_mut() => served,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}

/// Says that there are too many connections.
async fn turn_away(stream: UnixStream, problem: Problem) {
    let service = service_fn(|_| async { Ok::<_, Infallible>(api::problem_response(&problem)) });
    let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
    // A client that does not even read this has lost nothing.
    let _ = tokio::time::timeout(TURN_AWAY_TIMEOUT, connection).await;
}
