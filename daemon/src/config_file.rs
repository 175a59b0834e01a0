//! `kiln.toml`: what the daemon's owner has decided for good. Every key may be left out; none may be misspelt.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kiln_template::{nearest, parse_go_duration};
use rustix::fs::OFlags;
use serde::Deserialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Longest file that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The parts of `kilnd` that write to the log, as filters name them. A part that is none would be taken for one that says nothing.
const PARTS: [&str; 8] = [
    "kiln_builder",
    "kiln_communicators",
    "kiln_daemon",
    "kiln_disk_formats",
    "kiln_hypervisors",
    "kiln_protocol",
    "kiln_systemd",
    "kiln_template",
];

/// What the file says.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// Jobs that may run at once.
    pub max_jobs: Option<Number<1, 1000>>,
    /// Finished jobs that are remembered.
    pub finished_jobs: Option<Number<1, 100_000>>,
    /// Clients that may be connected at once.
    pub connections: Option<Number<16, 10_000>>,
    /// Time without a job and without a client after which a daemon ends that is started by its socket.
    pub exit_on_idle: Option<IdleTime>,
    /// Whether desktop programs find the daemon on D-Bus.
    pub dbus: Option<bool>,
    /// Filter of the log, as `debug` or `kiln_daemon=trace`.
    pub log: Option<LogFilter>,
    /// Accounts that nobody logs in to, and that may use a daemon for all users.
    pub nologin_users: Option<Vec<String>>,
    /// What each user may have of a daemon for all users.
    #[serde(default)]
    pub quotas: QuotasTable,
    /// How the workers of a daemon for all users are started.
    #[serde(default)]
    pub workers: WorkersTable,
}

/// The table `[workers]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkersTable {
    /// Who starts them.
    pub started_by: Option<StartedBy>,
    /// Memory of each with all that it starts, in MiB.
    pub memory_mib: Option<Number<64, { u32::MAX }>>,
    /// Processes and threads of each.
    pub tasks: Option<Number<16, 4_000_000>>,
    /// Share of the processors of each, where 100 is what other services have.
    pub cpu_weight: Option<Number<1, 10_000>>,
}

/// Who starts workers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StartedBy {
    /// The service manager of the system, as units.
    Systemd,
    /// The daemon itself.
    Kilnd,
}

impl fmt::Display for StartedBy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Systemd => "systemd",
            Self::Kilnd => "kilnd",
        })
    }
}

/// The table `[quotas]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotasTable {
    /// Running builds and conversions.
    pub running: Option<Number<1, 1000>>,
    /// Builds and conversions that wait.
    pub queued: Option<Number<1, 100_000>>,
    /// Running looks at images.
    pub looks: Option<Number<1, 1000>>,
    /// Connections.
    pub connections: Option<Number<1, 10_000>>,
    /// Streams of events that are followed.
    pub followers: Option<Number<1, 10_000>>,
    /// Submissions in a minute.
    pub submissions: Option<Number<1, 100_000>>,
}

/// A number within limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "i64")]
pub struct Number<const MIN: u32, const MAX: u32>(u32);

/// A time as Go writes it (`90s`, `10m`), of a second at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct IdleTime(Duration);

/// A filter of the log that means something.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct LogFilter(String);

/// Reports that there is no configuration to be had from the file.
#[derive(Debug, thiserror::Error)]
pub enum ConfigFileError {
    /// It cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is there, and no file.
    #[error("{path} is {what}")]
    NoFile {
        /// The path.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It is no text.
    #[error("{path}: line {line} is not in UTF-8")]
    NoText {
        /// The file.
        path: PathBuf,
        /// The first line that is not.
        line: usize,
    },
    /// It is not what it should be.
    #[error("{path}: {problem}")]
    Content {
        /// The file.
        path: PathBuf,
        /// Where, what and why.
        problem: String,
    },
}

impl ConfigFileError {
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Read { .. } => "make it readable for this user, or move it away: it may be missing",
            Self::NoFile { .. } => "move it away, or put a file there: it may be missing",
            Self::NoText { .. } => {
                "save it in UTF-8: `iconv -f LATIN1 -t UTF-8` makes it of an older text, `iconv -f UTF-16 -t UTF-8` of one of Windows"
            }
            Self::Content { .. } => {
                "kiln.toml(5) lists the keys and what each may be (`man kiln.toml`); a line that is left out means its default"
            }
        }
    }
}

