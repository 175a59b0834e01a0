//! What a daemon that cannot serve says on the socket that it was handed over: why, and who mends it.
//!
//! Who connected is in the kernel's queue, and the service manager starts the service for it again and again until it gives up on service and
//! socket. So everybody who waits is answered before the process ends. The next client starts another, which looks at the configuration anew.

use std::convert::Infallible;
use std::os::unix::net;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use kiln_protocol::{Problem, ProblemCode};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use crate::api;
use crate::config::Mode;
use crate::failure::Failure;

/// Time without a client after which the process ends; longer than a fifth of the ten seconds in which systemd lets a service start five times.
const QUIET: Duration = Duration::from_secs(3);

/// The same where systemd starts it again by itself, which would be every few seconds without end, with some lines in its log each time.
const QUIET_BEFORE_NEXT: Duration = Duration::from_secs(30);

/// Time after which it ends in any case, to look at the configuration anew: systemd waits longer for a service to be ready.
const LONGEST: Duration = Duration::from_secs(20);

/// When the next one may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// As soon as everybody is answered: only a client starts it, or it is the first that fails.
    Soon,
    /// The service manager starts it, and this one has not even come to serve: that may go by itself, as a full disk, and in no hurry.
    Later,
}

impl Next {
    fn quiet(self) -> Duration {
        match self {
            Self::Soon => QUIET,
            Self::Later => QUIET_BEFORE_NEXT,
        }
    }
}

/// Time for one client to take its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Clients that are answered at once.
const CLIENTS: usize = 64;

/// Answers whoever comes, until nobody has for a while.
pub(crate) async fn tell_who_comes(
    listener: net::UnixListener,
    mode: Mode,
    failure: &Failure,
    next: Next,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let mut terminated = signal(SignalKind::terminate())?;
    let problem = Arc::new(problem(mode, failure));
    let (places, clients) = (Arc::new(Semaphore::new(CLIENTS)), TaskTracker::new());
    let end = Instant::now() + LONGEST.max(next.quiet());
    let mut quiet = Instant::now() + next.quiet();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = sleep_until(quiet.min(end)) => break,
            _ = terminated.recv() => return Ok(()),
        };
        let (stream, _) = accepted?;
        // Whoever has a place gives it back in time.
        let Ok(Ok(place)) = timeout_at(end, Arc::clone(&places).acquire_owned()).await else { break };
        let problem = Arc::clone(&problem);
        clients.spawn(async move {
            answer(stream, &problem).await;
            drop(place);
        });
        quiet = Instant::now() + next.quiet();
    }
    clients.close();
    // It is limited by that of one client, and the runtime's end comes anyway.
    let _ = timeout(ANSWER_TIMEOUT, clients.wait()).await;
    Ok(())
}

async fn answer(stream: UnixStream, problem: &Problem) {
    let service = service_fn(async |mut request: hyper::Request<Incoming>| {
        // A client that still sends would see a broken connection.
        while request.body_mut().frame().await.is_some_and(|frame| frame.is_ok()) {}
        Ok::<_, Infallible>(api::problem_response(problem))
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    // A client that does not even read this has lost nothing.
    let _ = timeout(ANSWER_TIMEOUT, connection).await;
}

/// What is wrong, as whoever may connect may know it.
fn problem(mode: Mode, failure: &Failure) -> Problem {
    let detail = format!("kilnd cannot start: {}", without_excerpts(&failure.error));
    let problem = Problem::new(ProblemCode::Unavailable, detail);
    match (mode, &failure.hint) {
        (Mode::User, Some(hint)) => problem.with_hint(hint.clone()),
        (Mode::User, None) => problem,
        (Mode::System, _) => problem.with_hint(
            "an administrator mends it: `journalctl -u kilnd.service` and `kilnd --system --print-config` say more. Where systemd has given up, \
             `systemctl reset-failed kilnd.service kilnd.socket; systemctl start kilnd.socket`. Meanwhile `kilnd --user` serves you alone",
        ),
    }
}

/// Leaves out the lines of a file that an error quotes: it may be a file that is not everybody's to read.
fn without_excerpts(error: &str) -> String {
    let is_excerpt =
        |line: &str| line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit()).trim_start().starts_with('|');
    let lines: Vec<_> = error.lines().filter(|line| !is_excerpt(line)).map(str::trim).collect();
    lines.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config_file::ConfigFile;

    #[test]
    fn everybody_hears_what_is_wrong_and_nobody_what_is_in_the_file() {
        let error = ConfigFile::parse("max_job = \"hunter2\"").unwrap_err();
        assert!(error.contains("hunter2"), "{error}");
        let failure = Failure { error: format!("/etc/kiln/kiln.toml: {error}"), hint: Some("for root".to_owned()) };
        let told = problem(Mode::System, &failure);
        let begin = "kilnd cannot start: /etc/kiln/kiln.toml: TOML parse error at line 1, column 1: unknown field `max_job`, expected one of";
        assert!(told.detail.starts_with(begin), "{}", told.detail);
        assert!(
            told.detail.ends_with(": did you mean `max_jobs`?") && !told.detail.contains("hunter2"),
            "{}",
            told.detail
        );
        assert!(told.hint.unwrap().contains("systemctl reset-failed kilnd.service"));
        assert_eq!(problem(Mode::User, &failure).hint.as_deref(), Some("for root"));
    }

    /// systemd's `TimeoutStartSec=` of the unit is 60 s, and with the claim of the directories before it this must come to an end in that time.
    #[test]
    fn a_manager_is_not_kept_busy_and_not_kept_waiting_either() {
        let unit = include_str!("../../systemd/units/system/kilnd.service");
        let limit = unit.lines().find_map(|line| line.strip_prefix("TimeoutStartSec=")).unwrap();
        let limit = Duration::from_secs(limit.parse().unwrap());
        let longest = LONGEST.max(Next::Later.quiet()) + ANSWER_TIMEOUT;
        assert!(longest + Duration::from_secs(20) < limit, "{longest:?}");
        assert!(Next::Later.quiet() >= Duration::from_secs(30) && Next::Soon.quiet() < LONGEST);
    }

    #[tokio::test]
    async fn whoever_waits_is_answered_before_the_process_ends() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("kiln.sock");
        let listener = net::UnixListener::bind(&path).unwrap();
        let kept = listener.try_clone().unwrap();
        let mut clients = Vec::new();
        for _ in 0..3 {
            clients.push(UnixStream::connect(&path).await.unwrap());
        }
        let asked = async {
            let mut said = Vec::new();
            for mut client in clients {
                tokio::io::AsyncWriteExt::write_all(&mut client, b"GET /v1/info HTTP/1.1\r\nhost: kiln\r\n\r\n")
                    .await
                    .unwrap();
                let mut text = String::new();
                tokio::io::AsyncReadExt::read_to_string(&mut client, &mut text).await.unwrap();
                said.push(text);
            }
            said
        };
        let failure = Failure { error: "no".to_owned(), hint: None };
        let (told, said) = tokio::join!(tell_who_comes(listener, Mode::User, &failure, Next::Soon), asked);
        told.unwrap();
        for text in said {
            assert!(text.starts_with("HTTP/1.1 503 ") && text.contains("kilnd cannot start: no"), "{text}");
        }
        // The manager's is as it was.
        drop(kept);
    }
}
