//! A launcher without processes: its workers are entries in a table, and do what a test says.

use std::collections::VecDeque;
use std::future;
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard};

use kiln_protocol::{EventBody, JobState, JobSubmission};
use tokio::sync::watch;

use super::launcher::{After, Exit, JobProcess, LaunchError, Launched, Launcher};
use crate::account::AccountError;
use crate::as_owner::Owner;
use crate::config::environment::KILN_CONFINED;
use crate::event_log::EventWriter;
use crate::job_dir::{JobDir, WorkerLock};
use crate::process_identity::ProcessIdentity;
use crate::runner::BoxFuture;
use crate::units::UnitError;

#[derive(Default)]
pub(super) struct FakeLauncher {
    table: Arc<Mutex<Table>>,
}

#[derive(Default)]
struct Table {
    /// What was asked of the launcher, in order.
    calls: Vec<String>,
    /// Workers that will not start, each with its reason.
    refusals: VecDeque<&'static str>,
    /// How often the service manager cannot be reached.
    absences: u32,
    /// Whether the service manager leaves before it has told of the next worker.
    loses_next: bool,
    /// Whether the service manager starts a worker only when it has come back, to start a sweeper.
    comes_late: bool,
    /// Workers that were found again.
    found: Vec<u32>,
    workers: Vec<Worker>,
    /// Users who were looked up.
    looked_up: Vec<u32>,
    /// Whether workers live on when they are killed.
    outlive_kills: bool,
    /// Processes that never end.
    hanging: Vec<watch::Sender<Option<Exit>>>,
    /// With which PATH giving back takes for ever.
    hangs_with: Option<&'static str>,
    /// Why nothing is given back of jobs that are over.
    stays: Option<&'static str>,
}

struct Worker {
    directory: JobDir,
    /// Held as long as it runs.
    lock: Option<WorkerLock>,
    ended: watch::Sender<Option<Exit>>,
}

struct FakeProcess {
    table: Arc<Mutex<Table>>,
    identity: ProcessIdentity,
    ended: watch::Receiver<Option<Exit>>,
}

impl FakeLauncher {
    /// Returns what was asked of it: `worker TEMPLATE`, `sweeper failed: CAUSE`, `kill 1`.
    pub(super) fn calls(&self) -> Vec<String> {
        self.table().calls.clone()
    }

    /// Returns which users were looked up.
    pub(super) fn looked_up(&self) -> Vec<u32> {
        self.table().looked_up.clone()
    }

    /// From now on a killed worker hangs, as one behind a dead file server.
    pub(super) fn let_workers_outlive_kills(&self) {
        self.table().outlive_kills = true;
    }

    /// The next worker does not start.
    pub(super) fn refuse(&self, reason: &'static str) {
        self.table().refusals.push_back(reason);
    }

    /// The service manager cannot be reached by the next so many starts.
    pub(super) fn lacks_manager(&self, times: u32) {
        self.table().absences = times;
    }

    /// The service manager starts the next worker, and leaves before it has told of it.
    pub(super) fn loses_next(&self) {
        self.table().loses_next = true;
    }

    /// The service manager leaves whenever it is asked for a worker, and starts it when it is asked for a sweeper.
    pub(super) fn comes_late(&self) {
        self.table().comes_late = true;
    }

    /// Returns which workers were found again, by their numbers from 1.
    pub(super) fn found(&self) -> Vec<u32> {
        self.table().found.clone()
    }

    /// What jobs still hold that are over stays, for this reason; `None`: it is given back.
    pub(super) fn stays(&self, reason: Option<&'static str>) {
        self.table().stays = reason;
    }

    /// Giving back what jobs with this PATH still hold takes for ever.
    pub(super) fn hangs_with(&self, path: &'static str) {
        self.table().hangs_with = Some(path);
    }

    /// Worker number `index` (from 0, in the order of their starts) says something about itself or about a build.
    pub(super) fn say(&self, index: usize, build: Option<&str>, body: EventBody) {
        let table = self.table();
        let events = table.workers[index].directory.events();
        EventWriter::open(&events).unwrap().append(build.map(str::to_owned), body).unwrap();
    }

    /// Worker number `index` ends, with this exit code.
    pub(super) fn end(&self, index: usize, code: i32) {
        end(&mut self.table(), index, ExitStatus::from_raw(code << 8));
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap()
    }

    fn process(&self, pid: u32, ended: watch::Receiver<Option<Exit>>) -> Box<dyn JobProcess> {
        let identity = ProcessIdentity { pid, start_ticks: 1, boot_id: "fake".to_owned() };
        Box::new(FakeProcess { table: Arc::clone(&self.table), identity, ended })
    }
}

fn end(table: &mut Table, index: usize, status: ExitStatus) {
    let worker = &mut table.workers[index];
    worker.lock = None;
    worker.ended.send_replace(Some(Exit::Status(status)));
}

