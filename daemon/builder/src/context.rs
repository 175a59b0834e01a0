//! What every step of a build may use: its voice, its clean-ups, its settings and the word to stop.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use kiln_hypervisors::Machine;
use tokio_util::sync::CancellationToken;

use crate::cleanup::{CleanupId, CleanupStack};
use crate::control::Control;
use crate::error::{Answer, BuildError};
use crate::event::Event;
use crate::ledger::{Ledger, Resource};
use crate::left_in_guest::LeftInGuest;
use crate::plan_key::PlanKey;
use crate::records::Chain;
use crate::registrations::Registrations;
use crate::steps::sightings::Sightings;
use kiln_template::{Component, Redactor, Span};

/// Where events go.
pub type EventSink = Arc<dyn Fn(Event) + Send + Sync>;

/// What to do when a step fails; Packer's `-on-error`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// Give everything back (the default).
    #[default]
    Cleanup,
    /// Leave everything as it is and stop.
    Abort,
    /// Ask.
    Ask,
    /// Run the error-cleanup-provisioner, then leave everything as it is.
    RunCleanupProvisioner,
}

/// The settings all builds of a job share.
#[derive(Debug, Clone)]
pub(crate) struct JobSettings {
    /// Replace what is there already (`-force`).
    pub force: bool,
    /// Pause after each step (`-debug`).
    pub debug: bool,
    /// What to do when a step fails.
    pub on_error: OnError,
    /// The job's directory: ledger, saved screens and serial logs.
    pub job_dir: PathBuf,
    /// A short directory for sockets, made by the caller.
    pub runtime_dir: PathBuf,
    /// Downloads and probe results.
    pub cache_dir: PathBuf,
    /// The key of plan digests.
    pub plan_key: PlanKey,
    /// `PACKER_RUN_UUID`.
    pub run_uuid: String,
    /// The files of the template.
    pub template_files: Vec<TemplateFile>,
    /// The texts of variables that the environment gave and that are no secrets.
    pub of_environment: BTreeMap<String, String>,
    /// File and line of each component of the template.
    pub places: HashMap<Span, String>,
    /// Checked at every step by tests that make one fail; `None` otherwise.
    pub fault: Option<Fault>,
}

/// A file of the template, as it was when the job began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplateFile {
    /// Its path as people know it.
    pub name: String,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
}

/// A step that a test makes fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The step's name.
    pub step: &'static str,
    /// True: cancel the job when the step begins; false: let the step fail after it has done its work.
    pub cancel: bool,
}

/// One build's context. Cheap to clone; all clones are the same build.
#[derive(Clone)]
pub(crate) struct BuildContext {
    /// The full build name, such as `qemu.web`.
    pub build: Arc<str>,
    /// The job's settings.
    pub settings: Arc<JobSettings>,
    /// The job's ledger of resources.
    pub ledger: Arc<Ledger>,
    /// The build's machines where their hypervisor keeps them; its hypervisor notes everything through this.
    pub registrations: Arc<Registrations>,
    /// Requests from outside: cancel, screens, answers.
    pub control: Control,
    /// The job's secrets.
    pub redactor: Redactor,
    /// Its steps, as they are noted down.
    pub chain: Arc<Chain>,
    /// The file of the installer or disk image, once it has been fetched.
    pub fetched: Arc<OnceLock<PathBuf>>,
    /// What was seen of the guest.
    pub sightings: Arc<Sightings>,
    /// What is to be removed from the guest when it is reached again.
    pub left_in_guest: Arc<LeftInGuest>,
    sink: EventSink,
    target: Option<Arc<str>>,
    cleanups: Arc<Mutex<CleanupStack>>,
}

