//! What of the host a machine would use, and which commands of VBoxManage say it anew, so that it is the template's and no longer the package's.

use std::fmt;

/// Something of the importing host that a machine of a package would use.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct HostReach {
    /// What it is, in words.
    pub what: String,
    /// Whether the guest, or its maker, gets at files, devices or programs of the host; else it is only seen, heard or reached.
    pub takes: bool,
    /// The commands of VBoxManage that say the same setting anew, any of them.
    pub(super) said_by: Vec<Saying>,
}

impl HostReach {
    /// Whether one of these commands of VBoxManage says the setting anew, so that it is no longer the package's.
    #[must_use]
    pub fn is_said(&self, commands: &[Vec<String>]) -> bool {
        self.said_by.iter().any(|saying| saying.is_in(commands))
    }

    /// A command of VBoxManage that says it anew, without the machine's name; `None`: there is none.
    #[must_use]
    pub fn command(&self) -> Option<String> {
        self.said_by.first().map(ToString::to_string)
    }
}

/// What a command has to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Saying {
    /// `modifyvm` with an option.
    Option {
        /// Its names in VirtualBox's versions, separated by blanks, without dashes, which they spell differently.
        names: String,
        values: Values,
        /// The package has it off: it stays so unless a command switches it on.
        or_never: bool,
    },
    /// A shared folder is taken out.
    NoFolder(String),
    /// A key of the machine's extra data.
    ExtraData(String),
    /// A filter for USB devices is taken out; they are counted from 0.
    NoUsbFilter(u32),
    /// The saved state is thrown away.
    NoSavedState,
}

/// The values that an option has to have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Values {
    Any,
    /// Whenever it is said.
    Only(&'static [&'static str]),
    /// Whenever it is said, none of these.
    Not(&'static [&'static str]),
    /// These words, at least once.
    Words(Vec<String>),
    /// A beginning of one, at least once.
    Begin(String),
}

/// The words for off.
pub(super) const OFF: &[&str] = &["off", "no", "false", "0", "disable", "disabled"];

impl Saying {
    pub(super) fn option(names: impl Into<String>, values: Values) -> Self {
        Self::Option { names: names.into(), values, or_never: false }
    }

    /// An option that is off in the package, and has to stay off.
    pub(super) fn stays(names: impl Into<String>, values: Values) -> Self {
        Self::Option { names: names.into(), values, or_never: true }
    }

    pub(super) fn is_in(&self, commands: &[Vec<String>]) -> bool {
        let of = |verb: &'static str| {
            commands.iter().filter(move |command| command.first().is_some_and(|first| first == verb))
        };
        match self {
            Self::Option { names, values, or_never } => {
                let mut said = of("modifyvm").flat_map(|command| values_of(command, names)).peekable();
                match (said.peek().is_some(), values) {
                    (false, _) => *or_never,
                    (_, Values::Any) => true,
                    (_, Values::Only(known)) => said.all(|value| value.first().is_some_and(|one| is_any(one, known))),
                    (_, Values::Not(known)) => said.all(|value| value.first().is_some_and(|one| !is_any(one, known))),
                    (_, Values::Words(words)) => said.any(|value| value.starts_with(&as_words(words))),
                    (_, Values::Begin(begin)) => {
                        said.any(|value| value.first().is_some_and(|one| one.starts_with(begin.as_str())))
                    }
                }
            }
            Self::NoFolder(folder) => of("sharedfolder").any(|command| {
                let named = || values_of(command, "name").any(|value| value.first() == Some(&folder.as_str()));
                word(command, 1) == Some("remove") && !command.iter().any(|word| word == "--transient") && named()
            }),
            Self::ExtraData(key) => of("setextradata").any(|command| word(command, 2) == Some(key.as_str())),
            Self::NoUsbFilter(index) => {
                // Each command moves those behind.
                let mut place = *index;
                for command in of("usbfilter") {
                    let at = word(command, 2).and_then(|at| at.parse::<u32>().ok());
                    match (word(command, 1), at) {
                        (Some("remove"), Some(at)) if at == place => return true,
                        (Some("remove"), Some(at)) if at < place => place -= 1,
                        (Some("add"), Some(at)) if at <= place => place = place.saturating_add(1),
                        _ => {}
                    }
                }
                false
            }
            Self::NoSavedState => of("discardstate").next().is_some(),
        }
    }
}

impl fmt::Display for Saying {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Option { names, values, .. } => {
                let value = match values {
                    Values::Any | Values::Not(_) => "VALUE".to_owned(),
                    Values::Only(known) => known.first().copied().unwrap_or_default().to_owned(),
                    Values::Words(words) => words.join(" "),
                    Values::Begin(begin) => format!("{begin}VALUE"),
                };
                write!(f, "modifyvm --{} {value}", names.split(' ').next().unwrap_or_default())
            }
            Self::NoFolder(name) => write!(f, "sharedfolder remove --name {name}"),
            Self::ExtraData(key) => write!(f, "setextradata {key}"),
            Self::NoUsbFilter(index) => write!(f, "usbfilter remove {index}"),
            Self::NoSavedState => f.write_str("discardstate"),
        }
    }
}

fn word(command: &[String], index: usize) -> Option<&str> {
    command.get(index).map(String::as_str)
}

fn as_words(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn is_any(value: &str, known: &[&str]) -> bool {
    known.iter().any(|one| one.eq_ignore_ascii_case(value))
}

/// What stands behind an option of these names, each time that it is said; `--name=VALUE` is one word.
fn values_of<'a>(command: &'a [String], names: &'a str) -> impl Iterator<Item = Vec<&'a str>> {
    let is_named = |word: &str| {
        let spelt = word.replace('-', "").to_ascii_lowercase();
        names.split(' ').any(|name| name == spelt)
    };
    command.iter().enumerate().filter_map(move |(index, word)| {
        if !word.starts_with("--") {
            return None;
        }
        let (name, value) = word.split_once('=').map_or((word.as_str(), None), |(name, value)| (name, Some(value)));
        let rest = command[index + 1..].iter().map(String::as_str);
        is_named(name).then(|| value.into_iter().chain(rest).collect())
    })
}
