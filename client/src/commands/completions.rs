//! `kiln completions`: what a shell reads to complete commands and flags. Made from the same definition as the help.

use std::io::Write as _;

use clap::builder::PossibleValuesParser;
use clap::{Arg, Command, CommandFactory as _};
use clap_complete::{Shell, generate};

use super::{one_dash, words};
use crate::arguments::{Arguments, CompletedShell};
use crate::error::CommandError;
use crate::terminal;

/// Prints the script for a shell.
pub(super) fn completions(shell: CompletedShell) -> Result<(), CommandError> {
    Ok(terminal::data_stdout().write_all(&script(shell))?)
}

fn script(shell: CompletedShell) -> Vec<u8> {
    // clap keeps names as long as the process lives; one definition is leaked for them, and then the process is over.
    let all: &'static Command = Box::leak(Box::new(Arguments::command()));
    let names = all.get_subcommands().map(Command::get_name);
    // `kiln help` is read before clap.
    let help = Command::new("help")
        .about("Show what a command takes")
        .disable_help_subcommand(true)
        .arg(Arg::new("command").value_parser(PossibleValuesParser::new(names)));
    let shell = match shell {
        CompletedShell::Bash => Shell::Bash,
        CompletedShell::Zsh => Shell::Zsh,
        CompletedShell::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut shown(all).subcommand(help), "kiln", &mut script);
    one_dash::added(shell, &String::from_utf8_lossy(&script)).into_bytes()
}

/// Copies a command without what its help does not show: clap completes that, too.
fn shown(command: &'static Command) -> Command {
    let arguments = command.get_arguments().filter(|argument| !argument.is_hide_set()).cloned().map(with_words);
    let commands = command.get_subcommands().filter(|command| !command.is_hide_set()).map(shown);
    let copy = Command::new(command.get_name()).disable_version_flag(true).disable_help_subcommand(true);
    let copy = command.get_about().into_iter().fold(copy, |copy, about| copy.about(about.clone()));
    copy.args(arguments).subcommands(commands)
}

/// Adds the words that a flag takes, where only its parser or the daemon knows them: shells offer files otherwise.
fn with_words(argument: Arg) -> Arg {
    match words::of(&argument) {
        Some(words) => argument.value_parser(PossibleValuesParser::new(words)),
        None => argument,
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    /// Asks bash what it would complete the last word of a line to.
    fn completed(line: &[&str]) -> Vec<String> {
        let words = line.iter().map(|word| format!("'{word}'")).collect::<Vec<_>>().join(" ");
        let (last, before) = (line.len() - 1, line.len() - 2);
        let ask = format!(
            "\nCOMP_WORDS=({words}); COMP_CWORD={last}; complete -p kiln | grep -q -- '-F _kiln_with_one_dash ' || exit 9
             _kiln_with_one_dash kiln '{}' '{}'; printf '%s\\n' \"${{COMPREPLY[@]}}\"\n",
            line[last], line[before]
        );
        let mut text = String::from_utf8(script(CompletedShell::Bash)).unwrap();
        text.push_str(&ask);
        let output = Command::new("bash").args(["--norc", "-c", &text]).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }

    #[test]
    fn bash_takes_the_script() {
        let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        bash.stdin.take().unwrap().write_all(&script(CompletedShell::Bash)).unwrap();
        let output = bash.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }

    #[test]
    fn commands_and_flags_are_completed_and_hidden_ones_are_not() {
        let commands = completed(&["kiln", ""]);
        for name in ["build", "convert", "image", "hcl2_upgrade", "daemon", "completions", "help"] {
            assert!(commands.iter().any(|command| command == name), "{name}: {commands:?}");
        }
        let flags = completed(&["kiln", "build", "--"]);
        for flag in ["--var", "--var-file", "--on-error", "--force", "--detach", "--parallel-builds", "--help"] {
            assert!(flags.iter().any(|given| given == flag), "{flag}: {flags:?}");
        }
        assert!(!flags.iter().any(|flag| flag == "--skip-enforcement"), "{flags:?}");
        assert_eq!(completed(&["kiln", "build", "--forc"]), ["--force"]);
        assert_eq!(completed(&["kiln", "build", "-forc"]), ["-force"]);
        assert_eq!(completed(&["kiln", "build", "-on-e"]), ["-on-error"]);
        assert_eq!(completed(&["kiln", "logs", "-f"]), ["-follow", "-f"]);
        assert_eq!(completed(&["kiln", "build", "-nothing"]), [""]);
        let one: Vec<_> = flags.iter().filter(|flag| flag.len() > 3).map(|flag| flag[1..].to_owned()).collect();
        for flag in &one {
            assert!(completed(&["kiln", "build", flag]).contains(flag), "{flag}");
        }
        // What stands behind a flag with one dash is completed as behind one with two: names of files, from the working directory.
        assert_eq!(
            completed(&["kiln", "build", "-var-file", "Cargo.t"]),
            completed(&["kiln", "build", "--var-file", "Cargo.t"])
        );
        assert_eq!(completed(&["kiln", "image", "comp"]), ["compare"]);
        assert_eq!(completed(&["kiln", "daemon", "sta"]), ["status"]);
        assert_eq!(completed(&["kiln", "help", "conv"]), ["convert"]);
        assert_eq!(completed(&["kiln", "completions", "z"]), ["zsh"]);
    }

    #[test]
    fn words_are_completed_where_a_flag_takes_no_others() {
        for (line, words) in [
            (&["build", "--on-error", ""][..], &["cleanup", "abort", "ask", "run-cleanup-provisioner"][..]),
            (&["build", "-on-error", "a"], &["abort", "ask"]),
            (&["jobs", "--status", "can"], &["cancelling", "cancelled"]),
            (&["convert", "-O", "v"], &["vmdk", "vhdx", "vdi", "vhd", "vpc", "vmx"]),
            (&["convert", "--output-format", "ov"], &["ovf", "ova"]),
            (&["convert", "-f", "qc"], &["qcow2"]),
            (&["image", "info", "--format", "qc"], &["qcow2"]),
            (&["convert", "--firmware", ""], &["bios", "efi"]),
            (&["convert", "--bus", "i"], &["ide"]),
            (&["convert", "--digests", "con"], &["content"]),
        ] {
            assert_eq!(completed(&[&["kiln"], line].concat()), words, "{line:?}");
        }
    }

    /// There is a flag of every command in the scripts, and none that is hidden.
    #[test]
    fn every_shell_is_told_of_every_command() {
        for shell in [CompletedShell::Bash, CompletedShell::Zsh, CompletedShell::Fish] {
            let text = String::from_utf8(script(shell)).unwrap();
            let mut commands = vec![Arguments::command()];
            while let Some(command) = commands.pop() {
                assert!(text.contains(command.get_name()), "{shell:?}: {}", command.get_name());
                commands.extend(command.get_subcommands().cloned());
            }
            assert!(text.contains("parallel-builds") && !text.contains("skip-enforcement"), "{shell:?}");
        }
    }
}
