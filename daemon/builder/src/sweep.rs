//! Gives back what a killed worker left: everything that its ledger says is held.

mod others;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use kiln_hypervisors::process_stat::{ProcessStat, boot_id};
use kiln_hypervisors::registry::{self, Settings};
use kiln_hypervisors::{GivenBack, Hypervisors, Resource, remove_dead_socket};
use others::Others;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use crate::ledger::{Held, Ledger};
use crate::local_processes::{LocalProcesses, wait_for_exit};
use crate::lock_file;
use crate::post_processors;
use crate::steps::output_directory;

/// How long a killed process may take to go.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a hypervisor may take to tell a machine's name.
const NAME_TIMEOUT: Duration = Duration::from_secs(20);

/// How long a hypervisor may take to end a registered machine and remove its files.
const GIVE_BACK_TIMEOUT: Duration = Duration::from_secs(120);

/// How long all services together may take to remove what a job has there: whoever waits for a sweep waits for all of it, and one that takes too
/// long is killed before it has said anything.
const SERVICES_TIMEOUT: Duration = Duration::from_secs(120);

/// What a sweep found and did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sweep {
    /// One line for each resource that was still held and is gone now.
    pub removed: Vec<String>,
    /// One line for each that could not be removed, with the reason. It stays in the ledger.
    pub failed: Vec<String>,
}

/// Gives back everything the ledger in `job_dir` says is held: processes first, then machines, then files, then directories, which stay
/// where a machine does. May take minutes; call it from a thread that may block.
///
/// # Errors
///
/// The ledger exists but cannot be read.
pub fn sweep(job_dir: &Path) -> io::Result<Sweep> {
    // Nothing is probed, so nothing is kept there. A machine of libvirt's is named with the libvirt that has it.
    sweep_with(job_dir, &registry::all(&Settings { cache_dir: job_dir.to_owned(), libvirt: None }))
}

/// [`sweep`] with hypervisors of the caller's choice.
///
/// # Errors
///
/// As [`sweep`].
pub fn sweep_with(job_dir: &Path, hypervisors: &Hypervisors) -> io::Result<Sweep> {
    sweep_all(job_dir, None, hypervisors, SERVICES_TIMEOUT)
}

/// [`sweep`] for a job that was over at `ended`: what others have put in the place of its own since then stays.
///
/// # Errors
///
/// As [`sweep`].
pub fn sweep_ended(job_dir: &Path, ended: SystemTime) -> io::Result<Sweep> {
    sweep_ended_with(job_dir, ended, &registry::all(&Settings { cache_dir: job_dir.to_owned(), libvirt: None }))
}

fn sweep_ended_with(job_dir: &Path, ended: SystemTime, hypervisors: &Hypervisors) -> io::Result<Sweep> {
    sweep_all(job_dir, Some(ended), hypervisors, SERVICES_TIMEOUT)
}

/// How many things that are held are named, and how many characters each name may have: what a ledger says, its user may have written.
const MAX_PHRASES: usize = 100;
const MAX_PHRASE: usize = 1000;

/// Names what the ledger in `job_dir` says is held, each as a phrase (`the file /x`), and of very much the beginning; nothing: all is
/// given back.
///
/// # Errors
///
/// The ledger exists but cannot be read.
pub fn still_held(job_dir: &Path) -> io::Result<Vec<String>> {
    let held = Held::read(job_dir)?;
    let count = held.resources.len() + held.not_understood.len();
    let phrases = held.resources.iter().map(phrase).chain(held.not_understood);
    let mut named: Vec<_> = phrases.take(MAX_PHRASES).map(shortened).collect();
    if count > MAX_PHRASES {
        named.push(format!("{} other things", count - MAX_PHRASES));
    }
    Ok(named)
}

/// Whether something lies at a service by the ledger in `job_dir` that Kiln still has the credentials for; so it may where the ledger or a note
/// cannot be read.
#[must_use]
pub fn can_reach_a_service(job_dir: &Path) -> bool {
    let reaches = |resource: &Resource| match resource {
        Resource::Remote { note, .. } => post_processors::has_credentials(note).unwrap_or(true),
        _ => false,
    };
    Held::read(job_dir).map_or(true, |held| held.resources.iter().any(reaches))
}

