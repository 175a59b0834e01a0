//! kilnd as a service: a socket that was handed over, and what the manager is told. The manager is this test, which speaks systemd's protocol
//! (sd_notify(3), sd_listen_fds(3)); systemd itself comes in the lab.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::rig::{PATIENCE, scripted_kilnd};

/// A service manager with one service.
struct Manager {
    scratch: TempDir,
    notifications: UnixDatagram,
    listener: UnixListener,
    service: Option<Child>,
    scripts: AtomicUsize,
}

impl Manager {
    fn new(configuration: &str) -> Self {
        let scratch = tempfile::Builder::new().prefix("ks").tempdir().unwrap();
        let run = scratch.path().join("run/kiln");
        std::fs::create_dir_all(&run).unwrap();
        std::fs::set_permissions(&run, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        std::fs::create_dir_all(scratch.path().join("config/kiln")).unwrap();
        let notifications = UnixDatagram::bind(scratch.path().join("notify")).unwrap();
        notifications.set_read_timeout(Some(PATIENCE)).unwrap();
        let listener = UnixListener::bind(run.join("kiln.sock")).unwrap();
        let manager = Self { scratch, notifications, listener, service: None, scripts: AtomicUsize::new(0) };
        manager.configure(configuration);
        manager
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn configure(&self, text: &str) {
        std::fs::write(self.path("config/kiln/kiln.toml"), text).unwrap();
    }

    /// Starts the service with this socket as the first descriptor that it does not know (3), as a manager would.
    fn start(&mut self, watchdog: Option<Duration>) {
        self.start_on(OwnedFd::from(self.listener.try_clone().unwrap()), watchdog);
    }

    fn start_on(&mut self, socket: OwnedFd, watchdog: Option<Duration>) {
        let script = r#"exec 3<&0 </dev/null; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=api; exec "$0" --user"#;
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg(scripted_kilnd()).stdin(socket);
        command.env("NOTIFY_SOCKET", self.path("notify")).env("HOME", self.path("home"));
        // Where the socket is is known by the socket.
        command.env_remove("DBUS_SESSION_BUS_ADDRESS");
        command.env("XDG_RUNTIME_DIR", self.path("elsewhere")).env("XDG_STATE_HOME", self.path("state"));
        command.env("XDG_CONFIG_HOME", self.path("config")).stdout(Stdio::null()).stderr(Stdio::piped());
        for name in ["KILN_SOCKET", "KILN_MAX_JOBS", "KILN_LOG"] {
            command.env_remove(name);
        }
        if let Some(limit) = watchdog {
            command.env("WATCHDOG_USEC", limit.as_micros().to_string());
        }
        self.service = Some(command.spawn().unwrap());
    }

    /// Waits for a message with this line, and returns all lines until then.
    fn told(&self, line: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let start = Instant::now();
        while start.elapsed() < PATIENCE {
            let mut message = [0; 4096];
            let length = match self.notifications.recv(&mut message) {
                // By the end of a child of this process.
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                received => received.unwrap_or_else(|error| panic!("{line}: {error}; told: {lines:?}")),
            };
            lines.extend(String::from_utf8_lossy(&message[..length]).lines().map(str::to_owned));
            if lines.iter().any(|told| told == line) {
                return lines;
            }
        }
        panic!("{line} was not told in time: {lines:?}")
    }

    /// Returns how many messages of this kind came in that time.
    fn count(&self, line: &str, time: Duration) -> usize {
        let end = Instant::now() + time;
        let mut count = 0;
        while let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            self.notifications.set_read_timeout(Some(left)).unwrap();
            let mut message = [0; 4096];
            let length = match self.notifications.recv(&mut message) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(_) => break,
            };
            count += String::from_utf8_lossy(&message[..length]).lines().filter(|told| *told == line).count();
        }
        self.notifications.set_read_timeout(Some(PATIENCE)).unwrap();
        count
    }

    fn pid(&self) -> Pid {
        Pid::from_child(self.service.as_ref().unwrap())
    }

