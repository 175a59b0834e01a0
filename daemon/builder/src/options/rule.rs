//! Owns [`Rule`]: what must hold between the options of a component, as data that both checking and the documentation read.

use std::path::Path;

use kiln_template::Generated;

use crate::plan_reader::PlanReader;

/// One rule of a component.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Rule {
    /// A text is one of these words, when it is set.
    OneOf(&'static str, &'static [&'static str]),
    /// A number lies between these, when it is set and not zero.
    Range(&'static str, u64, u64),
    /// At most one of these is set.
    Exclusive(&'static [&'static str]),
    /// At least one of these is set.
    Needed(&'static [&'static str]),
    /// The first can be set only together with the second.
    Requires(&'static str, &'static str),
    /// Elements have the form `KEY=VALUE`.
    Pairs(&'static str),
    /// Paths exist on this machine.
    Exists(&'static str),
    /// Paths name files of this machine.
    File(&'static str),
    /// Paths name directories of this machine.
    Directory(&'static str),
    /// Go templates, rendered while the build runs, use these fields.
    Fields(&'static str, &'static [&'static str]),
    /// Each element of a list is one of these words.
    EachOneOf(&'static str, &'static [&'static str]),
    /// A rule with a name of its own: what it says, and the function that holds it.
    Check(&'static str, fn(&mut PlanReader<'_>)),
}

impl Rule {
    /// Complains when the options break the rule.
    pub(crate) fn check(&self, reader: &mut PlanReader<'_>) {
        match *self {
            Self::OneOf(name, words) => reader.one_of(name, words),
            Self::Range(name, low, high) => reader.range(name, low..=high),
            Self::Exclusive(names) => {
                let set: Vec<&str> = names.iter().copied().filter(|name| is_given(reader, name)).collect();
                if let [.., last] = set[..]
                    && set.len() > 1
                {
                    let detail = format!("Only one of {} can be set; this sets {}.", list(names), list(&set));
                    reader.error(last, "Options that exclude each other", detail);
                }
            }
            Self::Needed(names) => {
                let wrong = |name: &&str| reader.options.is_unusable(name);
                if !names.iter().any(|name| is_given(reader, name)) && !names.iter().any(wrong) {
                    let (summary, detail) = match names {
                        [name] => (format!("Missing {name}"), format!("{name} must be set.")),
                        _ => (format!("Missing {}", names[0]), format!("One of {} must be set.", list(names))),
                    };
                    reader.error(names[0], summary, detail);
                }
            }
            Self::Requires(name, other) => {
                if is_given(reader, name) && !is_given(reader, other) && !reader.options.is_unusable(other) {
                    reader.error(name, format!("Missing {other}"), format!("{name} is of use only with {other}."));
                }
            }
            Self::Pairs(name) => {
                for (index, pair) in reader.texts(name).into_iter().enumerate() {
                    if pair.split_once('=').is_none_or(|(key, _)| key.is_empty()) {
                        let detail = format!("Environment variable not in format 'key=value': {pair}");
                        reader.error_in(name, index, "Invalid variable", detail);
                    }
                }
            }
            Self::Exists(name) => check_paths(reader, name, |_| None),
            Self::File(name) => check_paths(reader, name, |path| path.is_dir().then_some("a directory, not a file")),
            Self::Directory(name) => {
                check_paths(reader, name, |path| (!path.is_dir()).then_some("a file, not a directory"));
            }
            Self::Fields(name, fields) => {
                let texts: Vec<String> = reader.text(name).into_iter().chain(reader.texts(name)).collect();
                let lists = reader.options.string_lists(name).iter().flatten().cloned();
                let texts: Vec<String> = texts.into_iter().chain(lists).collect();
                reader.check_late(name, texts.iter().map(String::as_str), fields);
            }
            Self::EachOneOf(name, words) => {
                for (index, word) in reader.texts(name).into_iter().enumerate() {
                    if word != Generated::UNKNOWN && !words.contains(&word.as_str()) {
                        let detail = format!("{name} holds {word:?}, but each must be one of {}.", words.join(", "));
                        reader.error_in(name, index, "Unsupported value", detail);
                    }
                }
            }
            Self::Check(_, check) => check(reader),
        }
    }

    /// Says the rule in words.
    pub(crate) fn words(&self) -> String {
        match *self {
            Self::OneOf(name, words) => format!("`{name}` is one of {}.", code_list(words)),
            Self::Range(name, low, high) => format!("`{name}` is between {low} and {high}."),
            Self::Exclusive(names) => format!("At most one of {} is set.", code_list(names)),
            Self::Needed([name]) => format!("`{name}` is required."),
            Self::Needed(names) => format!("At least one of {} is set.", code_list(names)),
            Self::Requires(name, other) => format!("`{name}` needs `{other}`."),
            Self::Pairs(name) => format!("Each element of `{name}` has the form `KEY=VALUE`."),
            Self::Exists(name) => format!("What `{name}` names exists on this machine."),
            Self::File(name) => format!("What `{name}` names is a file of this machine."),
            Self::Directory(name) => format!("What `{name}` names is a directory of this machine."),
            Self::Fields(name, []) => format!("`{name}` is rendered while the build runs, with the build's values."),
            Self::Fields(name, fields) => {
                let fields: Vec<String> = fields.iter().map(|field| format!("`{{{{ .{field} }}}}`")).collect();
                format!("`{name}` is rendered while the build runs, with {} and the build's values.", fields.join(", "))
            }
            Self::EachOneOf(name, words) => format!("Each element of `{name}` is one of {}.", code_list(words)),
            Self::Check(words, _) => words.to_owned(),
        }
    }
}

/// Complains about the paths of an option that do not exist, or are the other kind of thing that `other` says they are. What is known only
/// while the build runs is left to that.
fn check_paths(reader: &mut PlanReader<'_>, name: &str, other: impl Fn(&Path) -> Option<&'static str>) {
    for (index, text) in reader.text(name).into_iter().chain(reader.texts(name)).enumerate() {
        if text.is_empty() || text.contains(Generated::UNKNOWN) || text.contains("{{") {
            continue;
        }
        let path = Path::new(&text);
        if !path.exists() {
            let detail = format!("{name} is {text:?}: there is no such file or directory.");
            reader.error_in(name, index, "No such file", detail);
        } else if let Some(other) = other(path) {
            reader.error_in(name, index, "Wrong kind of file", format!("{name} is {text:?}, which is {other}."));
        }
    }
}

/// Whether an option is set to something: not to false, zero, or an empty text or list.
fn is_given(reader: &PlanReader<'_>, name: &str) -> bool {
    let options = reader.options;
    options.is_set(name)
        && options.bool(name) != Some(false)
        && options.integer(name) != Some(0)
        && (options.string(name).is_some_and(|text| !text.is_empty())
            || options.bool(name).is_some()
            || options.integer(name).is_some()
            || !options.strings(name).is_empty()
            || !options.integers(name).is_empty()
            || !options.map(name).is_empty()
            || !options.string_lists(name).is_empty()
            || options.block(name).is_some())
}

fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn code_list(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    quoted.join(", ")
}
