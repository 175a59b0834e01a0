//! What the documents say is true: their commands exist, their example is valid, `./x` has what they name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use kiln_tests::{Home, tool};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn read(name: &str) -> String {
    std::fs::read_to_string(root().join(name)).unwrap()
}

/// The words after `prefix` wherever it begins a command: after a prompt, a backtick or at the start of a line.
fn commands(text: &str, prefix: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines() {
        for (at, _) in line.match_indices(prefix) {
            let before = line[..at].trim_end();
            if before.is_empty() || before.ends_with(['$', '`', ',']) {
                let word: String = line[at + prefix.len()..].chars().take_while(char::is_ascii_lowercase).collect();
                found.insert(word);
            }
        }
    }
    found.remove("");
    found
}

#[test]
fn every_command_that_the_documents_name_exists() {
    let home = Home::new();
    let texts = ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "docs/differences.md"].map(read).join("\n");
    let named = commands(&texts, "kiln ");
    assert!(named.len() >= 6, "{named:?}");
    for command in named {
        let ran = home.kiln([command.as_str(), "--help"]);
        assert_eq!(ran.code(), 0, "`kiln {command}` is named but does not exist");
    }
    let listed = String::from_utf8(Command::new(root().join("x")).output().unwrap().stdout).unwrap();
    let named = commands(&texts, "./x ");
    assert!(named.contains("demo") && named.contains("test"), "{named:?}");
    for command in named {
        assert!(listed.contains(&format!("\n  {command} ")), "`./x {command}` is named but `./x` does not list it");
    }
}

#[test]
fn the_example_is_valid() {
    if !tool("qemu-system-x86_64") {
        return;
    }
    let home = Home::new();
    home.write("some.iso", "any file will do for a check");
    let example = root().join("examples/tiny");
    let ran = home.kiln(["validate", "-var", "iso=some.iso", example.to_str().unwrap()]).expect(0);
    assert!(ran.stdout.contains("The configuration is valid."), "{}", ran.stdout);
    let ran = home.kiln(["validate", "-var", "iso=some.iso", "-var", "password=short", example.to_str().unwrap()]);
    let ran = ran.expect(1);
    assert!(ran.stdout.contains("at least 8 characters") && !ran.stdout.contains("short"), "{}", ran.stdout);
}

#[test]
fn the_readme_shows_a_real_transcript() {
    let readme = read("README.md");
    assert!(readme.contains("==> qemu.tiny: Connected to SSH!") && readme.contains("Build 'qemu.tiny' finished after"));
    assert!(!readme.contains("<!--"));
}
