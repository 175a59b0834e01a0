//! The real tools, which judge what is written here.

/// Whether the program `name` is there; where all tools are required, it has to be.
pub(super) fn has(name: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if std::env::split_paths(&path).any(|directory| directory.join(name).is_file()) {
        return true;
    }
    assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "{name} is required but missing");
    eprintln!("ignored: needs the program {name}");
    false
}
