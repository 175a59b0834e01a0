//! What a ledger says is held.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::path::Path;

use kiln_hypervisors::Resource;
use serde::Deserialize;
use serde_json::Value;

use crate::regular_file;

/// The ledger's file name in a job's directory.
pub const FILE_NAME: &str = "resources.ndjson";

/// The largest ledger that is read back, in bytes: ten thousand records, where a job holds tens of resources. A daemon for all users reads the
/// ledgers of everybody.
const MAX_BYTES: u64 = 2 << 20;

/// How many records that are not understood are named.
const MAX_NAMED: usize = 50;

/// The longest record: a path has at most 4096 bytes, each of which JSON may write as six.
pub(super) const MAX_RECORD_BYTES: u64 = 64 << 10;

/// Records that say no version are of this one.
const VERSION: u64 = 1;

/// What a ledger says is held.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// In the order of giving back.
    pub(crate) resources: BTreeSet<Resource>,
    /// One sentence for each record that is not understood. They stay in the ledger.
    pub(crate) not_understood: Vec<String>,
}

#[derive(Deserialize)]
struct Record {
    held: bool,
    #[serde(flatten)]
    resource: Resource,
}

impl Held {
    /// Reads the ledger of `job_dir`; a job without one holds nothing.
    ///
    /// # Errors
    ///
    /// The ledger exists but cannot be read.
    pub(crate) fn read(job_dir: &Path) -> io::Result<Self> {
        let path = job_dir.join(FILE_NAME);
        let mut bytes = Vec::new();
        match regular_file::open_to_read(&path) {
            Ok(file) => file.take(MAX_BYTES + 1).read_to_end(&mut bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let mut held = Self::default();
        if bytes.len() as u64 > MAX_BYTES {
            bytes.truncate(MAX_BYTES as usize);
            held.not_understood.push(format!(
                "the ledger {} is larger than {} MiB: what it says after that is not read",
                path.display(),
                MAX_BYTES >> 20
            ));
        }
        held.take_all(&bytes, &path);
        Ok(held)
    }

    fn take_all(&mut self, bytes: &[u8], path: &Path) {
        let (mut foreign, mut damaged) = (Foreign::default(), 0_usize);
        let mut lines = bytes.split(|&byte| byte == b'\n').enumerate().peekable();
        while let Some((index, line)) = lines.next() {
            // The last line may be cut short by a crash; a resource is noted before it is acquired, so nothing is lost.
            let is_last = lines.peek().is_none();
            if line.trim_ascii().is_empty() {
                continue;
            }
            let Ok(value) = serde_json::from_slice::<Value>(line) else {
                if !is_last {
                    damaged += 1;
                    if damaged <= MAX_NAMED {
                        let number = index + 1;
                        self.not_understood.push(format!(
                            "line {number} of the ledger {} is damaged: what it names may be left over",
                            path.display()
                        ));
                    }
                }
                continue;
            };
            let is_newer = value["version"].as_u64().is_some_and(|version| version > VERSION);
            match Record::deserialize(&value) {
                Ok(Record { held: true, resource }) if !is_newer => {
                    self.resources.insert(resource);
                }
                Ok(Record { held: false, resource }) if !is_newer => {
                    self.resources.remove(&resource);
                }
                _ => foreign.note(value),
            }
        }
        let others = damaged.saturating_sub(MAX_NAMED);
        if others > 0 {
            self.not_understood.push(format!("{others} more lines of the ledger {} are damaged", path.display()));
        }
        self.not_understood.extend(foreign.records.iter().map(|record| {
            format!(
                "the ledger {} has a record of another version of Kiln, which is left to that version: {record}",
                path.display()
            )
        }));
        if foreign.are_more {
            let path = path.display();
            self.not_understood.push(format!("the ledger {path} has more records of another version of Kiln"));
        }
    }
}

/// What is held even where it is not known what it is.
#[derive(Default)]
struct Foreign {
    records: Vec<Value>,
    /// Whether there were more at once than are named. Which of them were given back is not known then.
    are_more: bool,
}

impl Foreign {
    fn note(&mut self, mut record: Value) {
        let held = record.as_object_mut().and_then(|fields| fields.shift_remove("held"));
        if held == Some(Value::Bool(false)) {
            self.records.retain(|other| *other != record);
        } else if self.records.contains(&record) {
        } else if self.records.len() < MAX_NAMED {
            self.records.push(record);
        } else {
            self.are_more = true;
        }
    }
}
