//! A whole build through libvirt's own daemon. Only a kilnd that was built with the feature can do it: `./x libvirt` builds one and runs this.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kiln_tests::{Home, Ran, installer, root, tool};

use crate::guests::{PASSWORD, Template};

/// Longest wait for the daemon's socket.
const PATIENCE: Duration = Duration::from_secs(60);

/// An unprivileged libvirtd with all its files in a directory of its own.
struct Daemon {
    directory: tempfile::TempDir,
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

/// Starts a libvirtd as root, for all users, whose places are in the directory that is its argument. Debian's package makes the user as whom it
/// runs QEMU.
const AS_ROOT: &str = r#"
for pair in run:/run/libvirt etc:/etc/libvirt lib:/var/lib/libvirt cache:/var/cache/libvirt log:/var/log/libvirt; do
  mkdir -p "${pair#*:}"
  mount --bind "$0/${pair%%:*}" "${pair#*:}"
done
for file in passwd group; do cp "/etc/$file" "$0/$file"; done
grep -q ^libvirt-qemu: /etc/passwd || echo libvirt-qemu:x:64055:64055::/nonexistent:/usr/sbin/nologin >> "$0/passwd"
grep -q ^libvirt-qemu: /etc/group || echo libvirt-qemu:x:64055: >> "$0/group"
grep -q ^kvm: /etc/group || echo kvm:x:64056: >> "$0/group"
for file in passwd group; do mount --bind "$0/$file" "/etc/$file"; done
exec libvirtd --timeout 300 --pid-file /run/libvirt/libvirtd.pid
"#;

impl Daemon {
    /// Starts one for all users, which runs QEMU as its default user, or as these lines of its configuration say. Needs root.
    fn for_all_users(lines: &str) -> Self {
        let directory = tempfile::Builder::new().prefix("kl").tempdir_in("/tmp").unwrap();
        let place = |name: &str| directory.path().join(name);
        for name in ["run", "etc", "lib", "cache", "log"] {
            std::fs::create_dir(place(name)).unwrap();
        }
        // QEMU as another user has to get to its own places; and as above.
        std::fs::set_permissions(directory.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        std::fs::write(place("etc/qemu.conf"), format!("stdio_handler = \"file\"\n{lines}")).unwrap();
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-ec", AS_ROOT]).arg(directory.path());
        let log_file = std::fs::File::create(place("messages")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log_file).spawn().unwrap();
        let (socket, log) = (place("run/libvirt-sock"), place("messages"));
        let mut daemon = Self { directory, child, socket, log };
        daemon.listens();
        daemon
    }

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
        let (socket, log) = (place("run/libvirt/libvirt-sock"), place("log"));
        let mut daemon = Self { directory, child, socket, log };
        daemon.listens();
        daemon
    }

    fn listens(&mut self) {
        let start = Instant::now();
        while std::os::unix::net::UnixStream::connect(&self.socket).is_err() {
            let log = std::fs::read_to_string(&self.log).unwrap_or_default();
            assert!(self.child.try_wait().unwrap().is_none(), "libvirtd ended: {log}");
            assert!(start.elapsed() < PATIENCE, "libvirtd does not listen: {log}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The daemon of `kind` (`session`, `system`) as Kiln is told of it.
    fn uri(&self, kind: &str) -> String {
        format!("qemu:///{kind}?socket={}", self.socket.display())
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
    let ran = build_through(&home, &daemon.uri("session")).expect(0);
    assert!(ran.stdout.contains("==> qemu.guest: through-libvirt"), "{}", ran.stdout);
    assert!(home.work("out/guest").is_file(), "{}", ran.stdout);
    ran_one_machine(&daemon, "cache/libvirt/qemu/log", ["run/libvirt/qemu/run", "config/libvirt/qemu"]);
    assert!(home.leftovers().is_empty());
}

/// libvirt keeps what its QEMU was started with and said, and nothing of a domain that runs or is defined.
fn ran_one_machine(daemon: &Daemon, logs: &str, states: [&str; 2]) {
    let logs = daemon.files(logs, "log");
    assert_eq!(logs.len(), 1, "one machine was run: {logs:?}");
    let log = std::fs::read_to_string(&logs[0]).unwrap();
    assert!(log.contains("qemu-system-x86_64") && log.contains("guest=kiln-"), "{log}");
    for folder in states {
        assert_eq!(daemon.files(folder, "xml"), Vec::<PathBuf>::new(), "{folder}");
    }
}

/// Builds the test guest through `uri`, with whatever is said.
fn build_through(home: &Home, uri: &str) -> Ran {
    let mut command = home.command("kiln");
    command.args(["build", "-color=false", "web.pkr.hcl"]).env("KILN_LIBVIRT", uri);
    home.start_command(command).wait()
}

#[test]
#[ignore = "needs a kilnd with the feature libvirt: ./x libvirt runs it"]
fn a_build_of_root_runs_through_libvirts_daemon_for_all_users_and_no_build_where_qemu_is_somebody_elses() {
    let Some(iso) = installer() else { return };
    if !tool("libvirtd") || !tool("unshare") || !root() {
        return;
    }
    let home = Home::new();
    let build =
        "provisioner \"shell\" {\n    inline = [\"echo for-all-users > /root/proof\", \"cat /root/proof\"]\n  }";
    let password = format!("ssh_password = \"{PASSWORD}\"");
    home.write("web.pkr.hcl", &Template { iso: &iso, answers: &[], source: &password, build }.text());

    let daemon = Daemon::for_all_users("");
    let ran = build_through(&home, &daemon.uri("system")).expect(1);
    let told = format!("{}{}", ran.stdout, ran.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("runs QEMU as user ") && told.contains("/etc/libvirt/qemu.conf"), "{told}");
    assert_eq!(daemon.files("log/qemu", "log"), Vec::<PathBuf>::new(), "a machine was started");
    assert!(!home.work("out").exists() && home.leftovers().is_empty());
    drop(daemon);

    let daemon = Daemon::for_all_users("user = \"root\"\ngroup = \"root\"\n");
    let ran = build_through(&home, &daemon.uri("system")).expect(0);
    assert!(ran.stdout.contains("==> qemu.guest: for-all-users"), "{}", ran.stdout);
    assert!(home.work("out/guest").is_file(), "{}", ran.stdout);
    ran_one_machine(&daemon, "log/qemu", ["run/qemu", "etc/qemu"]);
    assert!(home.leftovers().is_empty(), "{:?}", home.leftovers());
}
