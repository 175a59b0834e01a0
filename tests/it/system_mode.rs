//! One kilnd for all users: whole builds of an ordinary user, as root's daemon starts them.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

use kiln_tests::{program, root, tool};
use rustix::process::{Pid, Signal, kill_process};

/// A user whom every Debian has, and nobody logs in as.
const USER: &str = "games";

/// kilnd as root starts it, below a directory of its own; ended when dropped.
struct Kilnd {
    scratch: tempfile::TempDir,
    process: Child,
}

impl Kilnd {
    fn start() -> Self {
        let scratch = tempfile::Builder::new().prefix("ks").tempdir().unwrap();
        open_for_all(scratch.path());
        let configuration = scratch.path().join("etc/kiln");
        std::fs::create_dir_all(&configuration).unwrap();
        // Debian gives these accounts no login shell.
        std::fs::write(configuration.join("kiln.toml"), "nologin_users = [\"games\", \"mail\"]\n").unwrap();
        let process =
            Command::new(program("kilnd")).arg("--system").arg("--prefix").arg(scratch.path()).spawn().unwrap();
        let kilnd = Self { scratch, process };
        // Where the tests were built may be closed to others.
        std::fs::copy(program("kiln"), kilnd.path("kiln")).unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        while !kilnd.path("run/kiln/kiln.sock").exists() {
            assert!(Instant::now() < deadline, "kilnd --system does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        kilnd
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.scratch.path().join(name)
    }

    /// Runs `kiln` as this user, with nothing in its environment but the way to it.
    fn kiln(&self, user: &str, directory: &Path, arguments: &[&str]) -> Output {
        Command::new("setpriv")
            .args(["--reuid", user, "--regid", user, "--init-groups"])
            .arg(self.path("kiln"))
            .args(arguments)
            .current_dir(directory)
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("KILN_SOCKET", self.path("run/kiln/kiln.sock"))
            .output()
            .unwrap()
    }
}

impl Drop for Kilnd {
    fn drop(&mut self) {
        let pid = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw);
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        let _ = self.process.wait();
    }
}

fn open_for_all(path: &Path) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn an_ordinary_user_builds_and_owns_what_comes_of_it() {
    if !root() || !tool("setpriv") {
        return;
    }
    let kilnd = Kilnd::start();
    let work = kilnd.path("work");
    std::fs::create_dir(&work).unwrap();
    assert!(Command::new("chown").arg(format!("{USER}:")).arg(&work).status().unwrap().success());
    let template = "source \"file\" \"x\" {\n  content = \"hello\"\n  target  = \"out.txt\"\n}\nbuild {\n  sources = [\"source.file.x\"]\n}\n";
    std::fs::write(work.join("x.pkr.hcl"), template).unwrap();
    let built = kilnd.kiln(USER, &work, &["build", "x.pkr.hcl"]);
    let said = format!("{}{}", String::from_utf8_lossy(&built.stdout), String::from_utf8_lossy(&built.stderr));
    assert!(built.status.success(), "{said}");
    assert_eq!(std::fs::read_to_string(work.join("out.txt")).unwrap(), "hello", "{said}");
    let owner = |path: &Path| path.metadata().unwrap().uid();
    assert_eq!(owner(&work.join("out.txt")), owner(&work));
    // What outlives the job is the user's, too, and closed to others.
    let kept = kilnd.path("var/cache/kiln").join(owner(&work).to_string());
    let key = kept.join("plan.key");
    assert_eq!((owner(&kept), owner(&key)), (owner(&work), owner(&work)));
    assert_eq!(key.metadata().unwrap().mode() & 0o077, 0);
    assert!(!kilnd.path("var/lib/kiln/plan.key").exists());
    // An account without a login shell that nobody has named may not.
    let refused = kilnd.kiln("news", Path::new("/"), &["build", "/x.pkr.hcl"]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("nologin_users"), "{said}");
    // Another user has no jobs here.
    let jobs = |user: &str| String::from_utf8(kilnd.kiln(user, Path::new("/"), &["jobs"]).stdout).unwrap();
    assert!(jobs(USER).contains("x.pkr.hcl"), "{}", jobs(USER));
    assert!(!jobs("mail").contains("x.pkr.hcl"), "{}", jobs("mail"));
}
