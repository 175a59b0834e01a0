//! `kiln` at a terminal, a real polkitd, and polkit's own agent for terminals: who is refused for want of a password is asked for it.

use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::json;

use super::{Polkitd, SystemBus};
use crate::rig::skip;
use crate::users::ALICE;

#[test]
fn who_calls_at_a_terminal_is_asked_for_the_password_that_polkit_wants() {
    let Some(bus) = SystemBus::start() else { return };
    let this = std::env::current_exe().unwrap();
    let kiln = this.parent().and_then(Path::parent).unwrap().join("kiln");
    if !kiln.is_file() {
        return skip("kiln (`cargo build -p kiln-client`)");
    }
    for tool in ["script", "pkttyagent"] {
        if Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            return skip(tool);
        }
    }
    let system = bus.kilnd();
    let Some(_polkitd) = Polkitd::start(&bus, &system, "") else { return };
    // By another process: a program that a neighbouring test's child has open for writing cannot be run.
    assert!(Command::new("cp").arg(kiln).arg(system.path("kiln")).status().unwrap().success());

    let at_terminal = |arguments: &str| {
        let line = format!("{} {arguments}", system.path("kiln").display());
        // One that hangs is to fail, and to hang nobody else.
        let mut terminal = Command::new("timeout");
        terminal.args(["--kill-after=5", "120", "setpriv"]);
        terminal.args([format!("--reuid={ALICE}"), format!("--regid={ALICE}"), "--clear-groups".to_owned()]);
        terminal.args(["script", "-qefc", &line, "/dev/null"]).current_dir(system.path("kiln-alice"));
        terminal.env("DBUS_SYSTEM_BUS_ADDRESS", bus.address()).env("KILN_SOCKET", system.path("run/kiln/kiln.sock"));
        terminal.env("SHELL", "/bin/sh").env_remove("CI").stdin(Stdio::piped()).stdout(Stdio::piped());
        terminal.spawn().unwrap()
    };
    // She would be asked for an administrator's password, were she asked: she comes from no session.
    let template = system.path("kiln-alice").join("stays.json");
    std::fs::write(&template, json!([{"say_variable": "KILN_CONFINED"}]).to_string()).unwrap();
    let built = at_terminal("build stays.json").wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&built.stdout);
    assert!(built.status.success() && said.contains("KILN_CONFINED=1"), "{said}");
    assert!(!said.contains("AUTHENTICATING"), "{said}");

    let mut terminal = at_terminal("daemon stop");
    let (mut typed, mut shown) = (terminal.stdin.take().unwrap(), terminal.stdout.take().unwrap());
    let mut seen = String::new();
    let mut bytes = [0; 4096];
    while !seen.contains("Password: ") {
        let length = shown.read(&mut bytes).unwrap();
        assert_ne!(length, 0, "{seen}");
        seen.push_str(&String::from_utf8_lossy(&bytes[..length]));
    }
    assert!(seen.contains("AUTHENTICATING FOR org.kiln.Kiln1.configure"), "{seen}");
    assert!(seen.contains("Authentication is required to stop the machine-image builder of all users"), "{seen}");
    // A right one belongs to an account of this machine, which a test has none of.
    typed.write_all(b"nonsense\n").unwrap();
    let mut rest = Vec::new();
    shown.read_to_end(&mut rest).unwrap();
    let rest = String::from_utf8_lossy(&rest).into_owned();
    assert!(!terminal.wait().unwrap().success());
    assert!(rest.contains("error: user 61001 may not stop the daemon: polkit does not allow it"), "{rest}");

    // Nothing was done, and what needs no password is done as ever.
    let id = system.submit(ALICE, &json!([{"stop": 0}]));
    system.until_state(ALICE, &id, "succeeded");
}
