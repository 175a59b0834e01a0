//! Reads records back: those of a job that runs, of one that is over, and of one that a crash or a power loss has ended.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::step::{FILE_NAME, Header, State, StepRecord, VERSION};
use crate::regular_file;

/// The largest file that is read, in bytes: twenty thousand lines, where a build has tens of steps. A daemon for all users reads those of
/// everybody.
const MAX_BYTES: u64 = 4 << 20;

/// The records of a job.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Records {
    /// Its builds, in the order in which they began.
    pub builds: Vec<BuildRecords>,
    /// The last line was cut short: what it was to say has been lost, and the step before it was the last to be noted.
    pub cut_short: bool,
}

/// The records of one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildRecords {
    /// The build's full name.
    pub build: String,
    /// The digest of its plan.
    pub plan: String,
    /// `PACKER_RUN_UUID`.
    pub run_uuid: String,
    /// The lines of its steps, in the order in which they were written.
    pub steps: Vec<StepRecord>,
    /// Where, among them, each step that the last process ran was begun, by its number.
    begun: HashMap<u32, usize>,
}

/// Why records cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordsError {
    /// The file is there, but cannot be read.
    #[error("cannot read the steps in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Nothing that a build writes is so large.
    #[error("{} has more than {} MiB: no build has written this", path.display(), MAX_BYTES >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A newer Kiln has written it.
    #[error("{} was written by a newer Kiln (format {found}; this one reads up to {VERSION})", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A line before the last one is no record.
    #[error("line {line} of {} is no record of a step: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
    },
}

impl RecordsError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Newer { .. } => "use the version of Kiln that has run the job, or build again",
            _ => "the file is left as it is; build again",
        }
    }
}

impl Records {
    /// The records of the build named `build`.
    pub fn build(&self, build: &str) -> Option<&BuildRecords> {
        self.builds.iter().find(|records| records.build == build)
    }
}

impl BuildRecords {
    fn new(header: Header) -> Self {
        Self {
            build: header.build,
            plan: header.plan,
            run_uuid: header.run_uuid,
            steps: Vec::new(),
            begun: HashMap::new(),
        }
    }

    /// The last line of each step, in the order of their numbers.
    pub fn latest(&self) -> Vec<&StepRecord> {
        let mut latest: Vec<&StepRecord> = Vec::new();
        for step in &self.steps {
            match latest.binary_search_by_key(&step.number, |known| known.number) {
                Ok(at) => latest[at] = step,
                Err(at) => latest.insert(at, step),
            }
        }
        latest
    }

    /// The end of step `number`, when that is done.
    pub fn done(&self, number: u32) -> Option<&StepRecord> {
        let last = self.steps.iter().rev().find(|step| step.number == number)?;
        (last.state == State::Done).then_some(last)
    }
}

/// Reads the records of the job in `job_dir`; a job that has not come to its builds has none. A last line that was cut short is
/// left out and told of.
///
/// # Errors
///
/// See [`RecordsError`].
pub fn read(job_dir: &Path) -> Result<Records, RecordsError> {
    let path = job_dir.join(FILE_NAME);
    match regular_file::open_to_read(&path) {
        Ok(mut file) => read_file(&mut file, &path).map(|(records, _)| records),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Records::default()),
        Err(source) => Err(RecordsError::Read { path, source }),
    }
}

/// Reads the records in this file, and how many of its bytes they are: what follows is left of a record that was cut short.
pub(super) fn read_file(file: &mut File, path: &Path) -> Result<(Records, u64), RecordsError> {
    let mut bytes = Vec::new();
    if let Err(source) = file.take(MAX_BYTES + 1).read_to_end(&mut bytes) {
        return Err(RecordsError::Read { path: path.to_owned(), source });
    }
    if bytes.len() as u64 > MAX_BYTES {
        return Err(RecordsError::TooLarge { path: path.to_owned() });
    }
    parse(path, &bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<(Records, u64), RecordsError> {
    let mut records = Records::default();
    let mut whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
    records.cut_short = whole < bytes.len();
    let lines: Vec<&[u8]> = bytes[..whole].split_inclusive(|&byte| byte == b'\n').collect();
    for (index, line) in lines.iter().enumerate() {
        let added = match line_of(line) {
            Ok(Line::Header(header)) if header.version > VERSION => {
                return Err(RecordsError::Newer { path: path.to_owned(), found: header.version });
            }
            Ok(Line::Header(header)) => {
                records.begin(header);
                Ok(())
            }
            Ok(Line::Step(step)) => records.add(step),
            Err(error) => Err(error.to_string()),
        };
        match added {
            Ok(()) => {}
            // A power loss may leave the end of the file as anything.
            Err(_) if index + 1 == lines.len() => {
                records.cut_short = true;
                whole -= line.len();
            }
            Err(reason) => return Err(RecordsError::Damaged { path: path.to_owned(), line: index + 1, reason }),
        }
    }
    Ok((records, whole as u64))
}

enum Line {
    Header(Header),
    Step(StepRecord),
}

fn line_of(line: &[u8]) -> serde_json::Result<Line> {
    /// A header's first field tells it, and how to read the rest.
    #[derive(Deserialize)]
    struct Kind {
        version: Option<u32>,
    }
    match serde_json::from_slice::<Kind>(line)?.version {
        // What a newer header says beside its version is not for us to read.
        Some(version) if version > VERSION => {
            Ok(Line::Header(Header { version, build: String::new(), plan: String::new(), run_uuid: String::new() }))
        }
        Some(_) => serde_json::from_slice(line).map(Line::Header),
        None => serde_json::from_slice(line).map(Line::Step),
    }
}

impl Records {
    /// A build begins, or goes on in another process. With another plan it begins anew.
    fn begin(&mut self, header: Header) {
        let begun = BuildRecords::new(header);
        match self.builds.iter_mut().find(|records| records.build == begun.build) {
            // Another process numbers anew what comes after the state from which it goes on.
            Some(known) if known.plan == begun.plan => known.begun.clear(),
            Some(known) => *known = begun,
            None => self.builds.push(begun),
        }
    }

    fn add(&mut self, step: StepRecord) -> Result<(), String> {
        let Some(build) = self.builds.iter_mut().find(|records| records.build == step.build) else {
            return Err(format!("{} has not begun", step.build));
        };
        let begun = *build.begun.entry(step.number).or_insert(build.steps.len());
        if let Some(known) = build.steps.get(begun)
            && (known.phase, &known.name) != (step.phase, &step.name)
        {
            return Err(format!("step {} is {:?}, and was {:?}", step.number, step.name, known.name));
        }
        build.steps.push(step);
        Ok(())
    }
}