impl Launcher for FakeLauncher {
    fn files_of(&self, uid: u32) -> BoxFuture<'_, Result<Option<Owner>, AccountError>> {
        self.table().looked_up.push(uid);
        Box::pin(future::ready(Ok(None)))
    }

    fn worker<'a>(&'a self, directory: &'a JobDir, submission: &'a JobSubmission) -> BoxFuture<'a, Launched> {
        Box::pin(future::ready(self.start_worker(directory, submission)))
    }

    fn after<'a>(
        &'a self,
        directory: &'a JobDir,
        submission: Option<&'a JobSubmission>,
        what: After<'a>,
    ) -> BoxFuture<'a, Launched> {
        Box::pin(future::ready(match what {
            After::Sweep { state, cause } => self.sweep(directory, state, cause),
            After::GiveBack => self.try_to_give_back(directory, submission),
        }))
    }

    /// No daemon is started again here: `tests/it/lifecycle.rs` does that, with processes.
    fn adopt(
        &self,
        _: &JobDir,
        _: u32,
        identity: &ProcessIdentity,
    ) -> Result<Option<Box<dyn JobProcess>>, LaunchError> {
        let mut table = self.table();
        let worker = table.workers.get(identity.pid as usize - 1).filter(|worker| worker.lock.is_some());
        let found = worker.map(|worker| self.process(identity.pid, worker.ended.subscribe()));
        table.found.extend(found.as_ref().map(|_| identity.pid));
        Ok(found)
    }
}

impl FakeLauncher {
    fn start_worker(&self, directory: &JobDir, submission: &JobSubmission) -> Launched {
        let mut table = self.table();
        let confined = if submission.environment.contains_key(KILN_CONFINED) { " confined" } else { "" };
        table.calls.push(format!("worker {}{confined}", submission.template));
        if let Some(left) = table.absences.checked_sub(1) {
            table.absences = left;
            let source = zbus::Error::InputOutput(Arc::new(std::io::Error::from_raw_os_error(2)));
            let address = "unix:path=/fake".to_owned();
            return Err(UnitError::Unreachable { address, was_there: true, source }.into());
        }
        if let Some(reason) = table.refusals.pop_front() {
            let source = std::io::Error::other(reason);
            return Err(LaunchError::Start { program: "fake".to_owned(), source });
        }
        let lost = || UnitError::Lost { unit: "kiln-job-fake.service".to_owned() };
        if table.comes_late {
            return Err(lost().into());
        }
        let is_lost = std::mem::take(&mut table.loses_next);
        drop(table);
        let process = self.begin_to_work(directory)?;
        if is_lost {
            directory.write_identity(process.identity())?;
            return Err(lost().into());
        }
        Ok(process)
    }

    fn begin_to_work(&self, directory: &JobDir) -> Launched {
        let (ended, receiver) = watch::channel(None);
        let lock = Some(directory.lock()?.expect("nobody else works on it"));
        let mut table = self.table();
        table.workers.push(Worker { directory: directory.clone(), lock, ended });
        let pid = u32::try_from(table.workers.len()).unwrap();
        drop(table);
        self.say(pid as usize - 1, None, EventBody::JobStarted { pid, version: "fake".to_owned() });
        Ok(self.process(pid, receiver))
    }

    fn sweep(&self, directory: &JobDir, state: JobState, cause: &str) -> Launched {
        self.table().calls.push(format!("sweeper {state}: {cause}"));
        let is_late = std::mem::take(&mut self.table().comes_late);
        if is_late {
            let worker = self.begin_to_work(directory)?;
            directory.write_identity(worker.identity())?;
        }
        let Some(_lock) = directory.lock()? else {
            let (_, ended) = watch::channel(Some(Exit::Status(ExitStatus::from_raw(75 << 8))));
            return Ok(self.process(0, ended));
        };
        let body = EventBody::JobFinished { state, exit_code: 1, elapsed_us: 0, error: Some(cause.to_owned()) };
        EventWriter::open(&directory.events()).unwrap().append(None, body).unwrap();
        let (_, ended) = watch::channel(Some(Exit::Status(ExitStatus::from_raw(0))));
        Ok(self.process(0, ended))
    }

    fn try_to_give_back(&self, directory: &JobDir, submission: Option<&JobSubmission>) -> Launched {
        let path = submission.and_then(|submission| submission.environment.get("PATH"));
        let mut table = self.table();
        table.calls.push(format!("give back with PATH {path:?}"));
        if table.hangs_with.is_some() && path.map(String::as_str) == table.hangs_with {
            let (ended, never) = watch::channel(None);
            table.hanging.push(ended);
            return Ok(self.process(0, never));
        }
        let _lock = directory.lock()?.expect("the worker is gone");
        let reasons: Vec<_> = table.stays.iter().map(ToString::to_string).collect();
        if reasons.is_empty() {
            std::fs::remove_file(directory.ledger()).unwrap();
        }
        directory.write_left(&reasons)?;
        let (_, ended) = watch::channel(Some(Exit::Status(ExitStatus::from_raw(0))));
        Ok(self.process(0, ended))
    }
}

impl JobProcess for FakeProcess {
    fn identity(&self) -> &ProcessIdentity {
        &self.identity
    }

    fn kill(&self) {
        let mut table = self.table.lock().unwrap();
        table.calls.push(format!("kill {}", self.identity.pid));
        if !table.outlive_kills {
            end(&mut table, self.identity.pid as usize - 1, ExitStatus::from_raw(9));
        }
    }

    fn ended(&mut self) -> BoxFuture<'_, Exit> {
        Box::pin(async {
            let exit = self.ended.wait_for(Option::is_some).await.ok();
            exit.and_then(|exit| *exit).unwrap_or(Exit::Unknown)
        })
    }
}
