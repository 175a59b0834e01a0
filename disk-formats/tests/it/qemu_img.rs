//! Runs qemu-img, the reference that everybody's images must satisfy.

use std::path::Path;
use std::process::{Command, Output};

/// Says whether qemu-img is there; without it a test is ignored, visibly, or fails when all tools are required.
pub(crate) fn present() -> bool {
    present_tool("qemu-img", "--version")
}

pub(crate) fn present_tool(tool: &str, argument: &str) -> bool {
    if Command::new(tool).arg(argument).output().is_ok() {
        return true;
    }
    assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "this test needs {tool}");
    eprintln!("ignored: needs {tool}");
    false
}

fn run(arguments: &[&str]) -> Output {
    Command::new("qemu-img").args(arguments).output().unwrap()
}

/// Runs qemu-img and fails the test when it fails.
pub(crate) fn ok(arguments: &[&str]) -> String {
    let output = run(arguments);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "qemu-img {arguments:?}: {text}{}", String::from_utf8_lossy(&output.stderr));
    text
}

/// Fails the test unless both images hold the same guest bytes and have the same size.
pub(crate) fn assert_same(format_a: &str, a: &Path, format_b: &str, b: &Path) {
    let report = ok(&["compare", "-f", format_a, "-F", format_b, text(a), text(b)]);
    assert_eq!(report.trim(), "Images are identical.");
}

/// Fails the test unless the image is consistent and leaks nothing.
pub(crate) fn assert_clean(format: &str, path: &Path) {
    let report = ok(&["check", "--output=json", "-f", format, text(path)]);
    assert!(!report.contains("\"leaks\"") && !report.contains("\"corruptions\""), "{report}");
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
