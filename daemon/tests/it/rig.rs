//! A daemon in this process, its scripted workers beside it, and a plain HTTP client.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::header::HeaderMap;
use hyper_util::rt::TokioIo;
use kiln_builder::process_stat::ProcessStat;
use kiln_daemon::ProcessIdentity;
use kiln_daemon::config::{Config, Limits, Mode};
use kiln_daemon::quotas::Quotas;
use kiln_daemon::runner::{BoxFuture, EventSink, JobRequest, JobRunner, StartedJob, SweepReport};
use kiln_protocol::{Event, EventBody, HypervisorInfo, Job, JobId, JobState, Question};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest wait for anything in these tests; far more than it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Returns kilnd with scripted jobs, which `cargo test` builds as an example.
pub(crate) fn scripted_kilnd() -> PathBuf {
    let this = std::env::current_exe().expect("the test's own path");
    let path = this.parent().and_then(Path::parent).expect("target/PROFILE/deps").join("examples/kilnd_scripted");
    assert!(path.is_file(), "{} is missing: `cargo build -p kiln-daemon --examples`", path.display());
    path
}

/// The daemon's side of the runner; jobs run in other processes.
struct NoJobsHere;

impl JobRunner for NoJobsHere {
    fn start(&self, _: JobRequest, _: EventSink) -> StartedJob {
        panic!("the daemon itself never runs a job")
    }

    fn sweep(&self, _: &Path) -> std::io::Result<SweepReport> {
        panic!("the daemon itself never sweeps")
    }

    fn give_back(&self, _: &Path, _: SystemTime) -> std::io::Result<SweepReport> {
        panic!("the daemon itself never gives anything back")
    }

    fn hypervisors(&self) -> BoxFuture<'_, Vec<HypervisorInfo>> {
        let reason = Some("not installed".to_owned());
        let info = HypervisorInfo { name: "none".to_owned(), available: false, version: None, reason };
        Box::pin(std::future::ready(vec![info]))
    }
}

/// A daemon that serves until dropped.
pub(crate) struct Daemon {
    pub(crate) scratch: TempDir,
    pub(crate) config: Config,
    shutdown: CancellationToken,
    scripts: AtomicUsize,
    serving: Option<JoinHandle<()>>,
}

impl Daemon {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let scratch = tempfile::Builder::new().prefix("kd").tempdir().unwrap();
        let mut config = Config {
            mode: Mode::User,
            owner: rustix::process::geteuid().as_raw(),
            socket: scratch.path().join("run/kiln.sock"),
            state_directory: scratch.path().join("state"),
            cache_directory: PathBuf::new(),
            worker_program: scripted_kilnd(),
            max_running_jobs: 2,
            limits: Limits::default(),
            quotas: Quotas::NONE,
            exit_on_idle: None,
            log: None,
            units: None,
            nologin_users: Vec::new(),
            polkit: None,
            manager: None,
            bus: None,
        };
        std::fs::create_dir_all(&config.state_directory).unwrap();
        std::fs::create_dir_all(config.runtime_directory()).unwrap();
        change(&mut config);
        let mut daemon =
            Self { scratch, config, shutdown: CancellationToken::new(), scripts: AtomicUsize::new(0), serving: None };
        daemon.serve().await;
        daemon
    }

    async fn serve(&mut self) {
        let _ = std::fs::remove_file(&self.config.socket);
        let listener = UnixListener::bind(&self.config.socket).unwrap();
        self.shutdown = CancellationToken::new();
        let (config, shutdown) = (self.config.clone(), self.shutdown.clone());
        let (_, reload) = watch::channel(kiln_daemon::Reloaded::at_start(config.clone()));
        self.serving = Some(tokio::spawn(async move {
            kiln_daemon::serve(config, listener, Arc::new(NoJobsHere), shutdown, reload, || ()).await.unwrap();
        }));
    }

    /// Stops the daemon, but not its workers.
    pub(crate) async fn stop(&mut self) {
        self.shutdown.cancel();
        if let Some(serving) = self.serving.take() {
            tokio::time::timeout(PATIENCE, serving).await.unwrap().unwrap();
        }
    }

    /// Stops the daemon, and makes room for one in a process of its own.
    pub(crate) async fn stop_for_process(&mut self) {
        self.stop().await;
        let _ = std::fs::remove_file(&self.config.socket);
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(self.config.runtime_directory(), closed).unwrap();
    }

    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.serve().await;
    }

    /// Waits until the daemon stops by itself.
    pub(crate) async fn stopped(&mut self) {
        tokio::time::timeout(PATIENCE, self.serving.take().unwrap()).await.unwrap().unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub(crate) async fn connect(&self) -> UnixStream {
        UnixStream::connect(&self.config.socket).await.unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], "").await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send("POST", path, &[], body.to_string()).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Reply {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(self.connect().await)).await.unwrap();
        tokio::spawn(connection);
        let mut request = Request::builder().method(method).uri(path).header("host", "kiln");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let exchange = async {
            let response = sender.send_request(request.body(Full::new(body.into())).unwrap()).await.unwrap();
            let (status, headers) = (response.status().as_u16(), response.headers().clone());
            Reply { status, headers, body: response.into_body().collect().await.unwrap().to_bytes() }
        };
        tokio::time::timeout(PATIENCE, exchange).await.expect("an answer in time")
    }

    /// Writes a script and returns a submission for it.
    pub(crate) fn submission(&self, script: &Value) -> Value {
        // Each has a file of its own: the worker reads it when it starts.
        let name = format!("script-{}.json", self.scripts.fetch_add(1, Ordering::Relaxed));
        std::fs::write(self.path(&name), script.to_string()).unwrap();
        let environment = json!({"PATH": "/usr/bin:/bin", "GREETING": "hello"});
        let directory = self.scratch.path();
        json!({"kind": "build", "template": name, "working_directory": directory, "environment": environment})
    }

    pub(crate) async fn submit(&self, script: &Value) -> JobId {
        let reply = self.post("/v1/jobs", &self.submission(script)).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json::<Job>().id
    }

    pub(crate) async fn job(&self, id: &JobId) -> Job {
        self.get(&format!("/v1/jobs/{id}")).await.json()
    }

    /// Returns all events once the job is over.
    pub(crate) async fn events(&self, id: &JobId) -> Vec<Event> {
        self.get(&format!("/v1/jobs/{id}/events?follow=true")).await.events()
    }

    /// Waits until the job has an event that fits.
    pub(crate) async fn wait_for(&self, id: &JobId, fits: impl Fn(&Event) -> bool) -> Event {
        let path = format!("/v1/jobs/{id}/events");
        until("the event", async || self.get(&path).await.events().into_iter().find(&fits)).await
    }

    /// Waits until the job asks so many questions, and returns them.
    pub(crate) async fn wait_for_questions(&self, id: &JobId, count: usize) -> Vec<Question> {
        self.wait_for_job(id, |job| job.questions.len() == count).await.questions
    }

    pub(crate) async fn wait_for_state(&self, id: &JobId, state: JobState) -> Job {
        self.wait_for_job(id, |job| job.state == state).await
    }

    /// Waits until the job is as wanted.
    pub(crate) async fn wait_for_job(&self, id: &JobId, is_so: impl Fn(&Job) -> bool) -> Job {
        until("the job", async || Some(self.job(id).await).filter(&is_so)).await
    }
}

