//! A daemon for all users, as root, with two users who are up to no good. Their attempts are counted.

use std::io::{Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Gid, Pid, Signal, Uid, geteuid, kill_process};
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};
use serde_json::{Value, json};

use crate::rig::{PATIENCE, scripted_kilnd, skip};

pub(crate) const ALICE: u32 = 61001;
pub(crate) const BOB: u32 = 61002;
/// A group of alice's beside her own.
const BAKERS: u32 = 61100;

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

/// What users try, and how it ends.
#[derive(Default)]
struct Attempts {
    count: usize,
    through: Vec<String>,
}

impl Attempts {
    fn note(&mut self, what: impl Into<String>, is_refused: bool) {
        self.count += 1;
        if !is_refused {
            self.through.push(what.into());
        }
    }
}

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

#[test]
fn a_worker_is_its_user_and_nothing_more() {
    if !geteuid().is_root() {
        return skip("root");
    }
    let mut system = System::start();
    let script = json!([
        {"say_variable": "GREETING"}, {"say_variable": "LD_PRELOAD"}, {"say_variable": "SECRET_OF_ROOT"}, {"say_variable": "USER"},
        {"say_variable": "HOME"}, {"say_variable": "PACKER_CACHE_DIR"}, {"await_answer": "q"},
    ]);
    let id = system.submit(ALICE, &script);
    let asks = |system: &System| system.see(ALICE, &id)["questions"].as_array().is_some_and(|asked| !asked.is_empty());
    system.until("the question", || asks(&system).then_some(()));
    let events = system.events(ALICE, &id);
    let home = system.path("kiln-alice");
    let cache = system.path("var/cache/kiln").join(ALICE.to_string());
    for said in ["GREETING=hello\"", "LD_PRELOAD=\"", "SECRET_OF_ROOT=\"", "USER=kiln-alice\""] {
        assert!(events.contains(said), "{said}: {events}");
    }
    assert!(events.contains(&format!("HOME={}\"", home.display())), "{events}");
    assert!(events.contains(&format!("PACKER_CACHE_DIR={}\"", cache.display())), "{events}");

    let pid = system.until("the worker", || {
        let text = std::fs::read_to_string(system.job(&id).join("worker.json")).ok()?;
        serde_json::from_str::<Value>(&text).ok()?["pid"].as_u64()
    });
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(line("Uid:"), vec![ALICE.to_string(); 4]);
    assert_eq!(line("Gid:"), vec![ALICE.to_string(); 4]);
    assert_eq!(line("Groups:"), [ALICE.to_string(), BAKERS.to_string()]);
    for sets in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
        assert_eq!(line(sets), ["0000000000000000"], "{sets}");
    }
    assert_eq!(std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap(), home);
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten() {
        let target = std::fs::read_link(entry.path()).unwrap_or_default();
        let of_root = ["kiln.db", "kilnd.log", "kilnd.lock", "kiln.lock", "kiln.sock"];
        assert!(!of_root.iter().any(|name| target.ends_with(name)), "{}", target.display());
    }
    for path in [system.job(&id), system.job(&id).join("events.ndjson"), cache] {
        let found = path.metadata().unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o077), (ALICE, ALICE, 0), "{}", path.display());
    }

    // It goes on without its daemon, and the next one finds it.
    system.kill_and_start_again();
    system.until("the question again", || asks(&system).then_some(()));
    let answered = system.answer(ALICE, "POST", &format!("/v1/jobs/{id}/answers"), r#"{"prompt":"q","answer":"yes"}"#);
    assert_eq!(answered.0, 204, "{}", answered.1);
    system.until_state(ALICE, &id, "succeeded");
    assert_eq!(system.answer(ALICE, "DELETE", &format!("/v1/jobs/{id}"), "").0, 204);
    assert!(!system.job(&id).exists(), "nothing is left of it");

    // One that does not listen to a cancellation is killed, by its user's right.
    let id = system.submit(ALICE, &json!([{"await_file": "/nonexistent/file"}]));
    system.until_state(ALICE, &id, "running");
    assert_eq!(system.answer(ALICE, "POST", &format!("/v1/jobs/{id}/cancel"), r#"{"mode":"now"}"#).0, 202);
    system.until_state(ALICE, &id, "cancelled");

    // What can run guests each finds with the own rights.
    for uid in [ALICE, BOB] {
        assert_eq!(system.hypervisors(uid)[0]["reason"], format!("only a script, for user {uid}"));
    }
    assert_eq!(system.hypervisors(61009), json!([]), "nobody can look");

    // Somebody whom nobody knows.
    let request = json!({"kind": "build", "template": "t", "working_directory": "/", "environment": {}});
    let (status, body) = system.answer(61009, "POST", "/v1/jobs", &request.to_string());
    assert_eq!(status, 403, "{body}");
    assert!(body.contains("user 61009 is not in this machine's user database"), "{body}");
}

#[test]
fn two_users_do_not_get_at_each_other_or_at_root() {
    if !geteuid().is_root() {
        return skip("root");
    }
    let system = System::start();
    let mut attempts = Attempts::default();
    let secret = system.path("secret");
    // As an event: whoever reads it as one hands it on.
    let words = r#"{"seq":1,"time":"2026-01-02T03:04:05Z","kind":"say","text":"the secret of root"}"#;
    std::fs::write(&secret, format!("{words}\n")).unwrap();
    std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();

    let done = system.submit(ALICE, &json!([{"emit": {"kind": "say", "text": "private words"}}]));
    system.until_state(ALICE, &done, "succeeded");
    let running =
        system.submit(ALICE, &json!([{"emit": {"kind": "say", "text": "private words"}}, {"await_answer": "q"}]));
    system.until("the question", || system.see(ALICE, &running)["questions"].as_array().map(drop));
    let unknown = "aaaaaaaaaa";
    // What the daemon writes into a job's directory, as the request without its secrets, it writes as the user.
    for entry in std::fs::read_dir(system.job(&done)).unwrap().flatten() {
        assert_eq!(entry.metadata().unwrap().uid(), ALICE, "{}", entry.path().display());
    }

    // By the API: the same words as for a job that is not there.
    for id in [&done, &running] {
        for (method, call, body) in CALLS {
            let theirs = system.answer(BOB, method, &format!("/v1/jobs/{id}{call}"), body);
            let nobodys = system.answer(BOB, method, &format!("/v1/jobs/{unknown}{call}"), body);
            let same = (theirs.0, theirs.1.replace(id.as_str(), unknown)) == nobodys && theirs.0 == 404;
            attempts.note(format!("{method} {call} of {id}: {theirs:?}"), same);
        }
    }
    for query in [
        "",
        "?all=true&limit=1000",
        "?state=running",
        "?state=succeeded",
        "?unfinished_first=true",
        "?since=2000-01-01T00:00:00Z",
    ] {
        let (_, body) = system.answer(BOB, "GET", &format!("/v1/jobs{query}"), "");
        attempts.note(format!("list{query}: {body}"), !body.contains(&done) && !body.contains(&running));
        let (_, body) = system.answer(ALICE, "GET", &format!("/v1/jobs{query}"), "");
        assert!(body.contains(&done) || body.contains(&running), "she sees hers: {body}");
    }
    let (_, body) = system.answer(BOB, "GET", "/v1/info", "");
    attempts.note("counts", serde_json::from_str::<Value>(&body).unwrap()["running_jobs"] == 0);
    attempts.note("shutdown", system.answer(BOB, "POST", "/v1/shutdown", "").0 == 403);
    for name in [
        "..",
        "../..",
        "%2e%2e",
        "..%2f..%2fsecret",
        "%00",
        "a%00",
        ".",
        "*",
        "aaaaaaaaa",
        "aaaaaaaaaaa",
        "AAAAAAAAAA",
        "aaaaaaaa1a",
        "aaaa%2faaaaa",
        "%20aaaaaaaaaa",
        "aaaaaaaaaa%20",
        "aaaaaaaaaa%0a",
        "-",
        "%ff%fe",
        "jobs",
        "' OR 1=1 --".replace(' ', "%20").as_str(),
        "%25s%25n",
        "0",
        "kiln.db",
        "%C3%A4aaaaaaaaa",
    ] {
        for call in ["", "/events"] {
            let (status, body) = system.answer(BOB, "GET", &format!("/v1/jobs/{name}{call}"), "");
            attempts.note(format!("id {name}{call}: {status} {body}"), (400..500).contains(&status));
        }
    }

    // By files: what is hers and root's.
    let pid = {
        let text = std::fs::read_to_string(system.job(&running).join("worker.json")).unwrap();
        Pid::from_raw(serde_json::from_str::<Value>(&text).unwrap()["pid"].as_i64().unwrap() as i32).unwrap()
    };
    let runtime = system.path("var/lib/kiln/run/jobs").join(&running);
    let files = [
        "request.json",
        "accepted.json",
        "events.ndjson",
        "worker.lock",
        "worker.json",
        "worker.log",
        "reserve",
        "steps.ndjson",
    ];
    let refused = |result: std::io::Result<()>| result.is_err();
    for file in files {
        let path = system.job(&running).join(file);
        let (read, write, remove) = as_user(BOB, || {
            (
                std::fs::read(&path).map(drop),
                std::fs::OpenOptions::new().append(true).open(&path).map(drop),
                std::fs::remove_file(&path),
            )
        });
        for (what, result) in [("read", read), ("write", write), ("remove", remove)] {
            attempts.note(format!("{what} {}", path.display()), refused(result));
        }
    }
    let directories = [
        system.job(&running),
        system.job(&done),
        runtime.clone(),
        system.path("var/lib/kiln"),
        system.path("var/lib/kiln/jobs"),
        system.path("run/kiln"),
        system.path("var/lib/kiln/run"),
        system.path("var/lib/kiln/run/jobs"),
        system.path("var/cache/kiln"),
        system.path("var/cache/kiln").join(ALICE.to_string()),
    ];
    for path in &directories {
        let other = system.path("kiln-bob/stolen");
        let tried = as_user(BOB, || {
            [
                std::fs::read_dir(path).map(drop),
                std::fs::write(path.join("planted"), "x"),
                std::fs::rename(path, &other),
                std::fs::set_permissions(path, PermissionsExt::from_mode(0o777)),
            ]
        });
        for (what, result) in ["list", "plant in", "rename", "open"].into_iter().zip(tried) {
            attempts.note(format!("{what} {}", path.display()), refused(result));
        }
    }
    for path in ["var/lib/kiln/kiln.db", "var/lib/kiln/kilnd.log", "var/lib/kiln/kilnd.lock", "run/kiln/kiln.lock"] {
        let path = system.path(path);
        attempts.note(format!("read {}", path.display()), refused(as_user(BOB, || std::fs::read(&path).map(drop))));
    }
    let socket = system.socket();
    attempts.note("remove the socket", refused(as_user(BOB, || std::fs::remove_file(&socket))));
    let control = runtime.join("control.sock");
    attempts.note("connect to her worker", refused(as_user(BOB, || UnixStream::connect(&control).map(drop))));
    attempts.note("kill her worker", as_user(BOB, || kill_process(pid, Signal::KILL)).is_err());
    let daemon = Pid::from_child(&system.daemon);
    attempts.note("kill the daemon", as_user(BOB, || kill_process(daemon, Signal::KILL)).is_err());

    // What is planted in one's own directory leads root nowhere.
    let alices = system.job(&done).join("events.ndjson");
    let before = std::fs::read(&alices).unwrap();
    let planted = [
        "request.json",
        "accepted.json",
        "events.ndjson",
        "steps.ndjson",
        "worker.json",
        "worker.lock",
        "left.json",
        "resources.ndjson",
        "reserve",
        "template.json",
    ];
    let kinds = [
        "link to root's",
        "link to hers",
        "fifo",
        "directory",
        "link to a device",
        "hard link to root's",
        "hard link to hers",
        "closed to himself",
    ];
    for kind in kinds {
        for file in planted {
            let id = system.submit(BOB, &json!([{"stop": 0}]));
            system.until_state(BOB, &id, "succeeded");
            let path = system.job(&id).join(file);
            // What the kernel lets users do where `fs.protected_hardlinks` is off; here root does it for him. Of all that is planted, these two and
            // the last kind alone show that it is the user's rights that protect: no look at a file's kind refuses them.
            if let Some(target) = kind.strip_prefix("hard link to ") {
                let target = if target == "hers" { &alices } else { &secret };
                let _ = std::fs::remove_file(&path);
                std::fs::hard_link(target, &path).unwrap();
            }
            as_user(BOB, || {
                if !kind.starts_with("hard link") {
                    let _ = std::fs::remove_file(&path);
                }
                match kind {
                    "link to root's" => symlink(&secret, &path).unwrap(),
                    "link to hers" => symlink(&alices, &path).unwrap(),
                    "fifo" => {
                        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o666)).unwrap();
                    }
                    "directory" => std::fs::create_dir_all(path.join("deep/deeper")).unwrap(),
                    "closed to himself" => {
                        std::fs::write(&path, words.replace("the secret of root", "private words")).unwrap();
                        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o000)).unwrap();
                    }
                    "link to a device" => symlink("/dev/zero", &path).unwrap(),
                    _ => {}
                }
            });
            let mut said = String::new();
            for (method, call) in [("GET", ""), ("GET", "/events"), ("DELETE", "")] {
                said += &system.answer(BOB, method, &format!("/v1/jobs/{id}{call}"), "").1;
            }
            let leaks = said.contains("the secret of root") || said.contains("private words");
            attempts.note(format!("{file}: {kind}: {said}"), !leaks);
        }
    }

    // What changes its name while root looks: his own events, a link to hers, and hers by another name.
    let races = system.submit(BOB, &json!([{"stop": 0}]));
    system.until_state(BOB, &races, "succeeded");
    let directory = system.job(&races);
    std::fs::hard_link(&alices, directory.join("hers")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            as_user(BOB, || {
                let at = |name: &str| directory.join(name);
                std::fs::rename(at("events.ndjson"), at("his")).unwrap();
                symlink(&alices, at("link")).unwrap();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    for name in ["his", "link", "hers"] {
                        std::fs::rename(at(name), at("events.ndjson")).unwrap();
                        std::fs::rename(at("events.ndjson"), at(name)).unwrap();
                    }
                }
                std::fs::rename(at("his"), at("events.ndjson")).unwrap();
            });
        });
        for _ in 0..100 {
            let said = system.ask(BOB, "GET", &format!("/v1/jobs/{races}/events"), "").unwrap_or_default().1;
            attempts.note(format!("race: {said}"), !said.contains("private words"));
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let own = system.submit(BOB, &json!([{"await_answer": "q"}]));
    system.until_state(BOB, &own, "running");
    let forged = system.path("var/lib/kiln/run/jobs").join(&own).join("control.sock");
    as_user(BOB, || {
        std::fs::remove_file(&forged).unwrap();
        symlink(&control, &forged).unwrap();
    });
    for (method, call, body) in
        CALLS.into_iter().filter(|(_, call, _)| ["/answers", "/screen", "/cancel"].contains(call))
    {
        let (status, said) = system.answer(BOB, method, &format!("/v1/jobs/{own}{call}"), body);
        // A job of one's own may be cancelled; that hers is not is seen below.
        if call != "/cancel" {
            attempts.note(format!("{call} through her socket: {status} {said}"), status >= 400);
        }
    }

    // Nothing of it has reached anybody.
    assert_eq!(std::fs::read(&alices).unwrap(), before);
    assert_eq!(std::fs::read_to_string(&secret).unwrap(), format!("{words}\n"));
    assert_eq!(secret.metadata().unwrap().uid(), 0);
    let job = system.see(ALICE, &running);
    assert_eq!((job["state"].as_str(), job["questions"].as_array().map(Vec::len)), (Some("running"), Some(1)), "{job}");
    let answered =
        system.answer(ALICE, "POST", &format!("/v1/jobs/{running}/answers"), r#"{"prompt":"q","answer":"mine"}"#);
    assert_eq!(answered.0, 204, "{}", answered.1);
    system.until_state(ALICE, &running, "succeeded");
    assert!(system.events(ALICE, &running).contains("mine"));
    println!("{} attempts, {} through", attempts.count, attempts.through.len());
    assert!(attempts.count >= 100, "{}", attempts.count);
    assert!(
        attempts.through.is_empty(),
        "{} of {} got through: {:#?}",
        attempts.through.len(),
        attempts.count,
        attempts.through
    );
}

#[test]
fn what_a_user_may_have_is_counted_on_the_wire_and_changes_with_a_reload() {
    if !geteuid().is_root() {
        return skip("root");
    }
    let configuration =
        |connections: u32, followers: u32| format!("[quotas]\nconnections = {connections}\nfollowers = {followers}\n");
    let system = System::with(&configuration(4, 2));
    let job = system.submit(BOB, &json!([{"await_answer": "q"}]));
    system.until_state(BOB, &job, "running");
    let connect = || as_user(BOB, || UnixStream::connect(system.socket()).unwrap());
    let refused = |what: &str| {
        system.until(what, || {
            let (status, body) = system.ask(BOB, "GET", "/v1/info", "")?;
            (status == 429 && body.contains("connections, as many as each user")).then_some(())
        });
    };
    let served = |uid: u32| {
        system.until("an answer", || (system.ask(uid, "GET", "/v1/info", "")?.0 == 200).then_some(()));
    };
    let mut open: Vec<_> = (0..4).map(|_| connect()).collect();
    refused("four connections and no more");
    served(ALICE);
    served(0);
    // Those that are given back can be had again.
    open.truncate(1);
    served(BOB);

    let follow = || {
        let mut stream = connect();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!("GET /v1/jobs/{job}/events?follow=true HTTP/1.1\r\nhost: kiln\r\n\r\n");
        // One that was turned away may be closed already.
        let _ = stream.write_all(head.as_bytes());
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).ok()?;
        (answer == *b"HTTP/1.1 200").then_some(stream)
    };
    drop(open);
    let followers = [0, 1].map(|_| system.until("a stream", follow));
    system.until("no third stream", || {
        let (status, body) = system.ask(BOB, "GET", &format!("/v1/jobs/{job}/events?follow=true"), "")?;
        (status == 429 && body.contains("you have 2 streams of events open")).then_some(())
    });

    std::fs::write(system.path("etc/kiln/kiln.toml"), configuration(8, 3)).unwrap();
    kill_process(Pid::from_child(&system.daemon), Signal::HUP).unwrap();
    let third = system.until("a third stream", follow);
    // Three follow, so that five more connections are eight.
    let open: Vec<_> = (0..5).map(|_| connect()).collect();
    refused("eight connections and no more");
    drop((followers, third, open));
    served(BOB);
}
