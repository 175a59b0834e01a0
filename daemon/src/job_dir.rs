//! The two directories of a job, and the files in them that daemon and worker share.
//!
//! | File | Written by | Holds |
//! |---|---|---|
//! | `request.json` (0600) | daemon | the submission; environment and variables are removed when the job is over |
//! | `accepted.json` (0600) | daemon | what else the journal has of the submission, should the journal be lost |
//! | `template.json` (0600) | worker | in jobs of earlier versions, a template that came from standard input; removed when the job is over |
//! | `events.ndjson` | worker | the events |
//! | `steps.ndjson` | worker | the steps of its builds, each before it acts and after it; belongs to `kiln-builder` |
//! | `reserve` | daemon | nothing; its room on the disk is for the last event, should the disk be full |
//! | `worker.lock` | worker | held (flock) while a worker or a sweeper works on the job |
//! | `worker.json` | worker | which process the worker is |
//! | `worker.log` | worker | its standard output and error |
//! | `resources.ndjson` | worker | the ledger: everything outside that must be given back after the worker's death |
//! | `left.json` | sweeper | why something of a job that is over could not be given back, when that was last tried |
//! | `RUNTIME/control.sock` | worker | requests to the running job |
//! | `STATE/unconfined/ID` | daemon | nothing; says that the job is not confined, should the journal be lost (`unconfined.rs`) |
//!
//! A file that a killed process was writing has a name with `.new-` in front; whoever has the lock next removes it. Everything is opened
//! by [`regular_file`]: what lies here was perhaps put there by somebody else.

mod left_over;
mod unconfined;

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use kiln_builder::regular_file;
use kiln_protocol::{JobId, JobSubmission};
use rustix::fs::{FallocateFlags, FlockOperation, fallocate, flock};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::as_owner::Owner;
use crate::blocking::blocking;
use crate::process_identity::ProcessIdentity;
use crate::remove_tree;
use crate::turns;

/// Largest file of ours that is read back whole, in bytes: a request body and its JSON escapes.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Name of the file that keeps room for the last event, beside the events file.
pub(crate) const RESERVE_NAME: &str = "reserve";

/// Size of that file, in bytes: for the last event and for the smaller request.
const RESERVE_BYTES: u64 = 64 << 10;

/// Below a file, where nothing can be: an error that is not taken for a file that was not written yet.
const NOWHERE: &str = "/dev/null/nowhere";

/// What the names of files begin with that are not whole yet.
pub(crate) const UNFINISHED_PREFIX: &str = ".new-";

/// What the journal knows of a submission beside the request itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    /// When it was submitted, RFC 3339.
    pub created_at: String,
    /// User who submitted it.
    pub owner: u32,
    /// Idempotency key, if one came along.
    pub key: Option<String>,
    /// Digest of the request body.
    pub digest: String,
}

/// The directories of one job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobDir {
    /// Kept after the job.
    pub root: PathBuf,
    /// Short, for sockets; removed after the job.
    pub runtime: PathBuf,
}

/// Reports that a file of a job directory cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}")]
pub struct JobDirError {
    action: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// The right to work on a job; given back when dropped, or when the process dies.
#[derive(Debug)]
pub struct WorkerLock {
    _file: File,
}

impl JobDir {
    /// Names the directories of the job below those of the daemon.
    #[must_use]
    pub fn of(state_directory: &Path, runtime_directory: &Path, id: &JobId) -> Self {
        Self {
            root: state_directory.join("jobs").join(id.as_str()),
            runtime: runtime_directory.join("jobs").join(id.as_str()),
        }
    }

    /// Returns the path of the events file.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.root.join("events.ndjson")
    }

    /// Returns the path of the records of steps.
    #[must_use]
    pub fn steps(&self) -> PathBuf {
        self.root.join(kiln_builder::records::FILE_NAME)
    }

    /// Returns the path of the control socket.
    #[must_use]
    pub fn control_socket(&self) -> PathBuf {
        self.runtime.join("control.sock")
    }

    fn reserve(&self) -> PathBuf {
        self.root.join(RESERVE_NAME)
    }

    fn request(&self) -> PathBuf {
        self.root.join("request.json")
    }

    fn template(&self) -> PathBuf {
        self.root.join("template.json")
    }

