//! A home of its own for each test: `kiln` and a scripted `kilnd` side by side, and places for socket and state.

use std::io::{BufRead as _, BufReader, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

/// Longest wait for anything in these tests; far more than it takes.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) struct Home {
    pub(crate) scratch: TempDir,
}

impl Home {
    /// Makes a home; nothing when the scripted daemon was not built, which is then said.
    pub(crate) fn new() -> Option<Self> {
        let kiln = Path::new(env!("CARGO_BIN_EXE_kiln"));
        let kilnd = kiln.parent().unwrap().join("examples/kilnd_scripted");
        if !kilnd.is_file() {
            skip("kilnd_scripted (`cargo build -p kiln-daemon --examples`)");
            return None;
        }
        let scratch = tempfile::Builder::new().prefix("kc").tempdir().unwrap();
        for name in ["bin", "run", "work"] {
            std::fs::DirBuilder::new().mode(0o700).create(scratch.path().join(name)).unwrap();
        }
        // Symbolic links would be seen through: the client looks for kilnd beside its own file. And not `fs::copy`: another test's
        // child would inherit the open file for a moment, and a program that is open for writing cannot be run.
        for (program, name) in [(kiln, "bin/kiln"), (&kilnd, "bin/kilnd")] {
            assert!(Command::new("cp").arg(program).arg(scratch.path().join(name)).status().unwrap().success());
        }
        Some(Self { scratch })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.scratch.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("run/kiln/kiln.sock")
    }

    /// Writes a script into the working directory.
    pub(crate) fn script(&self, name: &str, script: &Value) {
        std::fs::write(self.path("work").join(name), script.to_string()).unwrap();
    }

    pub(crate) fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new(self.path("bin/kiln"));
        command.args(arguments.split_whitespace()).current_dir(self.path("work")).env_clear();
        command.env("PATH", "/usr/bin:/bin").env("HOME", self.scratch.path()).env("XDG_RUNTIME_DIR", self.path("run"));
        command.env("GREETING", "hello").stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &str) -> Run {
        Run::of(&self.command(arguments).output().unwrap())
    }

    pub(crate) fn start(&self, arguments: &str) -> Running {
        let mut child = self.command(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Running { child, stdout }
    }

    /// Submits a job and returns its id.
    pub(crate) fn detach(&self, script: &Value) -> String {
        self.script("detached.json", script);
        let run = self.run("build -detach detached.json");
        assert_eq!(run.code, 0, "{run:?}");
        run.stdout.trim().to_owned()
    }

    /// Returns the daemon's process id.
    pub(crate) fn daemon(&self) -> i32 {
        let run = self.run("daemon status --json");
        let info: Value = serde_json::from_str(&run.stdout).unwrap_or_else(|_| panic!("{run:?}"));
        i32::try_from(info["pid"].as_i64().unwrap()).unwrap()
    }

    pub(crate) fn state_of(&self, id: &str) -> String {
        let list: Value = serde_json::from_str(&self.run("jobs --json").stdout).unwrap();
        let job = list["jobs"].as_array().unwrap().iter().find(|job| job["id"] == id).expect("the job");
        job["state"].as_str().unwrap().to_owned()
    }

    pub(crate) fn wait_for_state(&self, id: &str, state: &str) {
        wait_until(&format!("{id} is {state}"), || self.state_of(id) == state);
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // First the jobs, so that no worker outlives its test, then the daemon.
        let list = self.command("jobs --json").output();
        let list = list.ok().and_then(|output| serde_json::from_slice::<Value>(&output.stdout).ok());
        for job in list.iter().filter_map(|list| list["jobs"].as_array()).flatten() {
            if job["exit_code"].is_null() {
                let id = job["id"].as_str().unwrap_or_default();
                let _ = self.command(&format!("cancel --now --wait {id}")).output();
            }
        }
        let _ = self.command("daemon stop").output();
    }
}

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    fn of(output: &Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Self { code: output.status.code().unwrap_or(-1), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

/// A client that runs.
pub(crate) struct Running {
    pub(crate) child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Running {
    /// Reads output until a line that contains the text, and returns all of it.
    pub(crate) fn read_until(&mut self, text: &str) -> String {
        let mut read = String::new();
        while !read.lines().last().is_some_and(|line| line.contains(text)) {
            assert_ne!(self.stdout.read_line(&mut read).unwrap(), 0, "`{text}` did not come after {read}");
        }
        read
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id() as i32).unwrap(), signal).unwrap();
    }

    /// Waits for the end and returns what was left to read.
    pub(crate) fn finish(mut self) -> Run {
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        Run { code: self.child.wait().unwrap().code().unwrap_or(-1), stdout, stderr }
    }
}

pub(crate) fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub(crate) fn kill(pid: i32) {
    kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
}

/// Says that a test cannot run here; under KILN_TEST_REQUIRE=all that is a failure.
pub(crate) fn skip(reason: &str) {
    assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "cannot run: needs {reason}");
    eprintln!("ignored: needs {reason}");
}
