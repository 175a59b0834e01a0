//! A whole build through libvirt's own daemon. Only a kilnd that was built with the feature can do it: `./x libvirt` builds one and runs this.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kiln_tests::{Home, installer, tool};

use crate::guests::{PASSWORD, Template};

/// Longest wait for the daemon's socket.
const PATIENCE: Duration = Duration::from_secs(60);

/// An unprivileged libvirtd with all its files in a directory of its own.
struct Daemon {
    directory: tempfile::TempDir,
    child: Child,
}

impl Daemon {
    fn start() -> Self {
        let directory = tempfile::Builder::new().prefix("kl").tempdir_in("/tmp").unwrap();
        let place = |name: &str| directory.path().join(name);
        for name in ["run", "config/libvirt", "data", "home", "cache"] {
            std::fs::create_dir_all(place(name)).unwrap();
        }
        // Without a helper for logs, which would outlive the daemon.
        std::fs::write(place("config/libvirt/qemu.conf"), "stdio_handler = \"file\"\n").unwrap();
        // In a user namespace root is a user like another, whose files are still root's.
        let mut command = if rustix::process::getuid().is_root() {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-user=1000", "--map-group=1000", "libvirtd"]);
            command
        } else {
            Command::new("libvirtd")
        };
        command.args(["--timeout", "300"]).env("HOME", place("home"));
        for (name, folder) in
            [("RUNTIME_DIR", "run"), ("CONFIG_HOME", "config"), ("DATA_HOME", "data"), ("CACHE_HOME", "cache")]
        {
            command.env(format!("XDG_{name}"), place(folder));
        }
        let log = std::fs::File::create(place("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let mut daemon = Self { directory, child };
        daemon.listens();
        daemon
    }

    fn listens(&mut self) {
        let start = Instant::now();
        while std::os::unix::net::UnixStream::connect(self.socket()).is_err() {
            let log = std::fs::read_to_string(self.place("log")).unwrap_or_default();
            assert!(self.child.try_wait().unwrap().is_none(), "libvirtd ended: {log}");
            assert!(start.elapsed() < PATIENCE, "libvirtd does not listen: {log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.place("run/libvirt/libvirt-sock")
    }

    /// Files with `ending` in one of its folders.
    fn files(&self, folder: &str, ending: &str) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.place(folder)).into_iter().flatten();
        entries.map(|entry| entry.unwrap().path()).filter(|path| is_like(path, ending)).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_like(path: &Path, ending: &str) -> bool {
    path.extension().is_some_and(|extension| extension == ending)
}

#[test]
#[ignore = "needs a kilnd with the feature libvirt: ./x libvirt runs it"]
fn a_build_runs_through_libvirt_and_leaves_nothing_there() {
    let Some(iso) = installer() else { return };
    if !tool("libvirtd") || !tool("unshare") {
        return;
    }
    let daemon = Daemon::start();
    let home = Home::new();
    let build =
        "provisioner \"shell\" {\n    inline = [\"echo through-libvirt > /root/proof\", \"cat /root/proof\"]\n  }";
    let password = format!("ssh_password = \"{PASSWORD}\"");
    home.write("web.pkr.hcl", &Template { iso: &iso, answers: &[], source: &password, build }.text());
    let mut command = home.command("kiln");
    command.args(["build", "-color=false", "web.pkr.hcl"]);
    command.env("KILN_LIBVIRT", format!("qemu:///session?socket={}", daemon.socket().display()));
    let ran = home.start_command(command).wait().expect(0);
    assert!(ran.stdout.contains("==> qemu.guest: through-libvirt"), "{}", ran.stdout);
    assert!(home.work("out/guest").is_file(), "{}", ran.stdout);
    // libvirt keeps what its QEMU was started with and said.
    let logs = daemon.files("cache/libvirt/qemu/log", "log");
    assert_eq!(logs.len(), 1, "one machine was run: {logs:?}");
    let log = std::fs::read_to_string(&logs[0]).unwrap();
    assert!(log.contains("qemu-system-x86_64") && log.contains("guest=kiln-"), "{log}");
    // The state of a domain that runs or is defined.
    for folder in ["run/libvirt/qemu/run", "config/libvirt/qemu"] {
        assert_eq!(daemon.files(folder, "xml"), Vec::<PathBuf>::new(), "{folder}");
    }
    assert!(home.leftovers().is_empty());
}
