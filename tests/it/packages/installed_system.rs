//! A system to install things in: this machine's own, under an overlay in memory, with processes of its own. What is done in there is seen
//! in the overlay alone, ends with the test, and can be listed. Needs root.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The person who builds in there.
const USER: &str = "54321";

/// Makes the mounts, says so, and lives as long as its standard input.
const SET_UP: &str = r#"
set -e
at=$1
mount -t tmpfs -o mode=755 tmpfs "$at"
mkdir "$at/upper" "$at/work" "$at/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$at/upper,workdir=$at/work" "$at/root"
root=$at/root
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mkdir "$root/tmp/packages"
cp "$2" "$3" "$root/tmp/packages"
chroot "$root" useradd --create-home --uid 54321 --shell /bin/sh kiln-builder
install -d -m 700 -o 54321 -g 54321 "$root/run/user/54321"
echo ready
exec cat >/dev/null
"#;

/// Limit of one command.
const LIMIT: &str = "120";

/// Where a package manager, and not the package, writes.
const BOOK_KEEPING: [&str; 4] = ["var/lib/dpkg/", "var/log/", "var/cache/", "var/lib/systemd/"];

/// One such system. Dropping it ends all processes in there.
pub(super) struct System {
    holder: Child,
    inside: String,
    at: tempfile::TempDir,
    before: BTreeSet<String>,
}

impl System {
    pub(super) fn new(package: &Path, archive: &Path) -> Self {
        let at = tempfile::Builder::new().prefix("ks").tempdir_in("/tmp").unwrap();
        let mut holder = Command::new("unshare")
            .args(["--mount", "--pid", "--fork", "--kill-child", "bash", "-c", SET_UP, "bash"])
            .args([at.path(), package, archive])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the system cannot be set up");
        let id = holder.id();
        let inside = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap().trim().to_owned();
        let mut system = Self { holder, inside, at, before: BTreeSet::new() };
        system.before = system.changes();
        system
    }

    /// Runs a program in there as root.
    pub(super) fn run(&self, words: &[&str]) -> Output {
        let root = self.at.path().join("root");
        let mut command = self.enter();
        command.args(["timeout", LIMIT, "chroot"]).arg(root).args(["env", "-i"]);
        command.args(["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8"]);
        command.args(["HOME=/root", "DEBIAN_FRONTEND=noninteractive"]).args(words).output().unwrap()
    }

    /// Runs a program as root; fails with what it said unless it succeeds.
    #[track_caller]
    pub(super) fn succeed(&self, words: &[&str]) -> String {
        said(words, &self.run(words))
    }

    /// Runs a line as the person who builds, at home; fails with what it said unless it succeeds.
    #[track_caller]
    pub(super) fn as_user(&self, line: &str) -> String {
        let ids = [format!("--reuid={USER}"), format!("--regid={USER}")];
        let line = format!("cd; {line}");
        let words = ["setpriv", &ids[0], &ids[1], "--clear-groups", "env", "HOME=/home/kiln-builder"];
        let runtime = format!("XDG_RUNTIME_DIR=/run/user/{USER}");
        let words = [&words[..], &[&runtime, "PACKER_NO_COLOR=1", "sh", "-c", &line]].concat();
        said(&words, &self.run(&words))
    }

    /// Waits until a line succeeds for that person; returns what it says.
    #[track_caller]
    pub(super) fn wait_for(&self, line: &str) -> String {
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let found = self.as_user(&format!("if {line}; then echo it is so; fi"));
            if found.ends_with("it is so\n") {
                return found;
            }
            assert!(Instant::now() < until, "`{line}` does not come true: {found}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What is other than it was at first, without the home of that person and what the package manager remembers.
    pub(super) fn left(&self) -> BTreeSet<String> {
        &self.changes() - &self.before
    }

    /// Every file that is other than on this machine, and every directory that is new, as `f 755 0 usr/bin/kiln`.
    fn changes(&self) -> BTreeSet<String> {
        let upper = self.at.path().join("upper");
        let output = self.enter().arg("find").arg(upper).args(["-printf", "%y %m %U %P\\n"]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let foreign =
            |path: &str| !path.starts_with("home/") && !BOOK_KEEPING.iter().any(|place| path.starts_with(place));
        // A directory in which something was done is in the overlay, too.
        let known = |line: &str, path: &str| line.starts_with("d ") && Path::new("/").join(path).is_dir();
        let changed = text.lines().filter(|line| {
            let path = line.splitn(4, ' ').nth(3).unwrap_or_default();
            foreign(path) && !known(line, path)
        });
        changed.map(str::to_owned).collect()
    }

    fn enter(&self) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--target", &self.inside, "--mount", "--pid", "--"]).stdin(Stdio::null());
        command
    }
}

impl Drop for System {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        // Its first process has ended then, and with it all others and the mounts.
        let _ = self.holder.wait();
    }
}

#[track_caller]
fn said(words: &[&str], output: &Output) -> String {
    let text = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned();
    assert!(output.status.success(), "{words:?}: {}\n{text}", output.status);
    text
}