    fn identity(&self) -> PathBuf {
        self.root.join("worker.json")
    }

    fn acceptance(&self) -> PathBuf {
        self.root.join("accepted.json")
    }

    fn worker_lock(&self) -> PathBuf {
        self.root.join("worker.lock")
    }

    /// Makes both directories, the request and an empty events file; as those of `owner`, when they shall be somebody else's.
    ///
    /// # Errors
    ///
    /// The disk is full or not writable. What was made is removed again.
    pub fn create(
        &self,
        submission: &JobSubmission,
        acceptance: &Acceptance,
        owner: Option<Owner>,
    ) -> Result<(), JobDirError> {
        let directories = [&self.root, &self.runtime].into_iter().try_for_each(|path| make_directory(path, owner));
        let made = directories.and_then(|()| self.as_owner_now(|this| this.create_files(submission, acceptance)));
        if made.is_err() {
            self.remove();
        }
        made
    }

    fn create_files(&self, submission: &JobSubmission, acceptance: &Acceptance) -> Result<(), JobDirError> {
        write_whole(&self.acceptance(), acceptance)?;
        let events = self.events();
        let failed = |source| JobDirError { action: "make", path: events.clone(), source };
        let file = regular_file::open(&events, OpenOptions::new().append(true).create(true).mode(0o600));
        file.and_then(|file| file.sync_all()).map_err(failed)?;
        make_reserve(&self.reserve())?;
        // The last one: a directory with a request is a whole job.
        write_whole(&self.request(), submission)?;
        sync_directory(&self.root)
    }