    fn ended(&mut self) -> ExitStatus {
        let mut service = self.service.take().unwrap();
        let start = Instant::now();
        loop {
            if let Some(status) = service.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < PATIENCE, "the service has not ended");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let mut stream = UnixStream::connect(self.path("run/kiln/kiln.sock")).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let head =
            format!("host: k\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {}", body.len());
        write!(stream, "{method} {path} HTTP/1.1\r\n{head}\r\n\r\n{body}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let body = answer.split_once("\r\n\r\n").unwrap().1;
        if body.is_empty() { Value::Null } else { serde_json::from_str(body).unwrap() }
    }

    fn info(&self) -> Value {
        self.ask("GET", "/v1/info", &Value::Null)
    }

    fn submit(&self, script: &Value) -> Value {
        // Each has a file of its own: the worker reads it when it starts.
        let name = format!("script-{}.json", self.scripts.fetch_add(1, Ordering::Relaxed));
        std::fs::write(self.path(&name), script.to_string()).unwrap();
        let environment = json!({"PATH": "/usr/bin:/bin"});
        let job = json!({"kind": "build", "template": name, "working_directory": self.scratch.path(), "environment": environment});
        self.ask("POST", "/v1/jobs", &job)
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        if let Some(mut service) = self.service.take() {
            let _ = service.kill();
            let _ = service.wait();
        }
    }
}

fn connects(path: &Path) -> bool {
    UnixStream::connect(path).is_ok()
}

#[test]
fn a_service_serves_on_its_managers_socket_says_how_it_is_and_leaves_the_socket() {
    let mut manager = Manager::new("max_jobs = 1");
    // A client that came before the daemon is the reason why it is started.
    let early = UnixStream::connect(manager.path("run/kiln/kiln.sock")).unwrap();
    manager.start(Some(Duration::from_secs(6)));
    manager.told("READY=1");
    drop(early);
    let info = manager.info();
    assert_eq!(info["socket"], manager.path("run/kiln/kiln.sock").to_str().unwrap());
    assert_eq!(info["max_running_jobs"], 1);

    manager.submit(&json!([{"await_answer": "go?"}]));
    manager.submit(&json!([]));
    let lines = manager.told("STATUS=1 running, 1 queued, 1 waiting for an answer");
    assert!(lines.contains(&"WATCHDOG=1".to_owned()), "{lines:?}");

    kill_process(manager.pid(), Signal::TERM).unwrap();
    manager.told("STOPPING=1");
    assert!(manager.ended().success());
    assert!(connects(&manager.path("run/kiln/kiln.sock")), "the socket is the manager's");

    // The next daemon finds the job running.
    manager.start(None);
    manager.told("READY=1");
    manager.told("STATUS=1 running, 1 queued, 1 waiting for an answer");
    let jobs = manager.ask("GET", "/v1/jobs", &Value::Null);
    let running = jobs["jobs"].as_array().unwrap().iter().find(|job| job["state"] == "running").unwrap();
    let prompt = &running["questions"][0]["prompt"];
    manager.ask(
        "POST",
        &format!("/v1/jobs/{}/answers", running["id"].as_str().unwrap()),
        &json!({"prompt": prompt, "answer": "yes"}),
    );
    manager.told("STATUS=idle");
}

#[test]
fn a_hangup_reads_the_configuration_and_a_wrong_one_changes_nothing() {
    let mut manager = Manager::new("max_jobs = 1");
    manager.start(None);
    manager.told("READY=1");
    manager.submit(&json!([{"await_file": "go"}]));
    manager.submit(&json!([{"await_file": "go"}]));
    manager.told("STATUS=1 running, 1 queued");

    manager.configure("max_jobs = none");
    kill_process(manager.pid(), Signal::HUP).unwrap();
    let lines = manager.told("READY=1");
    assert!(
        lines.contains(&"RELOADING=1".to_owned()) && lines.iter().any(|line| line.starts_with("MONOTONIC_USEC=")),
        "{lines:?}"
    );
    let said = lines
        .iter()
        .find(|line| line.starts_with("STATUS=configuration not read, the older one is in force: "))
        .unwrap();
    assert!(said.contains("kiln.toml") && said.contains("line 1"), "{said}");
    assert_eq!(manager.info()["max_running_jobs"], 1);
    // It stays in the line, also when the rest of it changes.
    let note = said.strip_prefix("STATUS=").unwrap().to_owned();
    manager.told(&format!("STATUS=1 running, 1 queued; {note}"));
    let notice = manager.info()["notices"][0].as_str().unwrap().to_owned();
    assert!(notice.starts_with("configuration not read, the older one is in force: "), "{notice}");
    assert!(notice.contains("kiln.toml") && notice.contains("line 1"), "{notice}");
    let jobs = manager.ask("GET", "/v1/jobs?state=queued", &Value::Null);
    let queued = jobs["jobs"][0]["id"].as_str().unwrap().to_owned();
    manager.ask("POST", &format!("/v1/jobs/{queued}/cancel"), &json!({"mode": "now"}));
    manager.told(&format!("STATUS=1 running; {note}"));

    // Until the next reload, which may leave something for a restart.
    manager.configure("max_jobs = 3\nlog = \"debug\"\nconnections = 100\nfinished_jobs = 9");
    kill_process(manager.pid(), Signal::HUP).unwrap();
    let lines = manager.told("READY=1");
    let restart = "a restart is needed for connections, log";
    assert!(lines.contains(&format!("STATUS={restart}")), "{lines:?}");
    manager.told(&format!("STATUS=1 running; {restart}"));
    assert_eq!(manager.info()["max_running_jobs"], 3);
    assert_eq!(manager.info()["notices"], json!([restart]));

    manager.configure("max_jobs = 3");
    manager.submit(&json!([{"await_file": "go"}]));
    kill_process(manager.pid(), Signal::HUP).unwrap();
    manager.told("STATUS=2 running");
    assert_eq!(manager.info()["notices"], Value::Null, "it is as the file says");
    std::fs::write(manager.path("go"), "").unwrap();
    manager.told("STATUS=idle");
}

#[test]
fn the_watchdog_is_fed_by_the_task_that_decides_and_by_nothing_else() {
    let mut manager = Manager::new("");
    let limit = Duration::from_millis(600);
    manager.start(Some(limit));
    manager.told("READY=1");
    manager.told("WATCHDOG=1");
    // A busy machine is late now and then.
    assert!(manager.count("WATCHDOG=1", limit * 5) >= 4, "it goes on");

    // A journal that somebody else holds is what can keep the task.
    let journal = Connection::open(manager.path("state/kiln/kiln.db")).unwrap();
    journal.execute_batch("BEGIN IMMEDIATE").unwrap();
    let submit = std::thread::scope(|threads| {
        let submitting = threads.spawn(|| manager.submit(&json!([])));
        // The submission may take a while to reach the task; from then on there is silence.
        let silent = (0..3).any(|_| manager.count("WATCHDOG=1", limit * 2) == 0);
        assert!(silent, "nobody says that the daemon is alive");
        journal.execute_batch("ROLLBACK").unwrap();
        submitting.join().unwrap()
    });
    assert_eq!(submit["kind"], "build", "{submit}");
    manager.told("WATCHDOG=1");
}

#[test]
fn a_service_without_work_ends_and_its_socket_stays() {
    let mut manager = Manager::new("exit_on_idle = \"5s\"");
    manager.start(None);
    manager.told("READY=1");
    manager.submit(&json!([{"await_file": "go"}]));
    assert_eq!(manager.count("STOPPING=1", Duration::from_secs(8)), 0, "a job runs");
    std::fs::write(manager.path("go"), "").unwrap();
    manager.told("STOPPING=1");
    assert!(manager.ended().success());
    assert!(connects(&manager.path("run/kiln/kiln.sock")));
    // A daemon that nobody would start again does not end by itself.
    let printed = Command::new(scripted_kilnd())
        .arg("--print-config")
        .env("XDG_CONFIG_HOME", manager.path("config"))
        .env("XDG_RUNTIME_DIR", "/run/user/1")
        .env("HOME", "/h")
        .env("KILN_MAX_JOBS", "7")
        .env("KILN_MAXJOBS", "9")
        .env_remove("KILN_SOCKET")
        .env_remove("XDG_STATE_HOME")
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(printed.stderr).unwrap(),
        "warning: the variable KILN_MAXJOBS means nothing to Kiln: did you mean KILN_MAX_JOBS?\n"
    );
    let printed = String::from_utf8(printed.stdout).unwrap();
    let file = manager.path("config/kiln/kiln.toml");
    assert_eq!(
        printed,
        format!(
            "# For a kilnd that is started now with this shell's environment.\n# socket: /run/user/1/kiln/kiln.sock\n# state: /h/.local/state/kiln\n# configuration: {0}\nmax_jobs = 7 # $KILN_MAX_JOBS\n\
             finished_jobs = 500 # default\nconnections = 256 # default\nexit_on_idle = \"5s\" # {0}\ndbus = true # default\n# log is not set # default: info\n",
            file.display()
        )
    );
}

