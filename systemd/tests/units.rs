//! The unit files, as systemd itself reads them.

use std::path::Path;
use std::process::Command;

/// The user's units, with a program that is there in place of the installed one.
#[test]
fn systemd_finds_nothing_wrong_with_the_units_of_a_user() {
    if Command::new("systemd-analyze").arg("--version").output().is_err() {
        assert!(std::env::var_os("KILN_TEST_REQUIRE").is_none_or(|what| what != "all"), "systemd-analyze is missing");
        eprintln!("ignored: systemd-analyze is missing");
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("units/user");
    let mut names = Vec::new();
    for entry in std::fs::read_dir(units).unwrap() {
        let entry = entry.unwrap();
        let text = std::fs::read_to_string(entry.path()).unwrap();
        names.push(scratch.path().join(entry.file_name()));
        std::fs::write(names.last().unwrap(), text.replace("/usr/bin/kilnd", "/bin/true")).unwrap();
    }
    assert_eq!(names.len(), 2, "kilnd.socket and kilnd.service");
    let verify = |names: &[std::path::PathBuf]| {
        let mut command = Command::new("systemd-analyze");
        command.args(["verify", "--user", "--man=no"]).args(names).env("XDG_RUNTIME_DIR", scratch.path());
        let output = command.output().unwrap();
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    let (fine, said) = verify(&names);
    // Of other units of this machine it may say what it likes.
    assert!(fine && !said.contains("kilnd"), "{said}");

    // What it would say of a fault, so that the silence above means something.
    let broken = scratch.path().join("kilnd-broken.service");
    std::fs::write(&broken, "[Service]\nType=notfy\nExecStart=/bin/true\nWatchDog=3\n").unwrap();
    let (_, said) = verify(&[broken]);
    assert!(said.contains("kilnd-broken") && said.contains("WatchDog"), "{said}");
}