/// Removes from the notes of what a job has at services the credentials that would remove it: from here on that is left to its user.
///
/// # Errors
///
/// The ledger or a note cannot be read or written.
pub fn forget_credentials(job_dir: &Path) -> Result<(), String> {
    let held =
        Held::read(job_dir).map_err(|error| format!("cannot read the ledger in {}: {error}", job_dir.display()))?;
    let notes = held.resources.iter().filter_map(|resource| match resource {
        Resource::Remote { note, .. } => Some(note),
        _ => None,
    });
    let failed: Vec<_> = notes.filter_map(|note| post_processors::forget_credentials(note).err()).collect();
    if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
}

fn shortened(mut phrase: String) -> String {
    if let Some((end, _)) = phrase.char_indices().nth(MAX_PHRASE) {
        phrase.truncate(end);
        phrase.push('…');
    }
    phrase
}

fn phrase(resource: &Resource) -> String {
    match resource {
        Resource::Process { pid, .. } => format!("the process {pid}"),
        Resource::LocalProcesses { .. } => "the processes of a script".to_owned(),
        Resource::Registered { hypervisor, id } => format!("the machine {id} of {hypervisor}"),
        Resource::LockFile { path } => format!("the lock file {}", path.display()),
        Resource::Socket { path } => format!("the socket {}", path.display()),
        Resource::File { path } => format!("the file {}", path.display()),
        Resource::Directory { path } | Resource::OutputDirectory { path, .. } => {
            format!("the directory {}", path.display())
        }
        Resource::Remote { what, .. } => what.clone(),
    }
}

fn sweep_all(
    job_dir: &Path,
    ended: Option<SystemTime>,
    hypervisors: &Hypervisors,
    services_timeout: Duration,
) -> io::Result<Sweep> {
    let held = Held::read(job_dir)?;
    if held == Held::default() {
        return Ok(Sweep::default());
    }
    let ledger = Ledger::open(job_dir)?;
    let others = ended.map(|ended| Others::since(job_dir, ended));
    let mut sweep = Sweep { removed: Vec::new(), failed: held.not_understood };
    let mut machine_stays = false;
    let mut services = Services { timeout: services_timeout, until: None };
    for resource in held.resources {
        if let (true, Resource::Directory { path } | Resource::OutputDirectory { path, .. }) =
            (machine_stays, &resource)
        {
            sweep.failed.push(format!("the directory {} stays with the machine, which may use it", path.display()));
            continue;
        }
        if let Some(whose) = others.as_ref().and_then(|others| others.owner_of(&resource)) {
            sweep.removed.push(format!("{} is {whose} by now and stays", phrase(&resource)));
            ledger.released(&resource);
            continue;
        }
        match give_back(&resource, hypervisors, &mut services) {
            Ok(Some(what)) => sweep.removed.push(what),
            Ok(None) => {}
            Err(error) => {
                sweep.failed.push(error);
                machine_stays |= matches!(resource, Resource::Registered { .. });
                continue;
            }
        }
        ledger.released(&resource);
    }
    Ok(sweep)
}

/// The time that all services have together, from the first that is asked.
struct Services {
    timeout: Duration,
    until: Option<Instant>,
}

impl Services {
    fn time_left(&mut self) -> Result<Duration, String> {
        let until = *self.until.get_or_insert_with(|| Instant::now() + self.timeout);
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(format!("the services before it have taken all of the {} s", self.timeout.as_secs()));
        }
        Ok(left)
    }
}

fn give_back(
    resource: &Resource,
    hypervisors: &Hypervisors,
    services: &mut Services,
) -> Result<Option<String>, String> {
    match resource {
        Resource::Process { pid, start_time, boot_id } => kill(*pid, *start_time, boot_id),
        Resource::LocalProcesses { mark, session, boot_id } => {
            LocalProcesses { mark: mark.clone(), session: *session, boot_id: boot_id.clone() }.kill(KILL_TIMEOUT)
        }
        Resource::Registered { hypervisor, id } => unregister(hypervisor, id, hypervisors),
        Resource::LockFile { path } => lock_file::sweep(path),
        Resource::Socket { path } => remove_socket(path),
        Resource::File { path } => removal(path, std::fs::remove_file(path), "file"),
        Resource::Directory { path } => removal(path, std::fs::remove_dir_all(path), "directory"),
        Resource::OutputDirectory { path, id } => output_directory::sweep(path, id),
        Resource::Remote { what, note } => give_back_remote(what, note, services),
    }
}

