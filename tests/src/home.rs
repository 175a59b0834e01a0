//! A home of its own for the programs under test: no test sees another's daemon, journal or cache.

use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use crate::leftovers::Leftovers;
use crate::requirements::program;

/// Every command under test ends within this time.
const LIMIT: Duration = Duration::from_secs(400);

/// A temporary home. Dropping it stops its daemon.
pub struct Home {
    directory: tempfile::TempDir,
}

/// A command that ended.
#[derive(Debug)]
pub struct Ran {
    /// How.
    pub status: ExitStatus,
    /// Standard output and standard error.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Wall time it took.
    pub elapsed: Duration,
}

impl Ran {
    /// The exit code.
    pub fn code(&self) -> i32 {
        self.status.code().unwrap_or(-1)
    }

    /// Fails with everything the command said unless it exited with `code`.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code(), code, "--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        self
    }
}

/// A command that runs.
pub struct Running {
    child: Child,
    started: Instant,
}

impl Home {
    /// Makes one.
    ///
    /// # Panics
    ///
    /// The temporary directory cannot be made.
    pub fn new() -> Self {
        // Short: socket paths are limited to 108 bytes.
        let directory = tempfile::Builder::new().prefix("kt").tempdir_in("/tmp").expect("a temporary directory");
        for name in ["run", "state", "cache", "work"] {
            let path = directory.path().join(name);
            std::fs::create_dir(&path).expect("a directory");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("its permissions");
        }
        Self { directory }
    }

    /// Its root.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// A path in the directory in which commands run.
    pub fn work(&self, name: &str) -> PathBuf {
        self.path().join("work").join(name)
    }

    /// The daemon's socket.
    pub fn socket(&self) -> PathBuf {
        self.path().join("run/kiln/kiln.sock")
    }

    /// Writes a file into the working directory.
    ///
    /// # Panics
    ///
    /// It cannot be written.
    pub fn write(&self, name: &str, content: &str) {
        let path = self.work(name);
        std::fs::create_dir_all(path.parent().expect("a file has a directory")).expect("a directory");
        std::fs::write(path, content).expect("a file");
    }

    /// A command with this home's environment, in its working directory.
    pub fn command(&self, program_name: &str) -> Command {
        let mut command = Command::new(program(program_name));
        command
            .current_dir(self.work(""))
            .env("HOME", self.path())
            .env("XDG_RUNTIME_DIR", self.path().join("run"))
            .env_remove("DBUS_SESSION_BUS_ADDRESS")
            .env("XDG_STATE_HOME", self.path().join("state"))
            .env("XDG_CACHE_HOME", self.path().join("cache"))
            .env("TMPDIR", "/tmp")
            .env_remove("KILN_SOCKET")
            .env_remove("PACKER_CACHE_DIR")
            .env_remove("PACKER_LOG")
            .env("PACKER_NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs `kiln` to its end.
    ///
    /// # Panics
    ///
    /// It cannot be run, or does not end within 400 s.
    pub fn kiln<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        self.start(arguments).wait()
    }

    /// Starts `kiln`.
    ///
    /// # Panics
    ///
    /// It cannot be run.
    pub fn start<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Running {
        self.start_with(arguments, Stdio::null())
    }

    /// Starts `kiln` with this standard input.
    ///
    /// # Panics
    ///
    /// It cannot be run.
    pub fn start_with<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>, input: Stdio) -> Running {
        let mut command = self.command("kiln");
        command.args(arguments).stdin(input);
        self.start_command(command)
    }

    /// Starts a command that was made by [`command`](Self::command), and reads what it says.
    ///
    /// # Panics
    ///
    /// It cannot be run.
    pub fn start_command(&self, mut command: Command) -> Running {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running { child: command.spawn().expect("kiln can be run"), started: Instant::now() }
    }

    /// What of this home is still there outside of it: processes and sockets.
    pub fn leftovers(&self) -> Leftovers {
        Leftovers::of(self.path())
    }

    /// Process id of the daemon, asked for over its socket.
    pub fn daemon_pid(&self) -> Option<u32> {
        let info = self.get("/v1/info")?;
        u32::try_from(info["pid"].as_u64()?).ok()
    }

    /// `GET path` with curl, as any user could.
    pub fn get(&self, path: &str) -> Option<serde_json::Value> {
        let output = self.curl(&[path]);
        serde_json::from_slice(&output.stdout).ok()
    }

    /// curl over the socket; the first argument is the path.
    ///
    /// # Panics
    ///
    /// curl cannot be run.
    pub fn curl(&self, arguments: &[&str]) -> Output {
        let (path, rest) = arguments.split_first().expect("a path");
        Command::new("curl")
            .args(["-sS", "--max-time", "20", "--unix-socket"])
            .arg(self.socket())
            .args(rest)
            .arg(format!("http://kiln{path}"))
            .output()
            .expect("curl can be run")
    }

    /// Waits until `condition` gives something; looks again every 50 ms.
    ///
    /// # Panics
    ///
    /// It gives nothing within `limit`.
    #[track_caller]
    pub fn wait_for<T>(&self, what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
        let until = Instant::now() + limit;
        loop {
            if let Some(found) = condition() {
                return found;
            }
            assert!(Instant::now() < until, "{what} did not happen within {} s", limit.as_secs());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.command("kiln").args(["daemon", "stop"]).output();
        // Whatever a failed test left behind would disturb the next one.
        self.leftovers().kill();
    }
}

impl Running {
    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    ///
    /// # Panics
    ///
    /// The process is gone.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
        rustix::process::kill_process(pid, signal).expect("the process is there");
    }

    /// Waits for its end.
    ///
    /// # Panics
    ///
    /// It does not end within 400 s.
    pub fn wait(mut self) -> Ran {
        let read = |stream: Option<&mut dyn std::io::Read>| {
            let mut text = Vec::new();
            if let Some(stream) = stream {
                let _ = stream.read_to_end(&mut text);
            }
            String::from_utf8_lossy(&text).into_owned()
        };
        let (mut stdout, mut stderr) = (self.child.stdout.take(), self.child.stderr.take());
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process id");
        let (ended, wait_for_end) = std::sync::mpsc::channel::<()>();
        // A command that hangs is killed, so that reading its output ends too.
        let watchdog = std::thread::spawn(move || {
            let hangs = wait_for_end.recv_timeout(LIMIT).is_err();
            if hangs {
                let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
            }
            hangs
        });
        let error_text = std::thread::spawn(move || read(stderr.as_mut().map(|stream| stream as _)));
        let stdout = read(stdout.as_mut().map(|stream| stream as _));
        let status = self.child.wait().expect("a child can be waited for");
        let elapsed = self.started.elapsed();
        let _ = ended.send(());
        let stderr = error_text.join().expect("reading does not panic");
        let hung = watchdog.join().expect("waiting does not panic");
        assert!(!hung, "kiln did not end within {} s\n{stdout}\n{stderr}", LIMIT.as_secs());
        Ran { status, stdout, stderr, elapsed }
    }
}