impl BuildContext {
    /// A context for the build named `build`.
    pub(crate) fn new(
        build: &str,
        settings: Arc<JobSettings>,
        ledger: Arc<Ledger>,
        chain: Chain,
        control: Control,
        redactor: Redactor,
        sink: EventSink,
    ) -> Self {
        Self {
            build: build.into(),
            settings,
            registrations: Arc::new(Registrations::new(ledger.clone())),
            ledger,
            control,
            redactor,
            chain: Arc::new(chain),
            fetched: Arc::default(),
            sightings: Arc::default(),
            left_in_guest: Arc::default(),
            sink,
            target: None,
            cleanups: Arc::default(),
        }
    }

    /// A context for another machine of the same build, with clean-ups, records and sightings of its own.
    pub(crate) fn beside(&self, settings: Arc<JobSettings>, chain: Chain) -> Self {
        Self {
            settings,
            registrations: Arc::new(Registrations::new(self.ledger.clone())),
            chain: Arc::new(chain),
            sightings: Arc::default(),
            left_in_guest: Arc::default(),
            cleanups: Arc::default(),
            ..self.clone()
        }
    }

    /// Names a part of the template, with file and line: `provisioner "shell" in web.pkr.hcl line 12`.
    pub(crate) fn place(&self, block: &str, component: &Component) -> Option<String> {
        let place = self.settings.places.get(&component.span)?;
        Some(format!("{block} {:?} in {place}", component.kind))
    }

    /// The token that is cancelled when the job is.
    pub(crate) fn cancel(&self) -> &CancellationToken {
        self.control.cancel_token()
    }

    /// Emits `event` as it is. Text that may hold secrets goes through the methods below.
    pub(crate) fn emit(&self, event: Event) {
        (self.sink)(event);
    }

    /// Says a line of Kiln's own.
    pub(crate) fn say(&self, text: impl AsRef<str>) {
        let (build, target, text) = self.words(text.as_ref());
        self.emit(Event::Say { build, target, text });
    }

    fn words(&self, text: &str) -> (Option<String>, Option<String>, String) {
        let target = self.target.as_ref().map(ToString::to_string);
        (Some(self.build.to_string()), target, self.redactor.redact(text))
    }

    /// The same build, with the post-processor `kind` speaking: Packer's prefix `NAME (kind)`.
    pub(crate) fn speaking_as(&self, kind: &str) -> Self {
        Self { target: Some(format!("{} ({kind})", self.build).into()), ..self.clone() }
    }

    /// Passes on output of a guest or a command.
    pub(crate) fn message(&self, text: impl AsRef<str>) {
        let (build, target, text) = self.words(text.as_ref());
        self.emit(Event::Message { build, target, text });
    }

    /// Says an error line.
    pub(crate) fn error(&self, text: impl AsRef<str>) {
        let (build, target, text) = self.words(text.as_ref());
        self.emit(Event::Error { build, target, output: false, text });
    }

    /// Passes on what a guest or a command wrote to its standard error.
    pub(crate) fn error_output(&self, text: impl AsRef<str>) {
        let (build, target, text) = self.words(text.as_ref());
        self.emit(Event::Error { build, target, output: true, text });
    }

    /// Says that something is waited for, `limit` at most; the wait is over when the guard goes. People see how long it has
    /// taken, so every wait of more than two seconds belongs in one.
    #[must_use]
    pub(crate) fn waiting(&self, what: &str, limit: Option<Duration>) -> Waiting {
        let what = self.redactor.redact(what);
        self.emit(Event::Waiting { build: Some(self.build.to_string()), what: what.clone(), limit });
        Waiting { context: self.clone(), what }
    }

    /// Reports how far something has come.
    pub(crate) fn progress(&self, what: &str, done: u64, total: Option<u64>) {
        let what = self.redactor.redact(what);
        self.emit(Event::Progress { build: self.build.to_string(), what, done, total });
    }

    async fn pause_before_cleanup(&self, step: &str) {
        self.pause(&format!("Pausing before cleanup of step '{step}'. Press enter to continue.")).await;
    }

    pub(crate) async fn pause(&self, text: &str) {
        self.ask(text, &["continue"]).await;
    }

