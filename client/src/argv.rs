//! Turns Packer's forms of flags into those that clap reads. Pure: words in, words out.
//!
//! Packer's flags are Go's: `-var x`, `--var x`, `-var=x`, with one or two dashes, and booleans take a value only behind `=`.
//! `-machine-readable` and `-no-ask-password` count wherever they stand, and `-version` in any place means the command `version`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};

/// Flags whose value may be the next word.
const FLAGS_WITH_VALUE: &[&str] = &[
    "var",
    "var-file",
    "only",
    "except",
    "on-error",
    "parallel-builds",
    "config-type",
    "output",
    "output-file",
    "path",
    "build",
    "limit",
    "status",
    "since",
    "o",
    "signing-mode",
    "key",
    "verifier",
    "predicate-type",
    "builder-id",
    "source-uri",
    "artifact",
    "trusted-root-path",
    "keyless-identity",
    "keyless-oidc-issuer",
    "bundle",
];

/// A command line that clap can read.
#[derive(Debug, PartialEq, Eq)]
pub struct Normalised {
    /// Program name and arguments.
    pub words: Vec<OsString>,
    /// Whether `-machine-readable` was among them.
    pub machine_readable: bool,
    /// Whether `-no-ask-password` was.
    pub no_ask_password: bool,
}

/// Rewrites a command line, program name included.
#[must_use]
pub fn normalise(words: impl IntoIterator<Item = OsString>) -> Normalised {
    let mut words = words.into_iter();
    let mut normalised = vec![words.next().unwrap_or_else(|| "kiln".into())];
    let mut rest: Vec<OsString> = words.collect();
    let machine_readable = remove(&mut rest, "machine-readable");
    let no_ask_password = remove(&mut rest, "no-ask-password");
    let mut rest = rest.into_iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            normalised.push(word);
            break;
        }
        let Some(flag) = flag(&word) else {
            normalised.push(word);
            continue;
        };
        if matches!(flag, b"v" | b"version") {
            normalised.truncate(1);
            normalised.push("version".into());
            return Normalised { words: normalised, machine_readable, no_ask_password };
        }
        let takes_next = FLAGS_WITH_VALUE.iter().any(|name| name.as_bytes() == flag);
        // One letter is a short flag in clap, and `-f` means something else than `--f`.
        let dashes: &[u8] = if flag.len() == 1 { b"-" } else { b"--" };
        let mut word = [dashes, flag].concat();
        if takes_next && let Some(value) = rest.next() {
            // Joined, so that a value may begin with a dash.
            word.push(b'=');
            word.extend_from_slice(value.as_bytes());
        }
        normalised.push(OsString::from_vec(word));
    }
    normalised.extend(rest);
    Normalised { words: normalised, machine_readable, no_ask_password }
}

/// Removes the first flag of this name; says whether there was one.
fn remove(words: &mut Vec<OsString>, name: &str) -> bool {
    let found = words.iter().position(|word| flag(word) == Some(name.as_bytes()));
    found.map(|index| words.remove(index)).is_some()
}

/// Returns a flag without its dashes; nothing for other words.
fn flag(word: &OsStr) -> Option<&[u8]> {
    let word = word.as_bytes();
    word.strip_prefix(b"--").or_else(|| word.strip_prefix(b"-")).filter(|flag| !flag.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        let normalised = normalise(std::iter::once("kiln").chain(line.split(' ')).map(OsString::from));
        normalised.words.into_iter().skip(1).map(|word| word.into_string().unwrap()).collect()
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        let line = "build -force -color=false --timestamp-ui -only=a,b -on-error=abort -parallel-builds=2 x.pkr.hcl";
        let expected = [
            "build",
            "--force",
            "--color=false",
            "--timestamp-ui",
            "--only=a,b",
            "--on-error=abort",
            "--parallel-builds=2",
            "x.pkr.hcl",
        ];
        assert_eq!(words(line), expected);
    }

    #[test]
    fn values_in_the_next_word_are_taken_as_they_are() {
        assert_eq!(words("build -var a=-b -var -x=1 t"), ["build", "--var=a=-b", "--var=-x=1", "t"]);
        assert_eq!(words("build -var-file -odd- t"), ["build", "--var-file=-odd-", "t"]);
        assert_eq!(words("build --var a=1 -var=b=2 t"), ["build", "--var=a=1", "--var=b=2", "t"]);
        assert_eq!(words("build -var"), ["build", "--var"], "clap says that the value is missing");
        assert_eq!(words("build -parallel-builds -1 t"), ["build", "--parallel-builds=-1", "t"]);
    }

    #[test]
    fn machine_readable_counts_anywhere_and_once() {
        for line in ["-machine-readable build t", "build -machine-readable t", "build t -machine-readable"] {
            let normalised = normalise(std::iter::once("kiln").chain(line.split(' ')).map(OsString::from));
            assert!(normalised.machine_readable, "{line}");
            assert_eq!(normalised.words, ["kiln", "build", "t"], "{line}");
        }
        assert!(!normalise(["kiln", "build", "t"].map(OsString::from)).machine_readable);
        let normalised = normalise(["kiln", "cancel", "--no-ask-password", "a"].map(OsString::from));
        assert!(normalised.no_ask_password && !normalised.machine_readable);
        assert_eq!(normalised.words, ["kiln", "cancel", "a"]);
    }

    #[test]
    fn version_in_any_place_is_the_command() {
        for line in ["-v", "-version", "--version", "build -force -version t"] {
            assert_eq!(words(line), ["version"], "{line}");
        }
        assert_eq!(words("build -var -v t"), ["build", "--var=-v", "t"], "not when it is a value");
    }

    #[test]
    fn short_flags_dashes_and_what_follows_two_dashes_stay() {
        assert_eq!(words("logs -f abc"), ["logs", "-f", "abc"]);
        assert_eq!(words("screen abc -o a.png"), ["screen", "abc", "-o=a.png"]);
        assert_eq!(words("build -"), ["build", "-"]);
        assert_eq!(words("build -- -force"), ["build", "--", "-force"]);
    }

    #[test]
    fn words_that_are_not_unicode_pass() {
        let odd = OsString::from_vec(b"\xff.pkr.hcl".to_vec());
        let normalised = normalise(["kiln".into(), "build".into(), odd.clone()]);
        assert_eq!(normalised.words[2], odd);
    }
}
