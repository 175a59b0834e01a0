//! A job from its template to its artifacts: check the template, run every build.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;

use crate::backends::Backends;
use crate::built::PlannedBuild;
use crate::check::{CheckRequest, Checked, Wanted, check};
use crate::context::{BuildContext, EventSink, JobSettings, OnError};
use crate::control::Control;
use crate::error::StepError;
use crate::event::Event;
use crate::ledger::Ledger;
use crate::plan_key::PlanKey;
use crate::plan_reader::Purpose;
use crate::records::{Chain, RecordFile};
use crate::resume::{self, Checkpoint, Known, Resumption};
use crate::run;
use crate::sources;

/// What a job is asked to do.
#[derive(Debug, Clone)]
pub struct JobRequest {
    /// The template and its variables.
    pub template: CheckRequest,
    /// `-debug`.
    pub debug: bool,
    /// `-on-error`.
    pub on_error: OnError,
    /// `-parallel-builds`; 0 for no limit.
    pub parallel_builds: usize,
    /// The job's directory, for its ledger and what it saves.
    pub job_dir: PathBuf,
    /// What outlives jobs: the key of plan digests, which is made when there is none.
    pub state_dir: PathBuf,
    /// A short directory for sockets, which exists.
    pub runtime_dir: PathBuf,
    /// Downloads and probe results.
    pub cache_dir: PathBuf,
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobOutcome {
    /// 0 when every build succeeded, else 1.
    pub exit_code: u8,
    /// The job was cancelled.
    pub cancelled: bool,
}

/// Runs a job to its end. All that happens is told to `sink`; `control` cancels and asks.
pub async fn run_job(request: JobRequest, sink: EventSink, control: Control) -> JobOutcome {
    let backends = Backends::real(&request.cache_dir, &request.template.environment);
    run_job_with(request, sink, control, backends).await
}

/// [`run_job`] with hypervisors and communicators of the caller's choice.
pub async fn run_job_with(request: JobRequest, sink: EventSink, control: Control, backends: Backends) -> JobOutcome {
    run_from(None, request, sink, control, backends).await
}

/// Goes on with builds of a job that another process has begun in the same `job_dir`, each from its checkpoint; builds without one
/// are not run. Nothing is touched unless the template still says what it said then, and the records reach as far as each
/// checkpoint.
pub async fn resume_job_with(
    request: JobRequest,
    sink: EventSink,
    control: Control,
    backends: Backends,
    checkpoints: Vec<Checkpoint>,
) -> JobOutcome {
    run_from(Some(checkpoints), request, sink, control, backends).await
}

async fn run_from(
    checkpoints: Option<Vec<Checkpoint>>,
    request: JobRequest,
    sink: EventSink,
    control: Control,
    backends: Backends,
) -> JobOutcome {
    let purpose = if checkpoints.is_some() { Purpose::Resume } else { Purpose::Build };
    let cancel = control.cancel_token();
    let checking = {
        let (template, backends, sink) = (request.template.clone(), backends.clone(), sink.clone());
        // Data sources are fetched meanwhile.
        tokio::task::spawn_blocking(move || check(&template, purpose, &backends, sink))
    };
    let checked = tokio::select! {
        checked = checking => checked,
        () = cancel.cancelled() => return JobOutcome { exit_code: 1, cancelled: true },
    };
    let checked = match checked {
        Ok(checked) => checked,
        Err(error) => {
            let text = format!("the template could not be checked, which is a bug in Kiln: {error}");
            sink(Event::Error { build: None, target: None, output: false, text });
            return JobOutcome { exit_code: 1, cancelled: false };
        }
    };
    let mut checked = checked;
    checked.refuse_unbuilt();
    report(&sink, &checked);
    // Packer builds what it can and fails at the end. A template with errors is not a thing to spend an hour on:
    // nothing is started (docs/differences.md).
    if !checked.valid {
        return JobOutcome { exit_code: 1, cancelled: false };
    }
    run_builds(checkpoints, request, sink, control, backends, checked).await
}

async fn run_builds(
    checkpoints: Option<Vec<Checkpoint>>,
    request: JobRequest,
    sink: EventSink,
    control: Control,
    backends: Backends,
    checked: Checked,
) -> JobOutcome {
    let (places, template_files) = (checked.places(), checked.template_files(&request.template.template));
    let Checked { planned, redactor, of_environment, .. } = checked;
    let started = open(checkpoints, &request, &planned);
    let Started { ledger, plan_key, records, mut resumed } = match started {
        Ok(started) => started,
        Err(error) => {
            let hint = error.hint().map(|hint| format!("hint: {hint}"));
            for text in [Some(error.to_string()), hint].into_iter().flatten() {
                sink(Event::Error { build: None, target: None, output: false, text });
            }
            return JobOutcome { exit_code: 1, cancelled: false };
        }
    };
    if resumed.as_ref().is_some_and(|resumed| resumed.cut_short) {
        let text = "The last record of the job was cut short: the step it was of is done again.".to_owned();
        sink(Event::Say { build: None, target: None, text });
    }
    let run_uuid = resumed.as_ref().and_then(Resumption::run_uuid);
    let settings = Arc::new(JobSettings {
        force: request.template.force,
        debug: request.debug,
        on_error: request.on_error,
        job_dir: request.job_dir,
        runtime_dir: request.runtime_dir,
        cache_dir: request.cache_dir,
        template_files,
        of_environment,
        places,
        plan_key,
        run_uuid: run_uuid.unwrap_or_else(|| uuid::Uuid::new_v4().to_string()),
        fault: backends.fault.clone(),
    });
    for (position, build) in (0..).zip(&planned) {
        sink(Event::BuildPlanned { build: build.build.name.clone(), position });
    }
    let at_once = match request.parallel_builds {
        _ if request.debug => 1,
        0 => Semaphore::MAX_PERMITS,
        limit => limit.min(Semaphore::MAX_PERMITS),
    };
    let places = Arc::new(Semaphore::new(at_once));
    let mut running = tokio::task::JoinSet::new();
    for (index, planned) in planned.into_iter().enumerate() {
        let name = planned.build.name.as_str();
        let mut chain = Chain::new(name, records.clone());
        if let Some(resumed) = &mut resumed {
            let Some(resumed) = resumed.builds.remove(name) else { continue };
            chain = chain.resumed(resumed);
        }
        let context = BuildContext::new(
            name,
            settings.clone(),
            ledger.clone(),
            chain,
            control.clone(),
            redactor.clone(),
            sink.clone(),
        );
        let (places, backends) = (places.clone(), backends.clone());
        running.spawn(async move {
            let _held = Held(&context);
            let _place = tokio::select! {
                // In order: the first build gets the first place.
                biased;
                place = places.acquire_owned() => place.ok(),
                () = context.cancel().cancelled() => None,
            };
            let started = Instant::now();
            let result = run::run_build(index, &planned, &context, &backends).await;
            let cancelled = result.as_ref().is_err_and(|failure| failure.cancelled);
            let error = result.as_ref().err().map(|failure| context.redactor.redact(&failure.text));
            context.emit(Event::BuildFinished {
                build: planned.build.name.clone(),
                elapsed: started.elapsed(),
                error,
                cancelled,
            });
            result.is_ok()
        });
    }
    let mut all_good = true;
    while let Some(result) = running.join_next().await {
        match result {
            Ok(good) => all_good &= good,
            Err(error) => {
                all_good = false;
                let text = format!("a build ended abnormally, which is a bug in Kiln: {error}");
                sink(Event::Error { build: None, target: None, output: false, text });
            }
        }
    }
    JobOutcome { exit_code: u8::from(!all_good), cancelled: control.cancel_token().is_cancelled() }
}

/// What a build holds, which goes with it even when its job is dropped before it has ended.
struct Held<'a>(&'a BuildContext);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

