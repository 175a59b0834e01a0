//! A daemon for all users, as root, with two users: what each has of it and, when they are up to no good, what they try. Their attempts are
//! counted.

pub(crate) mod attempts;
mod by_api;
mod by_files;
mod by_planting;
mod by_submitting;
mod quotas;
mod worker;

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Gid, Uid};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde_json::{Value, json};

use crate::rig::{PATIENCE, scripted_kilnd};

pub(crate) const ALICE: u32 = 61001;
pub(crate) const BOB: u32 = 61002;
/// A group of alice's beside her own.
const BAKERS: u32 = 61100;

/// The calls that name a job.
const CALLS: [(&str, &str, &str); 9] = [
    ("GET", "", ""),
    ("DELETE", "", ""),
    ("GET", "/events", ""),
    ("GET", "/events?follow=true", ""),
    ("POST", "/cancel", ""),
    ("POST", "/cancel", r#"{"mode":"now"}"#),
    ("POST", "/answers", r#"{"prompt":"q","answer":"stolen"}"#),
    ("GET", "/screen", ""),
    ("GET", "/screen?build=a", ""),
];

/// Does something as a user, in a thread that is the user for good.
pub(crate) fn as_user<T: Send>(uid: u32, work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || {
            set_thread_groups(&[]).unwrap();
            let (gid, uid) = (Gid::from_raw(uid), Uid::from_raw(uid));
            set_thread_res_gid(gid, gid, gid).unwrap();
            set_thread_res_uid(uid, uid, uid).unwrap();
            work()
        });
        thread.join().unwrap()
    })
}

/// What the shipped unit leaves to root, as setpriv(1) wants it.
fn capabilities_of_the_unit() -> String {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/units/system/kilnd.service");
    let unit = std::fs::read_to_string(unit).unwrap();
    let set = unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("the unit has a set");
    let names = set.split_whitespace().map(|name| format!(",+{}", name.strip_prefix("CAP_").unwrap().to_lowercase()));
    names.fold("-all".to_owned(), |all, name| all + &name)
}

/// `kilnd --system` in a directory of its own, where two users more are known.
pub(crate) struct System {
    scratch: tempfile::TempDir,
    daemon: Child,
    variables: Vec<(&'static str, String)>,
}

/// An answer: its status and its body.
type Answer = (u16, String);

impl System {
    fn start() -> Self {
        // No bus, whatever the machine has.
        Self::with("dbus = false\nmax_jobs = 8\n[quotas]\nsubmissions = 100000\nrunning = 4\n")
    }

    /// Starts one with this configuration.
    fn with(configuration: &str) -> Self {
        Self::configured(configuration, Vec::new())
    }