    /// Asks a durable question; the first of `choices` is the answer when nobody can give one, or when the job is cancelled meanwhile.
    pub(crate) async fn ask(&self, text: &str, choices: &[&str]) -> String {
        // A guest that is off is reached by nothing.
        let is_off = |machine: Arc<dyn Machine>| machine.exited().now_or_never().is_some();
        let way_in =
            self.control.way_in(&self.build).filter(|_| !self.control.machine(&self.build).is_some_and(is_off));
        let key = way_in.as_ref().and_then(|way_in| {
            let lent = way_in.lend_key(&self.build, &self.settings.job_dir, &self.ledger);
            lent.unwrap_or_else(|error| {
                self.error(format!("the temporary key cannot be written for you: {error}"));
                None
            })
        });
        let (id, answer) = self.control.open_prompt(choices);
        self.emit(Event::Prompt {
            build: self.build.to_string(),
            id,
            text: self.redactor.redact(text),
            choices: choices.iter().map(|&choice| choice.to_owned()).collect(),
            guest: way_in.and_then(|way_in| way_in.command(key.as_ref())).map(|text| self.redactor.redact(&text)),
        });
        let answer = tokio::select! {
            answer = answer => Some(answer),
            () = self.cancel().cancelled() => None,
        };
        self.control.close_prompt(id);
        // Nobody has given the answer of who cancels.
        let told = answer.clone().unwrap_or_default();
        self.emit(Event::PromptClosed { build: self.build.to_string(), id, answer: told });
        answer.or_else(|| Some((*choices.first()?).to_owned())).unwrap_or_default()
    }

    /// Pushes a clean-up; see [`CleanupStack::push`].
    pub(crate) fn on_cleanup<F, Fut>(&self, step: &'static str, what: impl Into<String>, action: F) -> CleanupId
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.lock().push(step, what, action)
    }

    /// Drops a clean-up: what it guarded is meant to stay.
    pub(crate) fn disarm(&self, id: CleanupId) {
        self.lock().disarm(id);
    }

    /// Runs every clean-up, the last first, and says which did not work. With `-debug`, pauses before those of each step, and of
    /// the one that failed even when it has none: what it left in the guest goes with the others'.
    pub(crate) async fn clean_up(&self, failed: Option<&'static str>) {
        let next = self.lock().next_step();
        if let Some(step) = failed.filter(|step| self.settings.debug && next != Some(step)) {
            self.pause_before_cleanup(step).await;
        }
        self.clean_up_after(CleanupId::default()).await;
    }

    /// Runs the clean-ups that were pushed after `mark`, the last first. Those that are pushed meanwhile are another's, and wait; so do those
    /// that have not begun when this is dropped.
    pub(crate) async fn clean_up_after(&self, mark: CleanupId) {
        let newest = self.newest_clean_up();
        let mut paused_for = None;
        loop {
            // Not in the condition, which would hold the lock.
            let next = self.lock().step_of_next(mark, newest);
            let Some(step) = next else { return };
            if self.settings.debug && paused_for.replace(step) != Some(step) {
                self.pause_before_cleanup(step).await;
            }
            let next = self.lock().take_next(mark, newest);
            let Some(entry) = next else { return };
            let _wait = self.waiting("clean-up", None);
            if let Err(failure) = entry.run().await {
                self.error(format!("Cannot {}: {}", failure.what, failure.error));
            }
        }
    }

    /// The clean-up that was pushed last: what comes later is after it.
    pub(crate) fn newest_clean_up(&self) -> CleanupId {
        self.lock().newest()
    }

    /// Whether a clean-up that was pushed after `mark` is still to be run, or to be run again.
    pub(crate) fn has_clean_ups_after(&self, mark: CleanupId) -> bool {
        self.lock().has_after(mark)
    }

    /// Says what files a clean-up gives back: abandoned, they stay, and are the person's who wanted that.
    pub(crate) fn gives_back(&self, id: CleanupId, resource: Resource) {
        self.lock().gives_back(id, resource);
    }

