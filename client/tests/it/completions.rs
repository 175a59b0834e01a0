//! Completions as the shells themselves carry them out.

use std::path::Path;
use std::process::Command;

use crate::rig::skip;

/// What has been typed in front of the tab, and what is there after it.
const LINES: [(&str, &str); 8] = [
    ("kiln build -forc", "kiln build -force"),
    ("kiln build --forc", "kiln build --force"),
    ("kiln build -on-e", "kiln build -on-error"),
    ("kiln convert -dige", "kiln convert -digests"),
    ("kiln convert --digests conte", "kiln convert --digests content"),
    ("kiln convert -digests conte", "kiln convert -digests content"),
    ("kiln build -json -var-file un", "kiln build -json -var-file under.hcl"),
    ("kiln image comp", "kiln image compare"),
];

/// Types each line into a shell with zsh's completion, and prints what becomes of it.
const ZSH: &str = r#"
zmodload zsh/zpty
zpty shell zsh -f -i
zpty -w shell "PS1=; fpath=($PWD \$fpath); autoload -Uz compinit; compinit -u -D"
zpty -w shell 'show() { zle -I; print -r -- "<$BUFFER>"; BUFFER= }; zle -N show; bindkey "^X" show'
zpty -w shell 'print -r -- "<ready"">"'
zpty -r shell text '*<ready>*'
for line; do
    zpty -w -n shell "$line"$'\t\x18'
    zpty -r shell text '*<kiln *>*'
    text=${text##*<} && print -r -- "${text%%>*}"
done
"#;

/// Makes a directory with a script of this name and a file to complete; nothing when the shell is missing, which is then said.
fn directory(shell: &str, name: &str) -> Option<tempfile::TempDir> {
    if Command::new(shell).arg("--version").output().is_err() {
        skip(shell);
        return None;
    }
    let scratch = tempfile::tempdir().unwrap();
    let script = Command::new(env!("CARGO_BIN_EXE_kiln")).args(["completions", shell]).output().unwrap();
    assert!(script.status.success(), "{script:?}");
    std::fs::write(scratch.path().join(name), script.stdout).unwrap();
    std::fs::write(scratch.path().join("under.hcl"), "").unwrap();
    Some(scratch)
}

/// Runs the shell, for so long as it would never take.
fn ask(shell: &str, directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("timeout");
    command.args(["60", shell]).args(arguments).current_dir(directory).env("HOME", directory).env("TERM", "dumb");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn zsh_completes_flags_with_one_dash_and_with_two() {
    let Some(directory) = directory("zsh", "_kiln") else { return };
    let mut arguments = vec!["-f", "-c", ZSH, "zsh"];
    arguments.extend(LINES.map(|(typed, _)| typed));
    let completed = ask("zsh", directory.path(), &arguments);
    let completed: Vec<_> = completed.lines().map(|line| line.trim_end_matches(['=', ' '])).collect();
    assert_eq!(completed, LINES.map(|(_, expected)| expected));
}

#[test]
fn fish_completes_flags_with_one_dash_and_with_two() {
    let Some(directory) = directory("fish", "kiln.fish") else { return };
    for (typed, expected) in LINES {
        let question = format!("source kiln.fish; complete -C '{typed}'");
        let completed = ask("fish", directory.path(), &["--no-config", "-c", &question]);
        let words: Vec<_> = completed.lines().map(|line| line.split('\t').next().unwrap_or_default()).collect();
        assert_eq!(words, [expected.rsplit(' ').next().unwrap()], "{typed}");
    }
}
