//! Differential tests: what other implementations say of the same input.
//!
//! `go`: HCL 2.14, cty, text/template and regexp of Debian's Go packages (`apt-get install golang-go
//! golang-github-hashicorp-hcl-v2-dev golang-github-zclconf-go-cty-dev`), through the program whose source is in the folder
//! that `KILN_ORACLE` names (else `../shared/lab/go-oracle` beside the repository). `packer`: Debian's packer 1.6.6.
//! `mutants`: both, on damaged files of the corpus.

#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "tests")]

mod generate;
mod go;
mod mutants;
mod packer;

use std::path::{Path, PathBuf};

use kiln_template::Inputs;

/// Says that a judge is missing; fails where all tests are required.
fn skip<T>(test: &str, reason: &str) -> Option<T> {
    assert!(std::env::var("KILN_TEST_REQUIRE").as_deref() != Ok("all"), "{test} needs {reason}");
    eprintln!("ignored: {test} needs {reason}");
    None
}

/// Returns the folder with the corpus, or says that it is absent. It is not part of the project: tests pass without it.
fn corpus(test: &str) -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let path = std::env::var_os("KILN_CORPUS").map_or(beside, PathBuf::from).join("templates");
    if path.is_dir() {
        return Some(path);
    }
    eprintln!("ignored: {test} needs the corpus in {}", path.display());
    None
}

/// Returns all files below a folder whose names end in one of these, sorted.
fn files_below(folder: &Path, endings: &[&str]) -> Vec<PathBuf> {
    let mut folders = vec![folder.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for path in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if endings.iter().any(|ending| path.to_string_lossy().ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// Fails with the first few of what differs.
fn expect_none(wrong: &[String], checked: usize) {
    let shown = wrong.iter().take(40).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} of {checked} differ:\n{shown}", wrong.len());
}

fn inputs() -> Inputs {
    Inputs {
        path: "t.pkr.hcl".into(),
        cwd: "/w".into(),
        now: "2020-01-02T03:04:05Z".parse().unwrap(),
        ..Inputs::default()
    }
}
