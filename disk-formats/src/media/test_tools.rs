//! How tests of media find and run foreign tools.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

/// Says whether a program is on the search path.
pub(super) fn tool_present(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).chain(["/sbin".into(), "/usr/sbin".into()]).any(|entry| entry.join(name).is_file())
}

/// Ends a test whose tool is missing: visibly, and as a failure where all tools are promised to be there.
pub(super) fn skip(name: &str) {
    assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "{name} is required but missing");
    eprintln!("ignored: needs {name}");
}

/// Runs a tool and returns what it printed; fails the test when the tool fails.
pub(super) fn run<S: AsRef<OsStr>>(program: &str, arguments: &[S], directory: &Path) -> String {
    let path = format!("{}:/sbin:/usr/sbin", std::env::var("PATH").unwrap_or_default());
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .env("PATH", path)
        .env("LC_ALL", "C.UTF-8")
        .env("MTOOLS_SKIP_CHECK", "0")
        .output()
        .unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{program} failed with {}:\n{text}", output.status);
    text
}