/// What a job has open from its first build to its last.
struct Started {
    ledger: Arc<Ledger>,
    plan_key: PlanKey,
    records: RecordFile,
    /// `None`: it begins.
    resumed: Option<Resumption>,
}

fn open(
    checkpoints: Option<Vec<Checkpoint>>,
    request: &JobRequest,
    planned: &[PlannedBuild],
) -> Result<Started, StepError> {
    let job_dir = &request.job_dir;
    let failed = |what: &str, error: std::io::Error| {
        StepError::new(format!("cannot open {what} in {}", job_dir.display())).with_source(error)
    };
    let plan_key = PlanKey::load(&request.state_dir).map_err(StepError::wrap)?;
    // Before anything is opened to be written.
    let resumed = match checkpoints {
        Some(checkpoints) => Some(resumption(checkpoints, job_dir, planned, &plan_key)?),
        None => None,
    };
    let ledger = Ledger::open(job_dir).map_err(|error| failed("the resource ledger", error))?;
    let records = RecordFile::open(job_dir).map_err(|error| failed("the records of the steps", error))?;
    Ok(Started { ledger: Arc::new(ledger), plan_key, records, resumed })
}

fn resumption(
    checkpoints: Vec<Checkpoint>,
    job_dir: &Path,
    planned: &[PlannedBuild],
    key: &PlanKey,
) -> Result<Resumption, StepError> {
    let known = |planned: &PlannedBuild| {
        let hypervisor = sources::machine(&planned.plan.source).map(|builder| builder.hypervisor());
        Ok(Known { build: planned.build.name.clone(), plan: run::plan_digest(planned, key)?, hypervisor })
    };
    let known = planned.iter().map(known).collect::<Result<Vec<_>, StepError>>()?;
    resume::find(job_dir, checkpoints, &known).map_err(|error| {
        let hint = error.hint();
        StepError::wrap(error).with_hint(hint)
    })
}

fn report(sink: &EventSink, checked: &Checked) {
    let problems = checked.problems(Wanted::Both);
    if problems.is_empty() {
        return;
    }
    sink(Event::Diagnostics {
        text: problems.iter().map(|problem| problem.text.as_str()).collect(),
        has_errors: problems.iter().any(|problem| problem.is_error),
        json: problems.into_iter().map(|problem| problem.json).collect(),
    });
}
