//! Says what there is instead, when VirtualBox refuses a name.

use super::problem::{Failure, Problem};
use super::program::VBoxManage;
use crate::error::StartError;

/// The error of a call that failed, with the list of what exists where that is known.
pub(super) async fn explain(program: &VBoxManage, failure: Failure) -> StartError {
    let (lists, what): (&[&str], &str) = match failure.problem {
        Problem::OsType => (&["ostypes"], "there are"),
        Problem::Network => (&["bridgedifs", "hostonlyifs"], "networks of the host are"),
        Problem::ExtensionPack => (&["extpacks"], "installed are"),
        _ => return failure.into(),
    };
    let mut names = Vec::new();
    for list in lists {
        match program.run(&["list", list]).await {
            Ok(text) => names.extend(names_in(&text)),
            Err(error) => tracing::debug!(%error, "cannot tell what there is"),
        }
    }
    let list = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    let words = format!("{}; {what}: {list}", failure.words.trim_end_matches('.'));
    Failure { words, ..failure }.into()
}

/// The names of a list of blocks: `ID: …` or `ID / Description: … -- …` of guest systems, `Name: …` of networks, `Pack no. 0: …` of extension packs.
pub(super) fn names_in(text: &str) -> Vec<String> {
    let name = |line: &str| {
        let (key, value) = line.split_once(':')?;
        let known = matches!(key.trim(), "ID" | "ID / Description" | "Name") || key.starts_with("Pack no.");
        // A system's name and its description, since 7.1.
        let value = value.split(" -- ").next().unwrap_or_default().trim();
        (known && !value.is_empty()).then(|| value.to_owned())
    };
    text.lines().filter_map(name).collect()
}

/// The guests' systems that `list ostypes` tells of: each one's name and its description.
pub(super) fn systems(text: &str) -> Vec<(String, String)> {
    let mut systems: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        match key.trim() {
            "ID" => systems.push((value.trim().to_owned(), String::new())),
            // Both in one line, since 7.1.
            "ID / Description" => {
                let (id, words) = value.split_once(" -- ").unwrap_or((value, ""));
                systems.push((id.trim().to_owned(), words.trim().to_owned()));
            }
            "Description" => {
                if let Some(last) = systems.last_mut() {
                    value.trim().clone_into(&mut last.1);
                }
            }
            _ => {}
        }
    }
    systems
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_lists() {
        let systems = "ID:          Other\nDescription: Other/Unknown\nFamily ID:   Other\n\nID:          Debian_64\n";
        assert_eq!(names_in(systems), ["Other", "Debian_64"]);
        let since = "ID / Description: Other_64 -- Other/Unknown (64-bit)\nFamily:           Other (Other)\n";
        assert_eq!(names_in(since), ["Other_64"]);
        let both = |id: &str, words: &str| (id.to_owned(), words.to_owned());
        let of_old = [both("Other", "Other/Unknown"), both("Debian_64", "")];
        assert_eq!(super::systems(systems), of_old);
        assert_eq!(super::systems(since), [both("Other_64", "Other/Unknown (64-bit)")]);
        assert_eq!(names_in("Extension Packs: 1\nPack no. 0:   Oracle VirtualBox Extension Pack\n").len(), 1);
        assert_eq!(names_in("Name:            eth0\nGUID: 1\n"), ["eth0"]);
    }
}
