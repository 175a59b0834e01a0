//! One step of a build: noted down, announced, timed, raced against a cancel, and tried again when its user says so.

use std::borrow::Cow;
use std::future::Future;

use futures_util::FutureExt as _;
use kiln_hypervisors::Machine;

use crate::context::{BuildContext, OnError};
use crate::error::{Answer, BuildError, StepError};
use crate::event::Event;
use crate::records::{Output, Phase};

/// Names a step and says what may be done when it fails.
pub(crate) struct Step<'a> {
    phase: Phase,
    /// What people are told: Packer's name for what one or more of our steps do.
    kind: &'static str,
    name: Cow<'static, str>,
    on_failure: OnFailure<'a>,
    /// Whether `-debug` pauses after it.
    pauses: bool,
}

/// What is offered to who wants to be asked.
enum OnFailure<'a> {
    /// Nothing: the build goes on to its end.
    NotAsked,
    /// To give up.
    Ask,
    /// To try again, too.
    Retry,
    /// To try again, too, as long as this machine runs.
    RetryOn(&'a dyn Machine),
    /// To try again, or to go on: nothing is left to clean up.
    RetryOrGoOn,
}

/// A question and its answers. Who cannot answer gives the first one: never the one that would fail for ever.
type Question = (&'static str, &'static [&'static str]);

const GIVE_UP: Question = ("[c] Clean up and exit, or [a] abort without cleanup?", &["c", "a"]);

const RETRY: Question = ("[c] Clean up and exit, [a] abort without cleanup, or [r] retry this step?", &["c", "a", "r"]);

const RETRY_OR_GO_ON: Question =
    ("[g] Give up this sequence and go on with the others, or [r] retry this step?", &["g", "r"]);

impl<'a> Step<'a> {
    fn new(phase: Phase, kind: &'static str, on_failure: OnFailure<'a>) -> Self {
        Self { phase, kind, name: Cow::Borrowed(kind), on_failure, pauses: true }
    }

    /// A step before there is a machine: it can be done again.
    pub(crate) fn prepare(name: &'static str) -> Self {
        Self::new(Phase::Prepare, name, OnFailure::Retry)
    }

    /// A step towards a guest that answers.
    pub(crate) fn bring_up(name: &'static str) -> Self {
        Self::new(Phase::BringUp, name, OnFailure::Ask)
    }

    /// Provisioner `number`, from 1.
    pub(crate) fn provision(number: usize, kind: &str) -> Self {
        let step = Self::new(Phase::Provision, PROVISION, OnFailure::Retry);
        Self { name: format!("provisioner {number} ({kind})").into(), pauses: false, ..step }
    }

    /// The error-cleanup-provisioner.
    pub(crate) fn clean_up_provisioner(kind: &str) -> Self {
        let step = Self::new(Phase::Provision, PROVISION, OnFailure::NotAsked);
        Self { name: format!("error-cleanup-provisioner ({kind})").into(), pauses: false, ..step }
    }

    /// A step from a guest that is ready to an artifact.
    pub(crate) fn finish(name: &'static str) -> Self {
        Self::new(Phase::Finish, name, OnFailure::Retry)
    }

    /// Post-processor `number`, from 1, counted over all sequences. What it works on is there whatever becomes of it.
    pub(crate) fn post_process(number: usize, kind: &str) -> Self {
        let step = Self::new(Phase::PostProcess, "post-process", OnFailure::RetryOrGoOn);
        Self { name: format!("post-processor {number} ({kind})").into(), ..step }
    }

    /// It can be tried again while `machine` runs.
    #[must_use]
    pub(crate) fn on(self, machine: Option<&'a dyn Machine>) -> Self {
        Self { on_failure: machine.map_or(OnFailure::Retry, OnFailure::RetryOn), ..self }
    }

    /// What somebody is asked when it has failed.
    fn question(&self) -> Option<Question> {
        match self.on_failure {
            OnFailure::NotAsked => None,
            OnFailure::Ask => Some(GIVE_UP),
            OnFailure::Retry => Some(RETRY),
            OnFailure::RetryOn(machine) if machine.exited().now_or_never().is_none() => Some(RETRY),
            OnFailure::RetryOn(_) => Some(GIVE_UP),
            OnFailure::RetryOrGoOn => Some(RETRY_OR_GO_ON),
        }
    }
}

/// Packer's one step for all provisioners.
pub(crate) const PROVISION: &str = "provision";

/// What is to be done about a failure.
enum Choice {
    Retry,
    GiveUp(Answer),
}

impl BuildContext {
    /// Runs a step that leaves nothing for later ones but what the plan says; see [`run_step`](Self::run_step).
    ///
    /// # Errors
    ///
    /// The step's own error, or a cancellation.
    pub(crate) async fn step<T, E: Into<StepError>, F: Future<Output = Result<T, E>>>(
        &self,
        step: Step<'_>,
        work: impl FnMut() -> F,
    ) -> Result<T, BuildError> {
        self.run_step(step, |_| None, work).await
    }

    /// Runs one step: notes it as an intent, does its `work` and notes what came of it, with the `outputs` that later steps
    /// need. With `-on-error=ask` its user says what happens after a failure, and may have it tried again.
    ///
    /// # Errors
    ///
    /// The step's own error, or a cancellation.
    pub(crate) async fn run_step<T, E: Into<StepError>, F: Future<Output = Result<T, E>>>(
        &self,
        step: Step<'_>,
        outputs: impl Fn(&T) -> Option<Output>,
        mut work: impl FnMut() -> F,
    ) -> Result<T, BuildError> {
        let number = self.chain.next();
        loop {
            let error = match self.attempt(&step, number, &outputs, work()).await {
                Ok(value) => {
                    if step.pauses {
                        self.pause_after(step.kind).await;
                    }
                    return Ok(value);
                }
                Err(error) => error,
            };
            if error.is_cancelled() || self.settings.on_error != OnError::Ask {
                return Err(error);
            }
            let Some(question) = step.question() else { return Err(error) };
            match self.ask_about(&error, question).await {
                Choice::Retry => {}
                Choice::GiveUp(answer) => return Err(error.answered(answer)),
            }
        }
    }

    async fn attempt<T, E: Into<StepError>>(
        &self,
        step: &Step<'_>,
        number: u32,
        outputs: impl Fn(&T) -> Option<Output>,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, BuildError> {
        let failed = |error| BuildError::new(step.kind, error);
        let open = self.chain.intend(number, step.phase, &step.name).await;
        let open = open.map_err(|error| failed(self.not_noted(error)))?;
        self.emit(Event::StepStarted { build: self.build.to_string(), step: step.name.to_string() });
        let fault = self.settings.fault.as_ref().filter(|fault| fault.step == step.name);
        if fault.is_some_and(|fault| fault.cancel) {
            self.cancel().cancel();
        }
        let result = tokio::select! {
            biased;
            () = self.cancel().cancelled() => Err(BuildError::cancelled(step.kind)),
            result = work => result.map_err(|error| failed(error.into())),
        };
        let result = match result {
            Ok(_) if fault.is_some() => Err(failed(StepError::new("a failure injected by a test"))),
            other => other,
        };
        let elapsed = open.elapsed();
        let ended = result.as_ref().map(outputs).map_err(|error| self.redactor.redact(&error.to_string()));
        let error = ended.as_ref().err().cloned();
        let noted = self.chain.end(open, ended).await.map_err(|error| failed(self.not_noted(error)));
        self.emit(Event::StepFinished {
            build: self.build.to_string(),
            step: step.name.to_string(),
            elapsed,
            error: error.or_else(|| noted.as_ref().err().map(ToString::to_string)),
        });
        // What failed is of more interest than that it could not be noted.
        result.and_then(|value| noted.map(|()| value))
    }

    fn not_noted(&self, error: std::io::Error) -> StepError {
        let path = self.chain.path().display();
        StepError::new(format!("cannot note the step in {path}: {error}"))
            .with_hint("a build does not go on with steps that a crash would forget: make room on that disk")
    }

    /// Pauses after the step or steps that people know as `kind`, with `-debug`.
    pub(crate) async fn pause_after(&self, kind: &str) {
        if self.settings.debug {
            self.pause(&format!("Pausing after run of step '{kind}'. Press enter to continue.")).await;
        }
    }

    /// Says what failed, where, and what to do next.
    pub(crate) fn tell(&self, error: &BuildError) {
        self.error(error.to_string());
        error.explanation().iter().for_each(|line| self.error(line));
    }

    /// Tells a failure that no step has asked about, and asks whether to clean up after it.
    pub(crate) async fn ask_to_give_up(&self, error: &BuildError) -> Answer {
        match self.ask_about(error, GIVE_UP).await {
            Choice::GiveUp(answer) => answer,
            Choice::Retry => Answer::CleanUp,
        }
    }

    async fn ask_about(&self, error: &BuildError, (text, choices): Question) -> Choice {
        self.tell(error);
        self.error(format!("Step {:?} failed", error.step));
        match self.ask(text, choices).await.as_str() {
            "r" => Choice::Retry,
            "a" => Choice::GiveUp(Answer::Abort),
            _ => Choice::GiveUp(Answer::CleanUp),
        }
    }
}
