//! A job from its template to its artifacts: check the template, run every build.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;

use crate::backends::Backends;
use crate::check::{CheckRequest, Checked, check};
use crate::context::{BuildContext, EventSink, JobSettings, OnError};
use crate::control::Control;
use crate::error::StepError;
use crate::event::Event;
use crate::ledger::Ledger;
use crate::plan_key::PlanKey;
use crate::plan_reader::Purpose;
use crate::records::{Chain, RecordFile};
use crate::run;

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
    let backends = Backends::real(&request.cache_dir);
    run_job_with(request, sink, control, backends).await
}

/// [`run_job`] with hypervisors and communicators of the caller's choice.
pub async fn run_job_with(request: JobRequest, sink: EventSink, control: Control, backends: Backends) -> JobOutcome {
    let cancel = control.cancel_token();
    let checking = {
        let (template, backends) = (request.template.clone(), backends.clone());
        // Data sources are fetched meanwhile.
        tokio::task::spawn_blocking(move || check(&template, Purpose::Build, &backends))
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
    run_builds(request, sink, control, backends, checked).await
}

async fn run_builds(
    request: JobRequest,
    sink: EventSink,
    control: Control,
    backends: Backends,
    checked: Checked,
) -> JobOutcome {
    let places = checked.places();
    let (planned, redactor) = (checked.planned, checked.redactor);
    let ledger = match Ledger::open(&request.job_dir) {
        Ok(ledger) => Arc::new(ledger),
        Err(error) => {
            let text = format!("cannot open the resource ledger in {}: {error}", request.job_dir.display());
            sink(Event::Error { build: None, target: None, output: false, text });
            return JobOutcome { exit_code: 1, cancelled: false };
        }
    };
    let plan_key = match PlanKey::load(&request.state_dir) {
        Ok(key) => key,
        Err(error) => {
            let text = StepError::wrap(error).to_string();
            sink(Event::Error { build: None, target: None, output: false, text });
            return JobOutcome { exit_code: 1, cancelled: false };
        }
    };
    let records = match RecordFile::open(&request.job_dir) {
        Ok(records) => records,
        Err(error) => {
            let text = format!("cannot open the records of the steps in {}: {error}", request.job_dir.display());
            sink(Event::Error { build: None, target: None, output: false, text });
            return JobOutcome { exit_code: 1, cancelled: false };
        }
    };
    let settings = Arc::new(JobSettings {
        force: request.template.force,
        debug: request.debug,
        on_error: request.on_error,
        job_dir: request.job_dir,
        runtime_dir: request.runtime_dir,
        cache_dir: request.cache_dir,
        places,
        plan_key,
        run_uuid: uuid::Uuid::new_v4().to_string(),
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
        let context = BuildContext::new(
            &planned.build.name,
            settings.clone(),
            ledger.clone(),
            Chain::new(&planned.build.name, records.clone()),
            control.clone(),
            redactor.clone(),
            sink.clone(),
        );
        let (places, backends) = (places.clone(), backends.clone());
        running.spawn(async move {
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

fn report(sink: &EventSink, checked: &Checked) {
    let problems = checked.problems(false);
    if problems.is_empty() {
        return;
    }
    sink(Event::Diagnostics {
        text: problems.iter().map(|problem| problem.text.as_str()).collect(),
        has_errors: problems.iter().any(|problem| problem.is_error),
        json: problems.into_iter().map(|problem| problem.json).collect(),
    });
}