    /// Makes the runtime directory again; it is gone after a reboot.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub fn create_runtime(&self) -> Result<(), JobDirError> {
        make_directory(&self.runtime, None)
    }

    /// [`create_runtime`](Self::create_runtime) for a worker that may not make it itself.
    ///
    /// # Errors
    ///
    /// It cannot be made, or is somebody else's.
    pub(crate) fn create_runtime_for(&self, owner: Owner) -> Result<(), JobDirError> {
        match Owner::of(&self.runtime) {
            Ok(found) if found.uid == owner.uid => Ok(()),
            _ => make_directory(&self.runtime, Some(owner)),
        }
    }

    /// Does something with the files of this job, with the rights of the user whose they are. The daemon does nothing with them otherwise: a
    /// user may put anything there. See `as_owner.rs`.
    pub(crate) fn as_owner_now<T>(&self, work: impl FnOnce(&Self) -> T) -> T {
        match Owner::of(&self.root) {
            // Nobody can put another directory in its place meanwhile: the one above is this daemon's alone.
            Ok(owner) => owner.does(|| work(self)),
            // For the same reason nothing appears where nothing is, but by `create`, which is called once for each id.
            Err(error) if error.kind() == io::ErrorKind::NotFound => work(self),
            // Whose it is cannot be told, so nothing is done with anybody's rights; nor there, where a file system of the user's may be mounted that
            // never answers.
            Err(_) => Owner::nobody().does(|| work(&Self { root: NOWHERE.into(), runtime: NOWHERE.into() })),
        }
    }

    /// [`as_owner_now`](Self::as_owner_now), on a thread for work that blocks, when the user has a turn.
    pub(crate) async fn as_owner<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> T + Send + 'static) -> T {
        self.in_turn(|this| this.as_owner_now(work)).await
    }

    /// Does something with this job's directories with this daemon's own rights, on a thread for work that blocks. What belongs to another user
    /// has to wait for that user's turn.
    pub(crate) async fn in_turn<T: Send + 'static>(&self, work: impl FnOnce(&Self) -> T + Send + 'static) -> T {
        let owner = Owner::of(&self.root).ok().filter(|owner| owner.uid != rustix::process::geteuid().as_raw());
        let turn = match owner {
            Some(owner) => Some(turns::at_files_of(owner.uid).await),
            None => None,
        };
        let this = self.clone();
        blocking(move || {
            let done = work(&this);
            // Not earlier, also when nobody waits for the work any more.
            drop(turn);
            done
        })
        .await
    }

    /// Reads the submission.
    ///
    /// # Errors
    ///
    /// The file is missing or not as written.
    pub fn read_request(&self) -> Result<JobSubmission, JobDirError> {
        read_whole(&self.request())
    }

    /// Whether the directory holds a request, and with it a whole job.
    #[must_use]
    pub fn has_request(&self) -> bool {
        regular_file::is_there(&self.request())
    }

    /// Reads what else is known of the submission; nothing when the directory does not say it.
    #[must_use]
    pub fn read_acceptance(&self) -> Option<Acceptance> {
        read_whole(&self.acceptance()).ok()
    }

    /// Removes environment, variable values and an inline template from the request: nobody needs the secrets any more. A job that still
    /// holds something keeps the variables that lead to it.
    ///
    /// # Errors
    ///
    /// The file cannot be replaced.
    pub fn scrub_request(&self) -> Result<(), JobDirError> {
        for path in [self.template(), self.reserve()] {
            if let Err(source) = std::fs::remove_file(&path)
                && source.kind() != io::ErrorKind::NotFound
            {
                return Err(JobDirError { action: "remove", path, source });
            }
        }
        let mut submission = match self.read_request() {
            Ok(submission) => submission,
            Err(error) if error.source.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(_) => {
                // Unreadable, but perhaps not for everybody: better gone than kept.
                let failed = |source| JobDirError { action: "remove", path: self.request(), source };
                return std::fs::remove_file(self.request()).map_err(failed);
            }
        };
        let leads_to_hypervisors = !self.still_on_ledger().is_empty();
        // Those of a proxy may have a login. Without them nothing that lies behind it is given back as long as Kiln may, and what that costs is
        // paid on; later they are of no use.
        let leads_to_services = leads_to_hypervisors && kiln_builder::can_reach_a_service(&self.root);
        submission.environment.retain(|name, _| {
            (leads_to_hypervisors && kiln_builder::HYPERVISOR_ENVIRONMENT.contains(&name.as_str()))
                || (leads_to_services && kiln_builder::SERVICE_ENVIRONMENT.contains(&name.as_str()))
        });
        submission.template_text = None;
        submission.options.variables.iter_mut().for_each(|variable| variable.value = String::new());
        write_whole(&self.request(), &submission)?;
        self.remove_unfinished();
        Ok(())
    }

    /// Removes files that a killed process had not finished writing. For the holder of the lock, or when the job is over.
    pub fn remove_unfinished(&self) {
        let Ok(entries) = std::fs::read_dir(&self.root) else { return };
        for entry in entries.flatten() {
            if entry.file_name().as_encoded_bytes().starts_with(UNFINISHED_PREFIX.as_bytes())
                && let Err(error) = std::fs::remove_file(entry.path())
            {
                tracing::warn!(path = %entry.path().display(), %error, "a half-written file cannot be removed");
            }
        }
    }

    /// Takes the right to work on this job; nothing when somebody else has it.
    ///
    /// # Errors
    ///
    /// The lock file cannot be opened.
    pub fn lock(&self) -> Result<Option<WorkerLock>, JobDirError> {
        let path = self.worker_lock();
        let failed = |source| JobDirError { action: "lock", path: path.clone(), source };
        let options = &mut OpenOptions::new();
        let file = regular_file::open(&path, options.write(true).create(true).truncate(false).mode(0o600));
        let file = file.map_err(failed)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(WorkerLock { _file: file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(failed(error.into())),
        }
    }

    /// Whether a worker or a sweeper works on this job now.
    #[must_use]
    pub fn is_locked(&self) -> bool {
        // Where no worker ever was, none is made believe in by a lock file of ours.
        regular_file::is_there(&self.worker_lock()) && matches!(self.lock(), Ok(None))
    }

    /// Whether a worker was started on this job, as far as the directory shows.
    #[must_use]
    pub fn has_trace_of_worker(&self) -> bool {
        let events = regular_file::open_to_read(&self.events()).and_then(|events| events.metadata());
        regular_file::is_there(&self.worker_lock())
            || regular_file::is_there(&self.identity())
            || events.is_ok_and(|events| events.len() > 0)
    }

    /// Writes down which process the worker is.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn write_identity(&self, identity: &ProcessIdentity) -> Result<(), JobDirError> {
        write_whole(&self.identity(), identity)
    }

    /// Returns which process the worker is, when it said so.
    #[must_use]
    pub fn read_identity(&self) -> Option<ProcessIdentity> {
        read_whole(&self.identity()).ok()
    }

    /// Opens the worker's log for appending.
    ///
    /// # Errors
    ///
    /// It cannot be opened.
    pub fn open_log(&self) -> Result<File, JobDirError> {
        let path = self.root.join("worker.log");
        let failed = |source| JobDirError { action: "open", path: path.clone(), source };
        regular_file::open(&path, OpenOptions::new().append(true).create(true).mode(0o600)).map_err(failed)
    }

    /// Removes the runtime directory. Not to be called as its owner, who cannot remove it from where it lies.
    pub fn remove_runtime(&self) {
        remove_directory(&self.runtime);
    }

    /// Removes both directories. Not to be called as their owner.
    pub fn remove(&self) {
        remove_directory(&self.runtime);
        remove_directory(&self.root);
        self.forget_unconfined();
    }
}

