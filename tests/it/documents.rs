//! What the documents say is true: their commands exist, their example is valid, `./x` has what they name.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

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
                let of_a_name = |c: &char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(*c);
                let word: String = line[at + prefix.len()..].chars().take_while(of_a_name).collect();
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
    let texts = [
        "README.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "docs/differences.md",
        "docs/template-commands.md",
        "docs/convert.md",
        "docs/configuration.md",
        "docs/installing.md",
        "docs/provenance.md",
    ];
    let texts = texts.map(read).join("\n");
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

/// A path in backticks is there: from the root, or inside a crate. `NAME` in capitals stands for what a reader chooses.
#[test]
fn every_path_that_the_guides_name_exists() {
    // A part of the design that is not built yet.
    let to_come = ["systemd/"];
    let folders = ["", "client/src", "daemon/src", "daemon/builder/src", "daemon/template/src", "disk-formats/src"];
    let mut checked = 0;
    for guide in ["ARCHITECTURE.md", "CONTRIBUTING.md"] {
        let text = read(guide);
        for path in text.lines().flat_map(|line| line.split('`').skip(1).step_by(2)).filter(|word| is_path(word)) {
            let known: PathBuf =
                Path::new(path).iter().take_while(|part| !is_placeholder(&part.to_string_lossy())).collect();
            let there = folders.iter().any(|folder| root().join(folder).join(&known).exists());
            assert!(there || to_come.contains(&path), "{guide} names `{path}`, which is not there");
            checked += 1;
        }
    }
    assert!(checked >= 15, "only {checked} paths are seen");
}

#[test]
fn the_recipes_of_contributing_are_there_in_order() {
    let guide = read("CONTRIBUTING.md");
    let (_, recipes) = guide.split_once("## Recipes\n").unwrap();
    let (recipes, _) = recipes.split_once("\n## ").unwrap();
    let titles: Vec<&str> = recipes.lines().filter_map(|line| line.strip_prefix("### Add ")).collect();
    assert_eq!(titles, ["a disk format", "a provisioner", "an API call with its command", "a hypervisor"]);
    for recipe in recipes.split("### Add ").skip(1) {
        let title = recipe.lines().next().unwrap();
        let named = recipe.split('`').skip(1).step_by(2).filter(|word| is_path(word)).count();
        assert!(named >= 3, "`Add {title}` names {named} files to touch");
    }
}

fn is_path(word: &str) -> bool {
    let of_a_path = |c: char| c.is_ascii_alphanumeric() || "./_-".contains(c);
    word.contains('/') && word.chars().all(of_a_path) && !word.starts_with("./") && !word.starts_with('/')
}

fn is_placeholder(part: &str) -> bool {
    part.chars().next().is_some_and(char::is_uppercase) && !part.chars().any(char::is_lowercase)
        || part.starts_with("NAME")
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

/// Runs a line of a document in a shell that finds the programs under test first.
fn run(home: &Home, line: &str) -> Output {
    let programs = kiln_tests::program("kiln").parent().unwrap().display().to_string();
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap());
    let mut surroundings = home.command("kiln");
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).current_dir(home.work(""));
    shell.envs(surroundings.env("PATH", path).get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.output().unwrap()
}

/// Returns the lines of the first block of a language.
fn block(text: &str, language: &str) -> String {
    let fence = format!("```{language}\n");
    let (_, rest) = text.split_once(&fence).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_example_of_the_template_commands_is_what_they_print() {
    let home = Home::new();
    let text = read("docs/template-commands.md");
    home.write("web.pkr.hcl", &block(&text, "hcl"));
    let transcript = block(&text, "console");
    let mut printed = String::new();
    for line in transcript.lines().filter_map(|line| line.strip_prefix("$ ")) {
        let output = run(&home, &format!("{line} 2>&1"));
        printed.push_str(&format!("$ {line}\n{}", String::from_utf8(output.stdout).unwrap()));
    }
    assert_eq!(printed, transcript);
}

#[test]
fn the_commands_of_the_guide_to_conversions_work() {
    let home = Home::new();
    let disk = std::fs::File::create(home.work("disk.raw")).unwrap();
    disk.set_len(8 << 20).unwrap();
    let guide = read("docs/convert.md");
    let commands: Vec<&str> = guide.lines().filter_map(|line| line.strip_prefix("$ ")).collect();
    assert!(commands.len() >= 12, "{commands:?}");
    for line in commands {
        let output = run(&home, line);
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
