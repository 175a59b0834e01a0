//! kilnd for all users on a bus as the system's is: the shipped policy of the bus, and a real polkitd with the shipped actions and rules.

mod actions;
mod agent;
mod asked;
mod desktop;
mod no_answer;
mod polkit;

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::geteuid;
use tempfile::TempDir;

use crate::rig::skip;
use crate::users::{ALICE, BOB, System};

/// polkitd of Debian and of others.
const POLKITD: [&str; 3] = ["/usr/lib/polkit-1/polkitd", "/usr/libexec/polkitd", "/usr/libexec/polkit-1/polkitd"];

/// A bus on which only what policies allow is possible.
struct SystemBus {
    scratch: TempDir,
    daemon: Child,
}

/// Returns a file of the folder `systemd/`.
fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(name)
}

impl SystemBus {
    fn start() -> Option<Self> {
        if !geteuid().is_root() {
            skip("root");
            return None;
        }
        if Command::new("dbus-daemon").arg("--version").output().is_err() {
            skip("dbus-daemon");
            return None;
        }
        let scratch = tempfile::Builder::new().prefix("kb").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(scratch.path(), PermissionsExt::from_mode(0o755)).unwrap();
        // What is in front of the includes is what dbus-daemon's own system.conf says.
        let configuration = format!(
            r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
                "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
            <busconfig><type>system</type><listen>unix:path={}/bus</listen><auth>EXTERNAL</auth>
            <policy context="default"><allow user="*"/><deny own="*"/><deny send_type="method_call"/>
            <allow send_type="signal"/><allow send_requested_reply="true" send_type="method_return"/>
            <allow send_requested_reply="true" send_type="error"/><allow receive_type="method_call"/>
            <allow receive_type="method_return"/><allow receive_type="error"/><allow receive_type="signal"/>
            <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/></policy>
            <include ignore_missing="yes">/usr/share/dbus-1/system.d/org.freedesktop.PolicyKit1.conf</include>
            <include>{}</include></busconfig>"#,
            scratch.path().display(),
            shipped("dbus/system/org.kiln.Kiln1.conf").canonicalize().unwrap().display(),
        );
        std::fs::write(scratch.path().join("bus.conf"), configuration).unwrap();
        // It turns away users whom it cannot look up.
        let mut passwd = std::fs::read_to_string("/etc/passwd").unwrap();
        for (name, uid) in [("kiln-alice", ALICE), ("kiln-bob", BOB)] {
            passwd += &format!("{name}:x:{uid}:{uid}::/:/bin/sh\n");
        }
        std::fs::write(scratch.path().join("passwd"), passwd).unwrap();
        let script = "mount --bind \"$1/passwd\" /etc/passwd &&
            exec dbus-daemon --config-file=\"$1/bus.conf\" --nofork --print-address";
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", script, "sh"]).arg(scratch.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut daemon = command.stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(daemon.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("unix:"), "dbus-daemon says {line:?}");
        Some(Self { scratch, daemon })
    }

    fn address(&self) -> String {
        format!("unix:path={}/bus", self.scratch.path().display())
    }

    /// Starts kilnd for all users on this bus, and waits until it is there.
    fn kilnd(&self) -> System {
        let system = System::start_with("", vec![("DBUS_SYSTEM_BUS_ADDRESS", self.address())]);
        self.wait_for(&system, "org.kiln.Kiln1");
        system
    }

    /// Waits until somebody has this name.
    fn wait_for(&self, system: &System, name: &str) {
        let asked = [
            "call",
            "org.freedesktop.DBus",
            "/org/freedesktop/DBus",
            "org.freedesktop.DBus",
            "NameHasOwner",
            "s",
            name,
        ];
        system.until(name, || self.busctl(0, &asked).1.contains("b true").then_some(()));
    }

    /// Has busctl of a user do something; returns whether it did, and what it says.
    fn busctl(&self, uid: u32, arguments: &[&str]) -> (bool, String) {
        let mut command = Command::new("setpriv");
        command.args([format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".to_owned()]);
        command.args(["busctl", "--timeout=30"]).arg(format!("--address={}", self.address())).args(arguments);
        let output = command.stdin(Stdio::null()).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }
}

impl Drop for SystemBus {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// A real polkitd with the shipped actions and rules, and a rule of the test's.
struct Polkitd {
    daemon: Child,
    _files: TempDir,
}

impl Polkitd {
    /// Starts it for the users that `system` knows; nothing (said aloud) where there is none.
    fn start(bus: &SystemBus, system: &System, rule: &str) -> Option<Self> {
        let Some(program) = POLKITD.iter().find(|path| Path::new(path).exists()) else {
            skip("polkitd");
            return None;
        };
        let files = tempfile::Builder::new().prefix("kp").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(files.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let folders = ["actions", "rules", "more-rules"].map(|name| files.path().join(name));
        for folder in &folders {
            std::fs::create_dir(folder).unwrap();
            std::fs::set_permissions(folder, PermissionsExt::from_mode(0o755)).unwrap();
        }
        std::fs::copy(shipped("polkit/org.kiln.Kiln1.policy"), folders[0].join("org.kiln.Kiln1.policy")).unwrap();
        std::fs::copy(shipped("polkit/60-kiln.rules"), folders[1].join("60-kiln.rules")).unwrap();
        std::fs::write(folders[2].join("10-test.rules"), rule).unwrap();
        let script = "for pair in actions:/usr/share/polkit-1/actions rules:/usr/share/polkit-1/rules.d more-rules:/etc/polkit-1/rules.d; do
                mount --bind \"$1/${pair%%:*}\" \"${pair#*:}\" || exit 1
            done
            mount --bind \"$2/passwd\" /etc/passwd && mount --bind \"$2/group\" /etc/group && exec \"$3\" --no-debug";
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-c", script, "sh"]).arg(files.path());
        command.arg(system.path("")).arg(program).env("DBUS_SYSTEM_BUS_ADDRESS", bus.address());
        let daemon = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        bus.wait_for(system, "org.freedesktop.PolicyKit1");
        Some(Self { daemon, _files: files })
    }
}

impl Drop for Polkitd {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}
