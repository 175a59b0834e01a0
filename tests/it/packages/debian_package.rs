//! The life of the Debian package on a system whose user has jobs.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::installed_system::System;
use super::{can_have_a_system, packages};

/// A job that waits until it is let go on through a fifo, and tells that it did.
const TEMPLATE: &str = r#"
source "null" "x" {
  communicator = "none"
}
build {
  sources = ["null.x"]
  provisioner "shell-local" {
    inline = ["echo waiting", "read word < gate", "echo $word > done", "echo went on"]
  }
}
"#;

/// A job that only leaves word that it ran.
const QUEUED: &str = r#"
source "null" "y" {
  communicator = "none"
}
build {
  sources = ["null.y"]
  provisioner "shell-local" {
    inline = ["echo ran > after"]
  }
}
"#;

/// Mounts as a user leaves them: one that nothing can be removed from, and a directory from elsewhere.
const MOUNTED: &str = "
set -e
job='/var/lib/kiln/jobs/0 1'
mkdir -p \"$job/full\" \"$job/theirs\" /tmp/theirs
touch /tmp/theirs/kept
mount -t tmpfs -o ro tmpfs \"$job/full\"
mount --bind /tmp/theirs \"$job/theirs\"
";

/// Packs `package` again as an older version, which has a file that the new one has not.
fn older(package: &Path, scratch: &Path) -> PathBuf {
    let (folder, older) = (scratch.join("older"), scratch.join("older.deb"));
    let run = |command: &mut Command| assert!(command.status().unwrap().success());
    run(Command::new("dpkg-deb").arg("--raw-extract").arg(package).arg(&folder));
    let control = folder.join("DEBIAN/control");
    let text = std::fs::read_to_string(&control).unwrap();
    let version = concat!("Version: ", env!("CARGO_PKG_VERSION"));
    assert!(text.contains(version));
    std::fs::write(&control, text.replace(version, "Version: 0.0.1")).unwrap();
    std::fs::write(folder.join("usr/share/doc/kiln/OBSOLETE"), "of an older version").unwrap();
    run(Command::new("dpkg-deb").args(["-Znone", "--root-owner-group", "--build"]).arg(&folder).arg(&older));
    older
}

/// Starts the job; returns its id once it waits.
fn job(system: &System) -> String {
    system.as_user("rm -f gate done; mkfifo gate");
    let id = system.as_user("kiln build --detach t.pkr.hcl 2>/dev/null").trim().to_owned();
    system.wait_for(&format!("kiln logs {id} | grep -q 'x: waiting'"));
    id
}

#[test]
fn jobs_survive_an_upgrade_and_the_removal_and_nothing_is_left() {
    let Some((package, _)) = packages() else { return };
    if !can_have_a_system() {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let older = older(package, scratch.path());
    let system = System::new(package, &older);
    let new = format!("/tmp/packages/{}", package.file_name().unwrap().to_str().unwrap());

    system.succeed(&["dpkg", "--install", "/tmp/packages/older.deb"]);
    assert!(system.left().contains("f 644 0 usr/share/doc/kiln/OBSOLETE"));
    system.as_user(&format!("cat > t.pkr.hcl <<'END'\n{TEMPLATE}END"));
    let id = job(&system);

    // The job's worker and the daemon that started it are programs of the old package.
    let replaced = "its program was replaced since it started";
    assert!(!system.as_user("kiln daemon status").contains(replaced));
    system.succeed(&["dpkg", "--install", &new]);
    assert_eq!(system.succeed(&["dpkg", "--verify", "kiln"]), "");
    assert!(!system.left().contains("f 644 0 usr/share/doc/kiln/OBSOLETE"));
    assert!(system.as_user(&format!("kiln jobs show {id}")).contains("running"), "the new kiln asks the old kilnd");
    let status = system.as_user("kiln daemon status");
    assert!(status.contains(replaced) && status.contains("`kiln daemon stop`"), "{status}");
    assert!(system.as_user("kiln daemon stop").contains("1 running job goes on"));
    assert!(system.as_user(&format!("kiln jobs show {id}")).contains("running"), "the new kilnd has taken it up");
    assert!(!system.as_user("kiln daemon status").contains(replaced));
    system.as_user("timeout 20 sh -c 'echo on > gate'");
    let end = system.as_user(&format!("kiln attach {id}"));
    assert!(end.contains("x: went on"), "{end}");

    // Packages are exactly what they list.
    let listed = system.succeed(&["dpkg", "--listfiles", "kiln"]);
    let left = system.left();
    for line in &left {
        let path = line.splitn(4, ' ').nth(3).unwrap();
        assert!(listed.lines().any(|listed| listed.strip_prefix('/') == Some(path)), "{path} is not of the package");
    }
    assert!(
        left.contains("f 755 0 usr/bin/kiln") && left.contains("f 644 0 usr/lib/systemd/user/kilnd.socket"),
        "{left:?}"
    );

    // Another waits until there is room for it; by then no program is installed from which a worker could be started.
    system.as_user("kiln daemon stop");
    system.as_user(&format!("cat > next.pkr.hcl <<'END'\n{QUEUED}END"));
    system.as_user("mkdir -p .config/kiln; echo 'max_jobs = 1' > .config/kiln/kiln.toml");
    let second = job(&system);
    let queued = system.as_user("kiln build --detach next.pkr.hcl 2>/dev/null").trim().to_owned();
    assert!(system.as_user(&format!("kiln jobs show {queued}")).contains("queued"));
    system.succeed(&["dpkg", "--remove", "kiln"]);
    assert!(!system.run(&["test", "-e", "/usr/bin/kilnd"]).status.success());
    assert_eq!(system.as_user("ls -d after 2>/dev/null || true"), "", "it has not begun");
    system.as_user("timeout 20 sh -c 'echo last > gate'");
    system.wait_for("grep -q last done");
    system.wait_for("grep -q ran after");
    // What a user has mounted in a directory of an own job keeps nobody from purging, and nothing in it is removed.
    system.succeed(&["sh", "-c", MOUNTED]);
    system.succeed(&["dpkg", "--purge", "kiln"]);
    assert_eq!(system.left(), std::collections::BTreeSet::new());
    system.succeed(&["test", "-e", "/tmp/theirs/kept"]);
    assert!(!system.run(&["dpkg", "--status", "kiln"]).status.success());
    // What people have made is theirs.
    system.as_user(&format!("ls -d .local/state/kiln/jobs/*{second}*"));
}
