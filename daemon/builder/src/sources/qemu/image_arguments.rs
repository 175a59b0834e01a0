//! What a template tells `qemu-img`: which of it is heeded, which does nothing, and which is refused.
//!
//! Kiln writes images itself, so the program is only run where an argument makes another image than Kiln's. What would have it read
//! or write other files than the build's is refused: Packer passes it on.

use crate::option_values::OptionValues;

/// What an argument of `qemu-img` does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    /// Nothing that is seen in the image.
    None,
    /// It makes another image.
    Image,
    /// The format's own options, which name other files, too.
    Options,
}

/// An argument: its name, whether a value follows, and its effect.
type Known = (&'static str, bool, Effect);

/// The commands, each with the arguments that it may have.
const COMMANDS: [(&str, &[Known]); 3] = [
    (
        "create",
        // Kiln writes the format of a backing file down by itself.
        &[
            ("-F", true, Effect::None),
            ("-q", false, Effect::None),
            ("-u", false, Effect::Image),
            ("-o", true, Effect::Options),
        ],
    ),
    (
        "convert",
        &[
            ("-m", true, Effect::None),
            ("-p", false, Effect::None),
            ("-q", false, Effect::None),
            ("-r", true, Effect::None),
            ("-t", true, Effect::None),
            ("-T", true, Effect::None),
            ("-W", false, Effect::None),
            ("-C", false, Effect::Image),
            ("-S", true, Effect::Image),
            ("-c", false, Effect::Image),
            ("-o", true, Effect::Options),
            ("--salvage", false, Effect::Image),
        ],
    ),
    (
        "resize",
        &[("-q", false, Effect::None), ("--shrink", false, Effect::Image), ("--preallocation", true, Effect::Image)],
    ),
];

/// Options of formats that put the guest's disk, or a part of it, elsewhere; or that need a secret to read it again.
const ELSEWHERE: [&str; 6] = ["backing_file", "backing_fmt", "data_file", "data_file_raw", "encryption", "encrypt."];

/// What one command is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    /// Nothing, or nothing that is seen in the image.
    Nothing,
    /// What makes another image.
    Image(Vec<String>),
    /// What it is not to be told, and why.
    Refused(String),
}

/// The commands that templates have arguments for.
pub(crate) fn commands() -> impl Iterator<Item = &'static str> {
    COMMANDS.iter().map(|(command, _)| *command)
}

/// Looks at the arguments of `command`.
pub(crate) fn told(options: OptionValues<'_>, command: &str) -> Told {
    let words = options.block("qemu_img_args").map(|block| block.strings(command).to_vec()).unwrap_or_default();
    judge(command, words)
}

fn judge(command: &str, words: Vec<String>) -> Told {
    let known = COMMANDS.iter().find(|(name, _)| *name == command).map_or(&[][..], |(_, known)| known);
    let mut acts = false;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let Some((name, has_value, effect)) = known.iter().find(|(name, has_value, _)| is_it(word, name, *has_value))
        else {
            let names: Vec<&str> = known.iter().map(|(name, ..)| *name).collect();
            return Told::Refused(format!("{command} takes {} here, not {word}", names.join(", ")));
        };
        let own =
            word[name.len()..].strip_prefix('=').filter(|_| name.starts_with("--")).unwrap_or(&word[name.len()..]);
        let value = match has_value {
            true if own.is_empty() => match rest.next() {
                Some(value) => value,
                None => return Told::Refused(format!("{command} has nothing behind {name}")),
            },
            _ => own,
        };
        if *effect == Effect::Options
            && let Some(key) = elsewhere(value)
        {
            return Told::Refused(format!("{command}: {key} would put the guest's disk elsewhere than into the image"));
        }
        acts |= *effect != Effect::None;
    }
    if acts { Told::Image(words) } else { Told::Nothing }
}

/// Whether `word` is the argument `name`, with its value in it where it has one (`-m4`, `--preallocation=off`).
fn is_it(word: &str, name: &str, has_value: bool) -> bool {
    match word.strip_prefix(name) {
        Some("") => true,
        Some(value) => has_value && (!name.starts_with("--") || value.starts_with('=')),
        None => false,
    }
}

/// The key in a format's options that names another file, if there is one.
fn elsewhere(options: &str) -> Option<&str> {
    let keys = options.split(',').map(|option| option.split('=').next().unwrap_or_default());
    keys.into_iter()
        .find(|key| ELSEWHERE.iter().any(|other| *key == *other || other.ends_with('.') && key.starts_with(other)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(command: &str, words: &str) -> Told {
        judge(command, words.split_whitespace().map(ToOwned::to_owned).collect())
    }

    #[test]
    fn only_what_makes_another_image_is_passed_on() {
        for (command, words) in
            [("create", "-F qcow2 -q"), ("convert", "-m 4 -m4 -W -t none"), ("resize", "-q"), ("convert", "")]
        {
            assert_eq!(judged(command, words), Told::Nothing, "{command} {words}");
        }
        for (command, words) in [
            ("create", "-q -o preallocation=off,cluster_size=1M"),
            ("create", "-ocluster_size=1M"),
            ("convert", "-m 4 -c"),
            ("convert", "-S 64k"),
            ("resize", "--shrink"),
            ("resize", "--preallocation=falloc"),
            ("resize", "--preallocation falloc -q"),
        ] {
            let words_given: Vec<String> = words.split_whitespace().map(ToOwned::to_owned).collect();
            assert_eq!(judged(command, words), Told::Image(words_given), "{command} {words}: all of it is");
        }
    }

    #[test]
    fn what_would_read_or_write_elsewhere_is_refused_by_name() {
        for (command, words, told) in [
            ("create", "-b /etc/shadow", "not -b"),
            ("create", "-o size=1G,backing_file=/etc/shadow", "backing_file would put"),
            ("create", "-o data_file=/home/x", "data_file would put"),
            ("create", "-o encrypt.format=luks", "encrypt.format would put"),
            ("create", "--object secret,id=x,file=/y", "not --object"),
            ("create", "/other/place 1G", "not /other/place"),
            ("create", "-f raw", "not -f"),
            ("create", "-o", "has nothing behind -o"),
            ("create", "-quiet", "not -quiet"),
            ("convert", "-n", "not -n"),
            ("convert", "-O raw", "not -O"),
            ("convert", "-B base", "not -B"),
            ("convert", "-co data_file=x", "not -co"),
            ("convert", "--target-image-opts", "not --target-image-opts"),
            ("resize", "--shrinkwrap", "not --shrinkwrap"),
            ("resize", "+1G", "not +1G"),
        ] {
            let Told::Refused(why) = judged(command, words) else { panic!("{command} {words}") };
            assert!(why.contains(told), "{command} {words}: {why}");
        }
    }
}
