//! Other programs that judge what builds leave. A test whose judge is missing says so; where all are required, it fails.

/// Whether the program `name` is there.
#[expect(clippy::print_stderr, reason = "the test runner's output is where this belongs")]
pub(super) fn has(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(name).is_file());
    if !found {
        assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "the test needs {name}");
        eprintln!("ignored: needs the program {name}");
    }
    found
}