/// Asks a service to remove what a dead worker has left there.
fn give_back_remote(what: &str, note: &Path, services: &mut Services) -> Result<Option<String>, String> {
    let together = services.timeout.as_secs();
    let answer = services.time_left().and_then(|left| {
        on_a_runtime(async {
            match tokio::time::timeout(left, post_processors::give_back(note)).await {
                Ok(answer) => answer,
                Err(_) => Err(format!(
                    "the service did not answer in what was left of the {together} s for all services together"
                )),
            }
        })
    });
    let gone = answer.and_then(|result| result).map_err(|error| format!("cannot give back {what}: {error}"))?;
    match post_processors::forget(note) {
        Err(error) => Err(format!("cannot remove {}, which has credentials: {error}", note.display())),
        Ok(()) => Ok((!gone.is_empty()).then(|| gone.join(", "))),
    }
}

/// Runs `work` to its end on a thread of its own, because whoever sweeps may be in a runtime already.
fn on_a_runtime<T: Send>(work: impl Future<Output = T> + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let working = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            Ok(runtime.map_err(|error| error.to_string())?.block_on(work))
        });
        working.join().unwrap_or_else(|_| Err("asking it ended abnormally".to_owned()))
    })
}

/// Gives a registered machine back to the hypervisor that keeps it.
fn unregister(name: &str, id: &str, hypervisors: &Hypervisors) -> Result<Option<String>, String> {
    let Some(hypervisor) = hypervisors.get(name) else {
        return Err(format!(
            "the machine {id} is registered with {name}, which this version of Kiln does not know: it is left as it is; \
             remove it with the tools of {name}"
        ));
    };
    let answer = on_a_runtime(async {
        // Before it goes.
        let shown = tokio::time::timeout(NAME_TIMEOUT, hypervisor.shown(id)).await.unwrap_or_else(|_| id.to_owned());
        let answer = match tokio::time::timeout(GIVE_BACK_TIMEOUT, hypervisor.give_back(id)).await {
            Ok(answer) => answer.map_err(|error| error.to_string()),
            Err(_) => Err(format!("{name} took more than {} s", GIVE_BACK_TIMEOUT.as_secs())),
        };
        (shown, answer)
    });
    let (id, answer) = answer.unwrap_or_else(|error: String| (id.to_owned(), Err(error)));
    match answer {
        Ok(GivenBack::Removed) => Ok(Some(format!("removed the machine {id} from {name}"))),
        Ok(GivenBack::HandedBack) => {
            Ok(Some(format!("gave the machine {id} of {name} back: it stays, without what the build had put into it")))
        }
        Ok(GivenBack::LeftOn { snapshot }) => Ok(Some(format!(
            "the machine {id} of {name} is off and stays as it is; before the build it stood on its snapshot {snapshot}: restore that \
             yourself if nothing in the machine is wanted"
        ))),
        Ok(GivenBack::WasGone) => Ok(Some(format!("the machine {id} is not registered with {name} any more"))),
        Err(error) => Err(format!("cannot remove the machine {id} from {name}: {error}")),
    }
}

fn remove_socket(path: &Path) -> Result<Option<String>, String> {
    match remove_dead_socket(path) {
        Ok(true) => removal(path, Ok(()), "socket"),
        Ok(false) => Ok(None),
        Err(error) => removal(path, Err(error), "socket"),
    }
}

fn removal(path: &Path, result: io::Result<()>, what: &str) -> Result<Option<String>, String> {
    match result {
        Ok(()) => Ok(Some(format!("removed the {what} {}", path.display()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!("cannot remove the {what} {}: {error}", path.display())),
    }
}

fn kill(pid: u32, start_time: u64, boot: &str) -> Result<Option<String>, String> {
    if boot_id().is_ok_and(|now| now != boot) {
        return Ok(None);
    }
    let Some(id) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
    let Ok(pidfd) = pidfd_open(id, PidfdFlags::empty()) else { return Ok(None) };
    // Checked after the pidfd is open: from here on it cannot become somebody else.
    if ProcessStat::of(pid).ok().map(|stat| stat.start_time) != Some(start_time) {
        return Ok(None);
    }
    pidfd_send_signal(&pidfd, Signal::KILL).map_err(|error| format!("cannot kill process {pid}: {error}"))?;
    if wait_for_exit(&pidfd, KILL_TIMEOUT) {
        Ok(Some(format!("killed process {pid}")))
    } else {
        Err(format!("process {pid} did not end within {} s of being killed", KILL_TIMEOUT.as_secs()))
    }
}

#[cfg(test)]
mod tests;