    /// The files that clean-ups would give back.
    pub(crate) fn files_to_give_back(&self) -> Vec<Resource> {
        self.lock().files()
    }

    /// Forgets every clean-up (`-on-error=abort`). No sweep takes the files away later.
    pub(crate) fn abandon(&self) {
        let stack = std::mem::take(&mut *self.lock());
        stack.files().iter().for_each(|resource| self.ledger.released(resource));
    }

    /// Whether what the build has made stays after this failure of it, and its machine ends.
    pub(crate) fn aborts_after(&self, error: &BuildError) -> bool {
        let aborts = matches!(self.settings.on_error, OnError::Abort | OnError::RunCleanupProvisioner);
        !error.is_cancelled() && error.answer().map_or(aborts, |answer| answer == Answer::Abort)
    }

    /// Drops every clean-up without a word. They know the context that knows them, so nobody else ends that circle.
    pub(crate) fn let_go(&self) {
        let stack = std::mem::take(&mut *self.lock());
        drop(stack);
    }

    /// Notes a file or directory in the ledger and removes it on clean-up, unless a machine that may use it is still there.
    pub(crate) fn own_path(&self, step: &'static str, resource: Resource) -> CleanupId {
        self.ledger.acquired(&resource);
        let (ledger, registrations) = (self.ledger.clone(), self.registrations.clone());
        let (Resource::File { path } | Resource::Directory { path }) = resource.clone() else {
            return self.on_cleanup(step, "forget a process", || async { Ok(()) });
        };
        let noted = resource.clone();
        let id = self.on_cleanup(step, format!("remove {}", path.display()), move || async move {
            registrations.check()?;
            let removed = match &resource {
                Resource::Directory { .. } => tokio::fs::remove_dir_all(&path).await,
                _ => tokio::fs::remove_file(&path).await,
            };
            match removed {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.to_string()),
                _ => {
                    ledger.released(&resource);
                    Ok(())
                }
            }
        });
        self.gives_back(id, noted);
        id
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, CleanupStack> {
        self.cleanups.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A wait that people are told of; see [`BuildContext::waiting`].
pub(crate) struct Waiting {
    context: BuildContext,
    what: String,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let what = std::mem::take(&mut self.what);
        self.context.emit(Event::WaitFinished { build: Some(self.context.build.to_string()), what });
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A build that nobody listens to, with a job's directory of its own.
    pub(crate) fn a_build() -> (BuildContext, tempfile::TempDir) {
        a_build_told(&[], Arc::new(|_| {}))
    }

    /// A build whose events go to `sink`, and from whose texts `secrets` are removed.
    pub(crate) fn a_build_told(secrets: &[&str], sink: EventSink) -> (BuildContext, tempfile::TempDir) {
        let job = tempfile::tempdir().unwrap();
        let settings = JobSettings {
            force: false,
            debug: false,
            on_error: OnError::Cleanup,
            job_dir: job.path().to_owned(),
            runtime_dir: job.path().to_owned(),
            cache_dir: job.path().to_owned(),
            plan_key: PlanKey::new(&[]),
            run_uuid: String::new(),
            template_files: Vec::new(),
            of_environment: BTreeMap::new(),
            places: HashMap::new(),
            fault: None,
        };
        let context = BuildContext::new(
            "null.x",
            Arc::new(settings),
            Arc::new(Ledger::open(job.path()).unwrap()),
            Chain::new("null.x", crate::records::RecordFile::open(job.path()).unwrap()),
            Control::unattended(),
            Redactor::new(secrets.iter().map(|&secret| secret.to_owned())),
            sink,
        );
        (context, job)
    }

    impl BuildContext {
        /// What its ledger says.
        pub(crate) fn ledger_text(&self) -> String {
            std::fs::read_to_string(self.settings.job_dir.join(crate::ledger::FILE_NAME)).unwrap()
        }
    }
}