/// Returns the path of a job's ledger, below the state directory.
pub(crate) fn ledger_of(id: &JobId) -> String {
    format!("jobs/{id}/{}", kiln_builder::LEDGER_NAME)
}

/// Makes a directory for its owner alone, and those above it.
fn make_directory(path: &Path, owner: Option<Owner>) -> Result<(), JobDirError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let made = match owner {
        None => std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path),
        // Those above are there. Until it is handed over nobody else gets at it, and then nobody can put another in its place.
        Some(owner) => std::fs::DirBuilder::new()
            .mode(0o700)
            .create(path)
            .and_then(|()| std::os::unix::fs::lchown(path, Some(owner.uid), Some(owner.gid))),
    };
    made.map_err(|source| JobDirError { action: "make", path: path.to_owned(), source })
}

fn remove_directory(path: &Path) {
    let emptied = match Owner::of(path) {
        Ok(owner) if owner.uid != rustix::process::geteuid().as_raw() => owner.does(|| remove_tree::empty(path)),
        Ok(_) => remove_tree::empty(path),
        // Nothing is there, or what its user has mounted there: that is not ours to empty, nor to wait for.
        Err(error) => Err(error),
    };
    let removed = std::fs::remove_dir(path).map_err(|error| emptied.err().unwrap_or(error));
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a job's directory cannot be removed");
    }
}

/// Takes room on the disk. File systems that cannot do so beforehand have none to give, and that is no error.
fn make_reserve(path: &Path) -> Result<(), JobDirError> {
    let failed = |source| JobDirError { action: "make", path: path.to_owned(), source };
    let options = &mut OpenOptions::new();
    let file = regular_file::open(path, options.write(true).create(true).truncate(true).mode(0o600)).map_err(failed)?;
    match fallocate(&file, FallocateFlags::empty(), 0, RESERVE_BYTES) {
        Ok(()) | Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => Ok(()),
        Err(error) => Err(failed(error.into())),
    }
}

/// Writes a file so that it is either there as a whole or not at all. Mode 0600.
fn write_whole(path: &Path, value: &impl Serialize) -> Result<(), JobDirError> {
    let text = serde_json::to_vec(value);
    write_bytes(path, |file| file.write_all(&text?))
}

fn write_bytes(path: &Path, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<(), JobDirError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    let write = || -> io::Result<()> {
        // Temporary files are 0600 from the first moment.
        let mut file = tempfile::Builder::new().prefix(UNFINISHED_PREFIX).tempfile_in(directory)?;
        fill(file.as_file_mut())?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(())
    };
    write().map_err(|source| JobDirError { action: "write", path: path.to_owned(), source })
}

fn read_whole<T: DeserializeOwned>(path: &Path) -> Result<T, JobDirError> {
    use std::io::Read as _;
    let read = || -> io::Result<T> {
        let mut text = Vec::new();
        regular_file::open_to_read(path)?.take(MAX_FILE_BYTES).read_to_end(&mut text)?;
        serde_json::from_slice(&text).map_err(io::Error::from)
    };
    read().map_err(|source| JobDirError { action: "read", path: path.to_owned(), source })
}

fn sync_directory(path: &Path) -> Result<(), JobDirError> {
    let sync = File::open(path).and_then(|directory| directory.sync_all());
    sync.map_err(|source| JobDirError { action: "write", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests;