    /// Starts one whose workers are as this table says, with these variables in its environment.
    pub(crate) fn start_with(workers: &str, variables: Vec<(&'static str, String)>) -> Self {
        Self::configured(&format!("max_jobs = 8\n[quotas]\nsubmissions = 100000\nrunning = 4\n{workers}"), variables)
    }

    fn configured(configuration: &str, variables: Vec<(&'static str, String)>) -> Self {
        let scratch = tempfile::Builder::new().prefix("ks").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let mut passwd = std::fs::read_to_string("/etc/passwd").unwrap();
        let mut group = std::fs::read_to_string("/etc/group").unwrap();
        for (name, uid) in [("kiln-alice", ALICE), ("kiln-bob", BOB)] {
            let home = scratch.path().join(name);
            std::fs::create_dir(&home).unwrap();
            chown(&home, Some(uid), Some(uid)).unwrap();
            passwd += &format!("{name}:x:{uid}:{uid}::{}:/bin/sh\n", home.display());
            group += &format!("{name}:x:{uid}:\n");
        }
        group += &format!("kiln-bakers:x:{BAKERS}:kiln-alice\n");
        std::fs::write(scratch.path().join("passwd"), passwd).unwrap();
        std::fs::write(scratch.path().join("group"), group).unwrap();
        std::fs::create_dir_all(scratch.path().join("etc/kiln")).unwrap();
        std::fs::write(scratch.path().join("etc/kiln/kiln.toml"), configuration).unwrap();
        let daemon = Self::spawn(scratch.path(), &variables);
        let system = Self { scratch, daemon, variables };
        system.until_it_answers();
        system
    }

    fn spawn(prefix: &Path, variables: &[(&str, String)]) -> Child {
        // With the capabilities that its unit has, and no other.
        let script = "mount --bind \"$1/passwd\" /etc/passwd && mount --bind \"$1/group\" /etc/group &&
            exec setpriv --bounding-set=\"$3\" --inh-caps=-all \"$2\" --system --prefix \"$1\"";
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", script, "sh"]).arg(prefix).arg(scripted_kilnd());
        command.arg(capabilities_of_the_unit());
        // What root has open, and has in its environment, is nobody else's.
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.env("SECRET_OF_ROOT", "swordfish").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    fn until_it_answers(&self) {
        self.until("the daemon", || UnixStream::connect(self.socket()).is_ok().then_some(()));
    }

    pub(crate) fn kill_and_start_again(&mut self) {
        self.daemon.kill().unwrap();
        self.daemon.wait().unwrap();
        self.daemon = Self::spawn(self.scratch.path(), &self.variables);
        let ready = |this: &Self| this.ask(0, "GET", "/v1/info", "").is_some_and(|(status, _)| status == 200);
        self.until("the next daemon", || ready(self).then_some(()));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.path("run/kiln/kiln.sock")
    }

    /// The directory of a job.
    fn job(&self, id: &str) -> PathBuf {
        self.path("var/lib/kiln/jobs").join(id)
    }

    #[track_caller]
    pub(crate) fn until<T>(&self, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = found() {
                return found;
            }
            assert!(Instant::now() < deadline, "{what} in time");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Asks as a user; nothing when the connection breaks.
    fn ask(&self, uid: u32, method: &str, path: &str, body: &str) -> Option<Answer> {
        as_user(uid, || {
            let mut stream = UnixStream::connect(self.socket()).ok()?;
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            let length = body.len();
            let head = format!(
                "{method} {path} HTTP/1.1\r\nhost: kiln\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).ok()?;
            stream.write_all(body.as_bytes()).ok()?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).ok()?;
            let answer = String::from_utf8_lossy(&answer).into_owned();
            let status = answer.split(' ').nth(1)?.parse().ok()?;
            Some((status, answer.split_once("\r\n\r\n")?.1.to_owned()))
        })
    }

    #[track_caller]
    pub(crate) fn answer(&self, uid: u32, method: &str, path: &str, body: &str) -> Answer {
        self.ask(uid, method, path, body).unwrap_or_else(|| panic!("{method} {path}: no answer"))
    }

    /// Submits a script as a user.
    pub(crate) fn submit(&self, uid: u32, script: &Value) -> String {
        let home = self.path(if uid == ALICE { "kiln-alice" } else { "kiln-bob" });
        as_user(uid, || std::fs::write(home.join("t.json"), script.to_string()).unwrap());
        let environment = json!({"LD_PRELOAD": "/tmp/evil.so", "GREETING": "hello", "TMPDIR": "/tmp"});
        let request =
            json!({"kind": "build", "template": "t.json", "working_directory": home, "environment": environment});
        let (status, body) = self.answer(uid, "POST", "/v1/jobs", &request.to_string());
        assert_eq!(status, 201, "{body}");
        serde_json::from_str::<Value>(&body).unwrap()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn see(&self, uid: u32, id: &str) -> Value {
        let (status, body) = self.answer(uid, "GET", &format!("/v1/jobs/{id}"), "");
        assert_eq!(status, 200, "{body}");
        serde_json::from_str(&body).unwrap()
    }

    #[track_caller]
    pub(crate) fn until_state(&self, uid: u32, id: &str, state: &str) {
        self.until(state, || (self.see(uid, id)["state"] == state).then_some(()));
    }

    /// What this user is told of hypervisors, once that is known.
    pub(crate) fn hypervisors(&self, uid: u32) -> Value {
        self.until("the hypervisors", || {
            let (_, body) = self.answer(uid, "GET", "/v1/info", "");
            let info: Value = serde_json::from_str(&body).unwrap();
            (info["looking_for_hypervisors"] == false).then(|| info["hypervisors"].clone())
        })
    }

    pub(crate) fn events(&self, uid: u32, id: &str) -> String {
        self.answer(uid, "GET", &format!("/v1/jobs/{id}/events"), "").1
    }
}

impl Drop for System {
    fn drop(&mut self) {
        for job in std::fs::read_dir(self.path("var/lib/kiln/jobs")).into_iter().flatten().flatten() {
            let id = job.file_name().to_string_lossy().into_owned();
            let _ = self.ask(0, "POST", &format!("/v1/jobs/{id}/cancel"), r#"{"mode":"now"}"#);
        }
        // No worker outlives its test.
        let deadline = Instant::now() + Duration::from_secs(20);
        let unfinished = "/v1/jobs?state=queued,starting,running,cancelling";
        while Instant::now() < deadline
            && self.ask(0, "GET", unfinished, "").is_some_and(|(_, body)| body.contains("\"id\""))
        {
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
