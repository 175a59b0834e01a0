//! A job from its template to its artifacts: load, plan every build, run them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use kiln_template::{Diagnostics, Evaluated, EvaluatedBuild, Generated, Inputs, OsFiles, SourceMap, Style, load};
use tokio::sync::Semaphore;

use crate::backends::Backends;
use crate::catalog::BuiltIn;
use crate::context::{BuildContext, EventSink, JobSettings, OnError};
use crate::control::Control;
use crate::event::Event;
use crate::ledger::Ledger;
use crate::plan::{PlanReader, SourcePlan};
use crate::redact::Redactor;
use crate::run::{self, PlannedBuild};
use crate::sources;
use crate::{post_processors, provisioners};

/// What a job is asked to do. Paths are relative to `cwd`, which must be the process's working directory too.
#[derive(Debug, Clone)]
pub struct JobRequest {
    /// Build, or only say whether it could be built.
    pub action: Action,
    /// The template: a file or a directory.
    pub template: PathBuf,
    /// The caller's working directory, absolute.
    pub cwd: PathBuf,
    /// The caller's environment.
    pub environment: BTreeMap<String, String>,
    /// `-var`, as `NAME=VALUE`.
    pub vars: Vec<String>,
    /// `-var-file`.
    pub var_files: Vec<PathBuf>,
    /// `-only`.
    pub only: Vec<String>,
    /// `-except`.
    pub except: Vec<String>,
    /// `-force`.
    pub force: bool,
    /// `-debug`.
    pub debug: bool,
    /// `-on-error`.
    pub on_error: OnError,
    /// `-parallel-builds`; 0 for no limit.
    pub parallel_builds: usize,
    /// `-warn-on-undeclared-var`.
    pub warn_on_undeclared_var: bool,
    /// The job's directory, for its ledger and what it saves.
    pub job_dir: PathBuf,
    /// A short directory for sockets, which exists.
    pub runtime_dir: PathBuf,
    /// Downloads and probe results.
    pub cache_dir: PathBuf,
}

/// What is to be done with the template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Build it.
    Build,
    /// Check it, with everything that can be checked without building.
    Validate,
    /// Check its syntax only.
    ValidateSyntax,
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
    let failed = JobOutcome { exit_code: 1, cancelled: false };
    let (evaluated, mut diagnostics, source_map) = read_template(&request);
    if request.action == Action::ValidateSyntax {
        let ok = !diagnostics.has_errors();
        report(&sink, &diagnostics, &source_map, &Redactor::default());
        if ok {
            say(&sink, "Syntax-only check passed. Everything looks okay.");
        }
        return JobOutcome { exit_code: u8::from(!ok), cancelled: false };
    }
    let Some(evaluated) = evaluated else {
        report(&sink, &diagnostics, &source_map, &Redactor::default());
        return failed;
    };
    let redactor = Redactor::new(evaluated.sensitive.iter().cloned());
    let mentions_key = source_map
        .files()
        .any(|(_, file)| ["SSHPublicKey", "SSHPrivateKey"].iter().any(|name| file.text().contains(name)));
    let mut planned = Vec::new();
    let mut prepared_all = !diagnostics.has_errors();
    let none_selected = evaluated.builds.is_empty();
    for build in evaluated.builds {
        let (plan, problems) = plan_build(&build, &request, mentions_key, &backends);
        prepared_all &= !problems.has_errors();
        if let Some(plan) = plan.filter(|_| !problems.has_errors()) {
            secrets_of(&plan).for_each(|secret| redactor.add(secret));
            planned.push(PlannedBuild { build, plan });
        }
        diagnostics.extend(problems);
    }
    if none_selected && !diagnostics.has_errors() {
        let detail = "The template has no build, or -only and -except leave none.";
        diagnostics.push(kiln_template::Diagnostic::error("No builds to run", detail));
        prepared_all = false;
    }
    report(&sink, &diagnostics, &source_map, &redactor);
    if request.action == Action::Validate {
        if prepared_all {
            say(&sink, "The configuration is valid.");
        }
        return JobOutcome { exit_code: u8::from(!prepared_all), cancelled: false };
    }
    // Packer builds what it can and fails at the end. A template with errors is not a thing to spend an hour on:
    // nothing is started (docs/differences.md).
    if !prepared_all {
        return failed;
    }
    run_builds(request, sink, control, backends, planned, redactor).await
}

fn read_template(request: &JobRequest) -> (Option<Evaluated>, Diagnostics, SourceMap) {
    let inputs = Inputs {
        path: request.template.clone(),
        cwd: request.cwd.clone(),
        vars: request.vars.clone(),
        var_files: request.var_files.clone(),
        env: request.environment.clone(),
        only: request.only.clone(),
        except: request.except.clone(),
        now: jiff::Timestamp::now(),
        warn_on_undeclared_var: request.warn_on_undeclared_var,
    };
    let loaded = load(&inputs, Arc::new(OsFiles), &BuiltIn);
    (loaded.evaluated, loaded.diagnostics, loaded.sources)
}

