//! The console on a terminal.

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Lines that are typed before the console asks for them are not lost: `script` hands over all of them at once.
#[test]
fn type_ahead_is_kept() {
    let home = tempfile::tempdir().unwrap();
    let console = format!("{} console -config-type=hcl2", env!("CARGO_BIN_EXE_kiln"));
    let started = Command::new("script")
        .args(["-q", "-c", &console, "/dev/null"])
        .env("HOME", home.path())
        .env_remove("XDG_STATE_HOME")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn();
    let mut child = match started {
        Ok(child) => child,
        Err(error) => {
            assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "script is needed: {error}");
            eprintln!("ignored: type_ahead_is_kept needs script");
            return;
        }
    };
    child.stdin.take().unwrap().write_all(b"upper(\"first\")\nupper(\"second\")\nupper(\"third\")\nexit\n").unwrap();
    let said = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    for result in ["FIRST", "SECOND", "THIRD"] {
        assert!(said.contains(result), "{result} is missing: {said:?}");
    }
}