/// `systemctl --user enable --now kilnd.socket` where `kiln` has started a daemon before: clients reach the manager's socket alone.
#[test]
fn a_service_takes_over_from_a_daemon_that_nobody_reaches_any_more() {
    let mut manager = Manager::new("");
    let socket = manager.path("run/kiln/kiln.sock");
    std::fs::remove_file(&socket).unwrap();
    let mut first = Command::new(scripted_kilnd());
    first.args(["--user", "--detached"]).env("KILN_SOCKET", &socket).env("XDG_STATE_HOME", manager.path("state"));
    first.env("XDG_CONFIG_HOME", manager.path("config")).env("HOME", manager.path("home"));
    let mut first = first.stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(first.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    manager.submit(&json!([{"await_file": "go"}]));
    let running = |manager: &Manager| manager.ask("GET", "/v1/jobs", &Value::Null)["jobs"][0]["state"] == "running";
    let start = Instant::now();
    while !running(&manager) {
        assert!(start.elapsed() < PATIENCE, "the job does not start");
        std::thread::sleep(Duration::from_millis(5));
    }
    // systemd removes what has the name of its socket.
    std::fs::remove_file(&socket).unwrap();
    manager.listener = UnixListener::bind(&socket).unwrap();
    manager.start(None);
    manager.told("READY=1");
    assert!(first.wait().unwrap().success(), "it was asked to end");
    assert!(connects(&socket), "and has left the manager's socket alone");
    manager.told("STATUS=1 running");
    std::fs::write(manager.path("go"), "").unwrap();
    manager.told("STATUS=idle");
}

#[test]
fn a_service_that_cannot_be_one_says_why() {
    let mut manager = Manager::new("max_job = 1");
    let refused = |manager: &mut Manager, words: &[&str]| {
        let mut service = manager.service.take().unwrap();
        assert!(!service.wait().unwrap().success());
        let mut said = String::new();
        service.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        words.iter().for_each(|word| assert!(said.contains(word), "{said}"));
    };
    manager.start(None);
    let words = ["kiln.toml: TOML parse error at line 1", "unknown field `max_job`", "hint: kiln.toml(5)"];
    refused(&mut manager, &words);
    // Who has come is told, so that the manager starts nothing anew for it, and the manager does not start it by itself.
    let mut client = UnixStream::connect(manager.path("run/kiln/kiln.sock")).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.write_all(b"GET /v1/jobs HTTP/1.1\r\nhost: kiln\r\n\r\n").unwrap();
    manager.start(None);
    let mut said = String::new();
    client.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 503 ") && said.contains("unknown field `max_job`"), "{said}");
    let status = manager.service.take().unwrap().wait().unwrap();
    assert_eq!(status.code(), Some(78), "RestartPreventExitStatus=");

    manager.configure("");
    let words = [
        "the socket `api` of the service manager is not a Unix stream socket",
        "hint: kilnd.socket has one ListenStream=",
    ];
    for socket in [
        OwnedFd::from(UnixDatagram::bind(manager.path("datagrams")).unwrap()),
        OwnedFd::from(UnixStream::pair().unwrap().0),
        OwnedFd::from(std::net::TcpListener::bind("127.0.0.1:0").unwrap()),
        OwnedFd::from(std::fs::File::open("/dev/null").unwrap()),
    ] {
        manager.start_on(socket, None);
        refused(&mut manager, &words);
    }

    // One that was started in another way has the state.
    let mut first = Command::new(scripted_kilnd());
    first
        .args(["--user", "--detached"])
        .env("KILN_SOCKET", manager.path("run/other.sock"))
        .env("XDG_STATE_HOME", manager.path("state"));
    let mut first = first.stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(first.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    manager.start(None);
    refused(&mut manager, &["another kilnd (process", "other.sock"]);
    first.kill().unwrap();
    first.wait().unwrap();
}
