//! The words that flags take, where clap does not know them: for shells to complete.

use clap::Arg;
use kiln_protocol::JobState;

use crate::arguments::{FORMAT_NAMES, ON_ERROR};

/// Returns the words of a flag; nothing when it takes others, too, or when clap knows them.
pub(super) fn of(flag: &Arg) -> Option<Vec<&'static str>> {
    match flag.get_id().as_str() {
        "on_error" => Some(ON_ERROR.to_vec()),
        "status" => Some(JobState::ALL.map(JobState::as_str).to_vec()),
        "format" | "output_format" => Some(FORMAT_NAMES.lines().collect()),
        "firmware" => Some(vec!["bios", "efi"]),
        "bus" => Some(vec!["ide", "sata", "scsi", "sas", "buslogic", "pvscsi", "nvme"]),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;
    use crate::arguments::Arguments;

    #[test]
    fn the_words_are_those_of_the_help() {
        let (mut commands, mut seen) = (vec![Arguments::command()], Vec::new());
        while let Some(command) = commands.pop() {
            for flag in command.get_arguments() {
                let Some(words) = of(flag) else { continue };
                let (name, help) = (flag.get_id().to_string(), flag.get_help().unwrap().to_string());
                // The names of formats are in a table below the help.
                if !name.ends_with("format") {
                    let missing: Vec<_> = words.iter().filter(|word| !help.contains(**word)).collect();
                    assert!(missing.is_empty(), "{name}: {missing:?} of {help}");
                }
                seen.push(name);
            }
            commands.extend(command.get_subcommands().cloned());
        }
        for name in ["on_error", "status", "format", "output_format", "firmware", "bus"] {
            assert!(seen.iter().any(|flag| flag == name), "there is no flag {name}");
        }
    }
}