/// Asks again and again, where nothing tells of the change.
pub(crate) async fn until<T>(what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = ask().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, found).await.unwrap_or_else(|_| panic!("{what} in time"))
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // No worker outlives its test.
        let jobs = |state: PathBuf| std::fs::read_dir(state.join("jobs")).into_iter().flatten().flatten();
        for job in jobs(self.config.state_directory.clone()).chain(jobs(self.path("home/kiln"))) {
            let path = job.path().join("worker.json");
            // A test may have put something else there.
            let identity = path.is_file().then(|| std::fs::read(path).ok()).flatten();
            let identity = identity.and_then(|text| serde_json::from_slice::<ProcessIdentity>(&text).ok());
            if let Some(process) = identity.as_ref().and_then(ProcessIdentity::open) {
                let _ = rustix::process::pidfd_send_signal(process, rustix::process::Signal::KILL);
            }
        }
    }
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Reply {
    pub(crate) fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn events_with_gaps(&self) -> Vec<Event> {
        assert_eq!(self.status, 200, "{self:?}");
        let lines = self.text().lines().filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        let events = self.events_with_gaps();
        for pair in events.windows(2) {
            assert_eq!(pair[0].seq + 1, pair[1].seq, "numbered without gaps");
        }
        events
    }

    /// Checks that this is a problem of the given kind, and returns what it says.
    pub(crate) fn problem(&self, status: u16, code: &str) -> String {
        let problem: Value = self.json();
        assert_eq!((self.status, problem["code"].as_str()), (status, Some(code)), "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(problem["status"], status);
        problem["detail"].as_str().unwrap().to_owned()
    }
}

/// Returns the texts of what was said, and of errors.
pub(crate) fn texts(events: &[Event]) -> Vec<&str> {
    fn said(event: &Event) -> Option<&str> {
        match &event.body {
            EventBody::Say { text, .. } | EventBody::Error { text, .. } => Some(text),
            _ => None,
        }
    }
    events.iter().filter_map(said).collect()
}

/// Returns how the job ended, from its last event.
pub(crate) fn ending(events: &[Event]) -> (JobState, u8, Option<&str>) {
    match &events.last().expect("events").body {
        EventBody::JobFinished { state, exit_code, error, .. } => (*state, *exit_code, error.as_deref()),
        other => panic!("the last event is {other:?}"),
    }
}

pub(crate) fn is_alive(pid: i32) -> bool {
    // A zombie counts as gone: nothing of it runs.
    u32::try_from(pid).is_ok_and(|pid| ProcessStat::of(pid).is_ok_and(|stat| !stat.ended))
}

/// Says that a test cannot run here; under KILN_TEST_REQUIRE=all that is a failure.
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "cannot run: needs {reason}");
    eprintln!("ignored: needs {reason}");
}