impl ConfigFile {
    /// Reads the file; one that is not there says nothing.
    ///
    /// # Errors
    ///
    /// It is no regular file, cannot be read, or says something that is not known.
    pub fn read(path: &Path) -> Result<Self, ConfigFileError> {
        let failed = |source| ConfigFileError::Read { path: path.to_owned(), source };
        let file = match open(path) {
            Ok(Opened::File(file)) => file,
            Ok(Opened::Other(what)) => return Err(ConfigFileError::NoFile { path: path.to_owned(), what }),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Self::default());
            }
            Err(error) => return Err(failed(error)),
        };
        let mut bytes = Vec::new();
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(failed)?;
        let content = |problem| ConfigFileError::Content { path: path.to_owned(), problem };
        if bytes.len() as u64 > MAX_BYTES {
            return Err(content(format!("it has more than {MAX_BYTES} bytes")));
        }
        let text = str::from_utf8(&bytes).map_err(|error| {
            let line = bytes.iter().take(error.valid_up_to()).filter(|byte| **byte == b'\n').count() + 1;
            ConfigFileError::NoText { path: path.to_owned(), line }
        })?;
        Self::parse(text).map_err(content)
    }

    /// Reads the text of a file; what is wrong with it names line and column, and the nearest word that there is.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error: toml::de::Error| {
            let problem = error.to_string().trim_end().to_owned();
            match nearest_word(error.message()) {
                Some(word) => format!("{problem}\ndid you mean `{word}`?"),
                None => problem,
            }
        })
    }
}

/// Of the words that would do, the nearest to one that does not: serde names all.
fn nearest_word(message: &str) -> Option<&str> {
    let unknown = message.strip_prefix("unknown field `").or_else(|| message.strip_prefix("unknown variant `"));
    let (given, known) = unknown?.split_once("`, expected ")?;
    nearest(given, known.split('`').skip(1).step_by(2))
}

/// What stands where the file should be.
enum Opened {
    File(File),
    Other(&'static str),
}

/// Opens it, wherever links lead: many people keep what configures them in a repository. Never waits, as for the other end of a fifo.
fn open(path: &Path) -> io::Result<Opened> {
    let file = OpenOptions::new().read(true).custom_flags(OFlags::NONBLOCK.bits().cast_signed()).open(path)?;
    let kind = file.metadata()?.file_type();
    Ok(match (kind.is_file(), kind.is_dir()) {
        (true, _) => Opened::File(file),
        (_, true) => Opened::Other("a directory"),
        _ => Opened::Other("no regular file"),
    })
}

impl<const MIN: u32, const MAX: u32> TryFrom<i64> for Number<MIN, MAX> {
    type Error = String;

    fn try_from(value: i64) -> Result<Self, String> {
        let number = u32::try_from(value).ok().filter(|number| (MIN..=MAX).contains(number));
        number.map(Self).ok_or_else(|| format!("{value} is not a number from {MIN} to {MAX}"))
    }
}

impl<const MIN: u32, const MAX: u32> From<Number<MIN, MAX>> for u32 {
    fn from(number: Number<MIN, MAX>) -> Self {
        number.0
    }
}

impl<const MIN: u32, const MAX: u32> From<Number<MIN, MAX>> for usize {
    fn from(number: Number<MIN, MAX>) -> Self {
        // No machine that this runs on counts with less than 32 bits.
        Self::try_from(number.0).unwrap_or(Self::MAX)
    }
}

impl TryFrom<String> for IdleTime {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let time = parse_go_duration(&text)?;
        let time = Duration::try_from(time).ok().filter(|time| *time >= Duration::from_secs(1));
        time.map(Self).ok_or_else(|| format!("`{text}` is not a time of one second or more"))
    }
}