fn plan_build(
    build: &EvaluatedBuild,
    request: &JobRequest,
    mentions_key: bool,
    backends: &Backends,
) -> (Option<SourcePlan>, Diagnostics) {
    let unknown = Generated::plan();
    // Checked on although some options are wrong: whoever mends a template wants to hear everything at once.
    let (options, mut diagnostics) = build.source.decode_partly(&unknown);
    let mut reader = PlanReader { options: &options, diagnostics: &mut diagnostics, mentions_key };
    let plan = match build.source_type.as_str() {
        "qemu" => {
            let plan = sources::qemu::plan::read(&mut reader, &build.source_name, request.force);
            sources::qemu::check_host(&plan, &mut reader, backends);
            SourcePlan::Qemu(Box::new(plan))
        }
        "file" => SourcePlan::File(sources::file::read(&mut reader)),
        _ => SourcePlan::Null(sources::null::read(&mut reader)),
    };
    for provisioner in build.provisioners.iter().chain(&build.cleanup_provisioner) {
        let (options, problems) = provisioner.component.decode_partly(&unknown);
        diagnostics.extend(problems);
        let mut reader = PlanReader { options: &options, diagnostics: &mut diagnostics, mentions_key };
        provisioners::check(&mut reader, &provisioner.component.kind);
    }
    for post_processor in build.post_processors.iter().flatten() {
        let (options, problems) = post_processor.component.decode_partly(&unknown);
        diagnostics.extend(problems);
        let mut reader = PlanReader { options: &options, diagnostics: &mut diagnostics, mentions_key };
        post_processors::check(&mut reader, &post_processor.component.kind);
    }
    let plan = (!diagnostics.has_errors()).then_some(plan);
    (plan, diagnostics)
}

/// A shorter password is a word that stands in ordinary text too (`vagrant`, `packer`, `root`), and hiding it there
/// would hide paths and names; the template marks it `sensitive` when it is a secret all the same.
const SECRET_LENGTH: usize = 8;

/// Passwords are secrets even when the template does not say so, unless they are everyday words.
fn secrets_of(plan: &SourcePlan) -> impl Iterator<Item = &str> {
    let communicator = match plan {
        SourcePlan::Qemu(plan) => Some(&plan.communicator),
        SourcePlan::Null(plan) => Some(&plan.communicator),
        SourcePlan::File(_) => None,
    };
    let ssh = match communicator {
        Some(crate::plan::CommunicatorPlan::Ssh(ssh)) => Some(ssh),
        _ => None,
    };
    ssh.into_iter().flat_map(|ssh| {
        let bastion = ssh.bastion.as_ref().and_then(|bastion| bastion.password.as_ref());
        let proxy = ssh.proxy.as_ref().and_then(|proxy| proxy.password.as_ref());
        let all = ssh.password.iter().chain(bastion).chain(proxy).map(crate::plan::Redacted::expose);
        all.filter(|secret| secret.len() >= SECRET_LENGTH && *secret != ssh.username)
    })
}

async fn run_builds(
    request: JobRequest,
    sink: EventSink,
    control: Control,
    backends: Backends,
    planned: Vec<PlannedBuild>,
    redactor: Redactor,
) -> JobOutcome {
    let ledger = match Ledger::open(&request.job_dir) {
        Ok(ledger) => Arc::new(ledger),
        Err(error) => {
            let text = format!("cannot open the resource ledger in {}: {error}", request.job_dir.display());
            sink(Event::Error { build: None, target: None, text });
            return JobOutcome { exit_code: 1, cancelled: false };
        }
    };
    let settings = Arc::new(JobSettings {
        force: request.force,
        debug: request.debug,
        on_error: request.on_error,
        job_dir: request.job_dir,
        runtime_dir: request.runtime_dir,
        cache_dir: request.cache_dir,
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
                sink(Event::Error { build: None, target: None, text });
            }
        }
    }
    JobOutcome { exit_code: u8::from(!all_good), cancelled: control.cancel_token().is_cancelled() }
}

fn report(sink: &EventSink, diagnostics: &Diagnostics, source_map: &SourceMap, redactor: &Redactor) {
    if diagnostics.is_empty() {
        return;
    }
    let json = serde_json::to_value(diagnostics.reports(source_map)).unwrap_or_default();
    // Secrets can stand in the excerpts and in values that are quoted.
    let json = serde_json::from_str(&redactor.redact(&json.to_string())).unwrap_or(json);
    sink(Event::Diagnostics {
        text: redactor.redact(&diagnostics.render(source_map, &Style::default())),
        json,
        has_errors: diagnostics.has_errors(),
    });
}

fn say(sink: &EventSink, text: &str) {
    sink(Event::Say { build: None, target: None, text: text.to_owned() });
}
