//! libvirt's daemon of a test's own: unprivileged, with all its files in a directory that goes with it.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use virt::connect::Connect;

use crate::qemu::testing::{QEMU, missing};

/// The daemon's program, from Debian's libvirt-daemon.
const PROGRAM: &str = "libvirtd";

/// Longest wait for its socket.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running daemon.
pub(super) struct Daemon {
    directory: tempfile::TempDir,
    child: Child,
}

/// Tells whether a file that a test needs is missing, visibly.
pub(super) fn missing_file(path: &Path) -> bool {
    let is_missing = !path.exists();
    assert!(
        !is_missing || std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"),
        "the test needs {}",
        path.display()
    );
    is_missing
}

impl Daemon {
    /// Starts one; `None` where a tool is missing.
    pub(super) fn start() -> Option<Self> {
        if missing(QEMU) || missing(PROGRAM) || missing("unshare") {
            return None;
        }
        let directory = tempfile::tempdir().unwrap();
        for name in ["run", "config/libvirt", "data", "home"] {
            std::fs::create_dir_all(directory.path().join(name)).unwrap();
        }
        // Without a helper for logs, which would outlive the daemon.
        std::fs::write(directory.path().join("config/libvirt/qemu.conf"), "stdio_handler = \"file\"\n").unwrap();
        let child = run(directory.path());
        Some(Self { directory, child })
    }

    /// The daemon's URI. The socket is named, because root's tests would be led to the host's own daemon.
    pub(super) fn uri(&self) -> String {
        format!("qemu:///session?socket={}", socket(self.directory.path()).display())
    }

    /// How many domains it has.
    pub(super) fn domains(&self) -> u32 {
        Connect::open(Some(&self.uri())).unwrap().num_of_domains().unwrap()
    }

    /// How many connections to it are open.
    pub(super) fn connections(&self) -> usize {
        let path = socket(self.directory.path()).display().to_string();
        let sockets = std::fs::read_to_string("/proc/net/unix").unwrap();
        // `Num RefCount Protocol Flags Type St Inode Path`; the one that listens says so in its flags.
        let listens = |line: &str| line.split_whitespace().nth(3) == Some("00010000");
        sockets.lines().filter(|line| line.ends_with(&path) && !listens(line)).count()
    }

    /// Kills it.
    pub(super) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Stops it: what is sent to it is taken by the kernel, and never answered.
    pub(super) fn stop(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    /// Lets it go on.
    pub(super) fn go_on(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Starts it again.
    pub(super) fn again(&mut self) {
        std::fs::remove_file(socket(self.directory.path())).unwrap();
        self.child = run(self.directory.path());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn socket(directory: &Path) -> PathBuf {
    directory.join("run/libvirt/libvirt-sock")
}

fn run(directory: &Path) -> Child {
    let root = rustix::process::getuid().is_root();
    let mut command = match root {
        // In a user namespace root is a user like another, whose files are still root's.
        true => {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-user=1000", "--map-group=1000", PROGRAM]);
            command
        }
        false => Command::new(PROGRAM),
    };
    // What it finds out about QEMU takes ten seconds, and is kept for all tests of a run.
    let cache = std::env::temp_dir().join(format!("kiln-test-libvirt-{}", rustix::process::getuid().as_raw()));
    let log = std::fs::File::create(directory.join("log")).unwrap();
    command.args(["--timeout", "120"]);
    command.env("XDG_RUNTIME_DIR", directory.join("run")).env("XDG_CONFIG_HOME", directory.join("config"));
    command.env("XDG_DATA_HOME", directory.join("data")).env("HOME", directory.join("home"));
    command.env("XDG_CACHE_HOME", cache).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut child = command.spawn().unwrap();
    let start = Instant::now();
    while std::os::unix::net::UnixStream::connect(socket(directory)).is_err() {
        let log = || std::fs::read_to_string(directory.join("log")).unwrap_or_default();
        assert!(child.try_wait().unwrap().is_none(), "libvirtd ended: {}", log());
        assert!(start.elapsed() < PATIENCE, "libvirtd does not listen: {}", log());
        std::thread::sleep(Duration::from_millis(10));
    }
    child
}