impl LogFilter {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// It is none, or would leave the log empty: a word that is no level is the name of a part of the program, and there may be none of this name.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| {
            format!(
                "`{text}` is no filter of the log: {what} (a level: error, warn, info, debug, trace or off; or PART=LEVEL, as kiln_daemon=debug)"
            )
        };
        EnvFilter::try_new(text).map_err(|error| wrong(&error.to_string()))?;
        let words = text.split(',').map(str::trim).filter(|word| !word.contains(['=', '[', '{', ']', '}']));
        for word in words.filter(|word| !word.is_empty() && !word.starts_with("kiln")) {
            word.parse::<LevelFilter>().map_err(|_| wrong(&format!("`{word}` is no level")))?;
        }
        let parts = text.split(',').map(|word| word.split(['=', '[', '{']).next().unwrap_or_default().trim());
        if let Some((part, near)) = parts.filter_map(|part| Some((part, mistaken(part)?))).next() {
            return Err(wrong(&format!("no part of kilnd is called `{part}`, {near}")));
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is meant by a name that looks like a part of kilnd's and is none. Libraries have parts, too, which are not known here; a filter means all
/// parts that begin with its words.
fn mistaken(part: &str) -> Option<String> {
    let name = part.split("::").next().unwrap_or(part);
    if PARTS.contains(&name) || PARTS.iter().any(|known| known.starts_with(part)) {
        return None;
    }
    // `clap_builder` is one of theirs.
    match nearest(name, PARTS).filter(|_| name.starts_with('k')) {
        Some(near) => Some(format!("did you mean `{near}`?")),
        None => name.starts_with("kiln").then(|| format!("they are {}", PARTS.join(", "))),
    }
}

impl TryFrom<String> for LogFilter {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<IdleTime> for Duration {
    fn from(time: IdleTime) -> Self {
        time.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_file_says_nothing_and_a_directory_is_none() {
        let scratch = tempfile::tempdir().unwrap();
        assert_eq!(ConfigFile::read(&scratch.path().join("kiln/kiln.toml")).unwrap(), ConfigFile::default());
        let error = ConfigFile::read(scratch.path()).unwrap_err();
        assert_eq!(error.to_string(), format!("{} is a directory", scratch.path().display()));
        assert!(error.hint().starts_with("move it away, or put a file there"), "{}", error.hint());
        let device = ConfigFile::read(Path::new("/dev/null")).unwrap_err();
        assert_eq!(device.to_string(), "/dev/null is no regular file");
    }

    #[test]
    fn a_file_that_is_no_text_is_told_with_its_line() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("kiln.toml");
        std::fs::write(&path, b"max_jobs = 2\n# f\xfcr alle\n").unwrap();
        let error = ConfigFile::read(&path).unwrap_err();
        assert_eq!(error.to_string(), format!("{}: line 2 is not in UTF-8", path.display()));
        assert!(error.hint().contains("`iconv -f LATIN1 -t UTF-8`"), "{}", error.hint());
    }

    #[test]
    fn a_wrong_key_or_value_is_named_with_its_line() {
        for (text, words) in [
            ("max_jobs = 2\nmax_job = 3", &["line 2", "unknown field `max_job`", "\ndid you mean `max_jobs`?"][..]),
            ("[quotas]\nqueud = 3", &["line 2", "\ndid you mean `queued`?"]),
            ("[workers]\nstarted_by = \"systemctl\"", &["line 2", "\ndid you mean `systemd`?"]),
            ("[quota]\nqueued = 3", &["line 1", "\ndid you mean `quotas`?"]),
            ("max_jobs = 0", &["line 1", "0 is not a number from 1 to 1000"]),
            ("max_jobs = -1", &["-1 is not a number"]),
            ("connections = 15", &["15 is not a number from 16 to 10000"]),
            ("\nexit_on_idle = \"10 minutes\"", &["line 2", "10 minutes"]),
            ("exit_on_idle = \"10ms\"", &["`10ms` is not a time of one second or more"]),
            ("exit_on_idle = \"-1h\"", &["`-1h` is not a time"]),
            ("dbus = \"no\"", &["line 1", "boolean"]),
            ("log = 3", &["line 1", "string"]),
            ("log = \"nonsense=!!\"", &["line 1", "`nonsense=!!` is no filter of the log"]),
            ("log = \"kiln_daemon=loud\"", &["`kiln_daemon=loud` is no filter of the log"]),
            ("log = \"inf\"", &["`inf` is no level", "error, warn, info"]),
            ("log = \"kiln_demon=trace\"", &["no part of kilnd is called `kiln_demon`, did you mean `kiln_daemon`?"]),
            (
                "log = \"info,klin_daemon::jobs[job{id=1}]=debug\"",
                &["called `klin_daemon::jobs`, did you mean `kiln_daemon`?"],
            ),
            ("log = \"kiln_gardening\"", &["called `kiln_gardening`, they are kiln_builder, "]),
            ("max_jobs = 2\nmax_jobs = 3", &["line 2", "duplicate"]),
            ("max_jobs", &["line 1"]),
        ] {
            let problem = ConfigFile::parse(text).unwrap_err();
            for word in words {
                assert!(problem.contains(word), "{text}: {problem}");
            }
        }
    }

    #[test]
    fn filters_of_the_log_are_taken() {
        for text in [
            "",
            "debug",
            "INFO",
            "off",
            "kiln_daemon=trace",
            "info,kiln_daemon::jobs=debug",
            "warn,[job{id=1}]=debug",
            "kiln_daemon",
            "kiln=debug",
            "hyper::proto=debug,kiln_disk_formats=trace",
        ] {
            assert!(LogFilter::parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn whatever_is_built_into_kilnd_may_be_a_part_in_a_filter() {
        let lock = include_str!("../../Cargo.lock");
        let names = lock.lines().filter_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
        let (ours, others): (Vec<_>, Vec<_>) =
            names.map(|name| name.replace('-', "_")).partition(|name| name.starts_with("kiln_"));
        assert!(ours.len() > PARTS.len() && others.len() > 100, "{ours:?}");
        for name in ours.iter().filter(|name| !["kiln_client", "kiln_tests"].contains(&name.as_str())) {
            assert!(PARTS.contains(&name.as_str()), "{name}");
        }
        for name in others {
            assert!(LogFilter::parse(&format!("{name}=debug")).is_ok(), "{name}");
        }
    }

    #[test]
    fn the_documentation_names_the_keys_that_there_are() {
        let documentation = include_str!("../../docs/configuration.md");
        let (keys, _) = documentation.split_once("\n## ").unwrap();
        let rows = keys.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
        let documented: Vec<_> = rows.map(|(key, _)| format!("`{key}`")).collect();
        let known = |text: &str, table: &str| {
            let refused = ConfigFile::parse(text).unwrap_err();
            let known = refused.lines().find_map(|line| line.split_once("expected one of ")).unwrap().1.to_owned();
            known.split(", ").map(|key| key.replacen('`', &format!("`{table}"), 1)).collect::<Vec<_>>()
        };
        let mut keys = known("nothing = 1", "");
        assert_eq!(keys.split_off(keys.len() - 2), ["`quotas`", "`workers`"]);
        keys.extend(known("[quotas]\nnothing = 1", "quotas."));
        keys.extend(known("[workers]\nnothing = 1", "workers."));
        assert_eq!(documented, keys);
    }

    #[test]
    fn a_file_without_end_is_not_read_whole() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("kiln.toml");
        std::fs::write(&path, vec![b'#'; 1 << 21]).unwrap();
        assert!(ConfigFile::read(&path).unwrap_err().to_string().contains("more than 1048576 bytes"));
    }
}
