//! What went wrong, in the words of the command line: errors of the library with hints that name flags.

use kiln_disk_formats::{Error, ErrorKind, FORMATS, OptionError};
use kiln_protocol::EventBody;
use kiln_template::did_you_mean;

use super::reporter::{EXIT_FAILURE, Reporter};

/// One thing that went wrong.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Failure {
    pub(super) text: String,
    pub(super) hint: Option<String>,
}

/// All that went wrong; never empty, unless the job was cancelled.
#[derive(Debug)]
pub(super) struct Failures {
    pub(super) list: Vec<Failure>,
    pub(super) exit_code: u8,
    pub(super) cancelled: bool,
}

impl Failure {
    pub(super) fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), hint: None }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A word that is not known, with the nearest that is, else with all of them.
    pub(super) fn unknown(what: &str, given: &str, known: &[&str]) -> Self {
        Self::new(format!("{what} {given:?} is not known")).hint(nearest(given, known))
    }
}

impl Failures {
    /// Nothing, or all of these.
    pub(super) fn check(list: Vec<Failure>) -> Result<(), Self> {
        if list.is_empty() { Ok(()) } else { Err(Self { list, exit_code: EXIT_FAILURE, cancelled: false }) }
    }

    /// The first, for lists of jobs.
    pub(super) fn summary(&self) -> String {
        self.list.first().map_or_else(|| "cancelled".to_owned(), |failure| failure.text.clone())
    }

    pub(super) fn report(self, reporter: &Reporter) {
        for Failure { text, hint } in self.list {
            reporter.emit(EventBody::Failure { text, hint });
        }
    }

    /// The same with another exit code.
    pub(super) fn exit(mut self, exit_code: u8) -> Self {
        self.exit_code = exit_code;
        self
    }
}

impl From<Failure> for Failures {
    fn from(failure: Failure) -> Self {
        Self { list: vec![failure], exit_code: EXIT_FAILURE, cancelled: false }
    }
}

impl From<OptionError> for Failure {
    fn from(error: OptionError) -> Self {
        let nearest = |(given, known): (String, Vec<String>)| {
            let known: Vec<&str> = known.iter().map(String::as_str).collect();
            nearest(&given, &known)
        };
        let hint = error.hint.or_else(|| error.unknown.map(nearest));
        Self { text: error.text, hint: hint.or_else(|| Some("`kiln convert --help` lists the options".to_owned())) }
    }
}

/// The nearest of the words that are known, else all of them.
fn nearest(given: &str, known: &[&str]) -> String {
    did_you_mean(given, known.iter().copied()).unwrap_or_else(|| format!("known: {}", known.join(", ")))
}

impl From<Error> for Failures {
    fn from(error: Error) -> Self {
        if error.kind() == ErrorKind::Cancelled {
            return Self { list: Vec::new(), exit_code: EXIT_FAILURE, cancelled: true };
        }
        Failure::from(error).into()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let mut text = error.to_string();
        // The other kinds say in the message what the system said.
        if error.kind() == ErrorKind::Io
            && let Some(source) = std::error::Error::source(&error)
        {
            text = format!("{text}: {source}");
        }
        let hint = match error.kind() {
            ErrorKind::AlreadyExists if error.hint().is_none_or(|hint| hint.ends_with("allow overwriting")) => {
                Some("choose another name, or replace it with `--force`".to_owned())
            }
            ErrorKind::Refused if error.hint().is_some_and(|hint| hint.starts_with("allow backing")) => {
                let hint =
                    "if you trust where this image comes from, `--allow-backing DIR` lets it use files below DIR";
                Some(hint.to_owned())
            }
            ErrorKind::SeveralDisks => {
                Some(format!("`FILE.ova:NAME` chooses one; an {} as output takes all of them", packages()))
            }
            ErrorKind::UnknownFormat => Some("`-f FORMAT` names it (a raw disk has no signature)".to_owned()),
            ErrorKind::NotFound => error.hint().map(str::to_owned).or_else(|| missing_hint(&error)),
            _ => error.hint().map(str::to_owned),
        };
        Self { text, hint }
    }
}

/// The names of the formats that hold a machine with its disks.
pub(super) fn packages() -> String {
    let names: Vec<&str> = FORMATS.iter().filter(|row| row.is_package).map(|row| row.name()).collect();
    match &names[..] {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        names => names.concat(),
    }
}

/// A destination is missing when its directory is.
fn missing_hint(error: &Error) -> Option<String> {
    let directory = error.path()?.parent().filter(|parent| !parent.as_os_str().is_empty())?;
    (!directory.exists()).then(|| format!("there is no directory {}; `mkdir -p` makes it", directory.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_named_as_in_a_sentence() {
        assert_eq!(packages(), "ovf, ova or vmx");
    }

    #[test]
    fn an_unknown_word_comes_with_the_nearest_or_all() {
        let failure = Failure::unknown("the format", "vmkd", &["vmdk", "raw"]);
        assert_eq!(failure.hint.as_deref(), Some("did you mean \"vmdk\"?"));
        let failure = Failure::unknown("the format", "parchment", &["vmdk", "raw"]);
        assert_eq!(failure.hint.as_deref(), Some("known: vmdk, raw"));
    }
}
