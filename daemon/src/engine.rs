//! Puts the build engine, and work on images, behind the runner's seam.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use kiln_builder::{Control, Event, Wanted};
use kiln_protocol::{
    Artifact, Assignment, Choice, EventBody, HypervisorInfo, OnError, RegisteredImage, RegistryReport, RegistryRequest,
    Severity, TemplateProblem, ValidateReport, ValidateRequest,
};

use crate::images;
use crate::runner::{
    BoxFuture, EventSink, JobControl, JobEvent, JobOutcome, JobRequest, JobRunner, Refused, StartedJob, SweepReport,
};

/// The build engine.
#[derive(Debug)]
pub struct Engine;

fn report_of(sweep: kiln_builder::Sweep) -> SweepReport {
    SweepReport { removed: sweep.removed, failed: sweep.failed }
}

/// Reaches into a running job.
struct Reach(Control);

impl JobRunner for Engine {
    fn start(&self, mut request: JobRequest, sink: EventSink) -> StartedJob {
        if let Some(task) = request.submission.image.take() {
            return images::start(task, request.job_directory, sink);
        }
        let control = Control::default();
        let reach = Arc::new(Reach(control.clone()));
        let sink: kiln_builder::EventSink = Arc::new(move |event| {
            if let Some(event) = on_the_wire(event) {
                sink(event);
            }
        });
        let outcome = async move {
            let outcome = kiln_builder::run_job(request_of(request), sink, control).await;
            JobOutcome { exit_code: outcome.exit_code, cancelled: outcome.cancelled, error: None }
        };
        StartedJob { control: reach, outcome: Box::pin(outcome) }
    }

    fn sweep(&self, job_directory: &Path) -> io::Result<SweepReport> {
        kiln_builder::sweep(job_directory).map(report_of)
    }

    fn give_back(&self, job_directory: &Path, ended: SystemTime) -> io::Result<SweepReport> {
        kiln_builder::sweep_ended(job_directory, ended).map(report_of)
    }

    fn hypervisors(&self) -> BoxFuture<'_, Vec<HypervisorInfo>> {
        Box::pin(async {
            let environment: BTreeMap<String, String> = std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
                .collect();
            let found = kiln_builder::hypervisors(&cache_directory(&environment), &environment).await;
            let info = |found: kiln_builder::HypervisorSummary| HypervisorInfo {
                name: found.name,
                available: found.available,
                version: found.version,
                reason: found.reason,
            };
            found.into_iter().map(info).collect()
        })
    }
}

impl JobControl for Reach {
    fn cancel(&self) {
        self.0.cancel();
    }

    fn screen<'a>(&'a self, build: Option<&'a str>) -> BoxFuture<'a, Result<Vec<u8>, Refused>> {
        Box::pin(async move { self.0.screen(build).await.map_err(|error| Refused { reason: error.to_string() }) })
    }

    fn answer(&self, prompt: &str, answer: &str) -> Result<(), Refused> {
        let id = prompt.parse().map_err(|_| Refused { reason: format!("there is no question {prompt:?}") })?;
        self.0.answer(id, answer).map_err(|error| Refused { reason: error.to_string() })
    }
}

/// What a template is called that came from standard input: JSON, or HCL2 where the name that came with it says so.
const STANDARD_INPUT: &str = "<standard input>";
const HCL2_ON_STANDARD_INPUT: &str = "<standard input>.pkr.hcl";

fn request_of(request: JobRequest) -> kiln_builder::JobRequest {
    let submission = request.submission;
    let cache_dir = cache_directory(&submission.environment);
    let options = submission.options;
    kiln_builder::JobRequest {
        debug: options.debug,
        on_error: match options.on_error {
            OnError::Cleanup => kiln_builder::OnError::Cleanup,
            OnError::Abort => kiln_builder::OnError::Abort,
            OnError::Ask => kiln_builder::OnError::Ask,
            OnError::RunCleanupProvisioner => kiln_builder::OnError::RunCleanupProvisioner,
        },
        parallel_builds: usize::try_from(options.parallel_builds).unwrap_or(usize::MAX),
        state_dir: state_directory(&request.job_directory, &cache_dir),
        job_dir: request.job_directory,
        runtime_dir: request.runtime_directory,
        cache_dir,
        template: kiln_builder::CheckRequest {
            template: match &submission.template_text {
                Some(_) if submission.template.ends_with(".pkr.hcl") => HCL2_ON_STANDARD_INPUT.into(),
                Some(_) => STANDARD_INPUT.into(),
                None => submission.template.into(),
            },
            text: submission.template_text,
            cwd: submission.working_directory.into(),
            environment: submission.environment,
            vars: options.variables.into_iter().map(argument).collect(),
            var_files: options.variable_files.into_iter().map(Into::into).collect(),
            only: options.only,
            except: options.except,
            force: options.force,
            warn_on_undeclared_var: options.warn_on_undeclared_variables,
            evaluate_data: true,
        },
    }
}

/// Where this user keeps what outlives a job: the daemon's state directory, two above a job's ([`crate::job_dir::JobDir::of`]), or the directory
/// of downloads when that one is root's, who serves everybody.
fn state_directory(job_directory: &Path, cache_directory: &Path) -> PathBuf {
    let state = job_directory.ancestors().nth(2).unwrap_or(job_directory);
    let of_somebody_else = |found: std::fs::Metadata| found.uid() != rustix::process::geteuid().as_raw();
    if state.metadata().is_ok_and(of_somebody_else) { cache_directory.to_owned() } else { state.to_owned() }
}

/// Checks a template in this process, which has the caller's environment. What is waited for meanwhile is told.
pub(crate) fn validate(
    request: ValidateRequest,
    cwd: PathBuf,
    tell: impl Fn(JobEvent) + Send + Sync + 'static,
) -> ValidateReport {
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let cache_dir = cache_directory(&environment);
    let check = kiln_builder::CheckRequest {
        template: request.template.into(),
        text: request.template_text,
        cwd,
        environment,
        vars: request.variables.into_iter().map(argument).collect(),
        var_files: request.variable_files.into_iter().map(Into::into).collect(),
        only: request.only,
        except: request.except,
        force: false,
        warn_on_undeclared_var: request.warn_on_undeclared_variables,
        evaluate_data: request.evaluate_datasources,
    };
    let sink: kiln_builder::EventSink = Arc::new(move |event| on_the_wire(event).into_iter().for_each(&tell));
    let (colour, reports) = (request.colour, request.reports);
    let wanted = if reports { Wanted::Reports } else { Wanted::Texts { colour } };
    let validation = kiln_builder::validate_with(&check, &cache_dir, wanted, sink);
    let problem = |problem: kiln_builder::Problem| TemplateProblem {
        severity: if problem.is_error { Severity::Error } else { Severity::Warning },
        text: problem.text,
        report: problem.json,
    };
    ValidateReport { valid: validation.valid, problems: validation.problems.into_iter().map(problem).collect() }
}

/// Looks at the images that the user of this process has registered, or forgets some.
pub(crate) fn registry(request: &RegistryRequest) -> RegistryReport {
    registry_with(request, kiln_builder::registered_images)
}

fn registry_with(request: &RegistryRequest, list: impl FnOnce() -> Vec<kiln_builder::ListedImage>) -> RegistryReport {
    let wire = |image: kiln_builder::ListedImage| RegisteredImage {
        name: image.name,
        channel: image.channel,
        path: image.path.to_string_lossy().into_owned(),
        format: image.format,
        checksum: image.checksum,
        size: image.size,
        build: image.build,
        created: image.created,
        unusable: image.unusable,
    };
    let mut report = RegistryReport::default();
    let mut take = |removed: Result<Vec<kiln_builder::ListedImage>, String>| match removed {
        Ok(removed) => report.removed.extend(removed.into_iter().map(wire)),
        Err(problem) => report.problems.push(problem),
    };
    request.remove.iter().for_each(|name| take(kiln_builder::forget_image(name)));
    if request.prune {
        kiln_builder::forget_unusable_images().into_iter().for_each(&mut take);
    }
    // A list looks at every image, and one of a server that does not answer is looked at for ever: who wants it forgotten asks for no list.
    if request.remove.is_empty() && !request.prune {
        report.images = list().into_iter().map(wire).collect();
    }
    report
}

fn argument(set: Assignment) -> String {
    format!("{}={}", set.name, set.value)
}

/// Where downloads are kept: as Packer's variable says, else below the caller's cache directory.
fn cache_directory(environment: &BTreeMap<String, String>) -> PathBuf {
    let set = |name: &str| environment.get(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("PACKER_CACHE_DIR")
        .or_else(|| set("XDG_CACHE_HOME").map(|cache| cache.join("kiln")))
        .or_else(|| set("HOME").map(|home| home.join(".cache/kiln")))
        .unwrap_or_else(|| std::env::temp_dir().join("kiln-cache"))
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Says what an answer of the engine's does.
fn label(key: &str) -> String {
    match key {
        "c" => "clean up and exit".to_owned(),
        "a" => "abort without cleanup".to_owned(),
        "g" => "give up this sequence".to_owned(),
        "r" => "retry this step".to_owned(),
        other => other.to_owned(),
    }
}

fn on_the_wire(event: Event) -> Option<JobEvent> {
    let path = |path: PathBuf| path.to_string_lossy().into_owned();
    let (build, body) = match event {
        Event::Diagnostics { text, json, has_errors } => {
            let severity = if has_errors { Severity::Error } else { Severity::Warning };
            let diagnostics = match json {
                serde_json::Value::Array(list) => list,
                _ => Vec::new(),
            };
            (None, EventBody::Diagnostics { severity, text, diagnostics })
        }
        Event::BuildPlanned { build, position } => (Some(build), EventBody::BuildPlanned { position }),
        Event::Say { build, target, text } => (build, EventBody::Say { text, target }),
        Event::Message { build, target, text } => (build, EventBody::Message { text, target }),
        Event::Error { build, target, text, output } => (build, EventBody::Error { text, target, output }),
        Event::StepStarted { build, step } => (Some(build), EventBody::StepStarted { step }),
        Event::StepFinished { build, step, elapsed, error } => {
            (Some(build), EventBody::StepFinished { step, elapsed_us: micros(elapsed), error })
        }
        Event::Progress { build, what, done, total } => (Some(build), EventBody::Progress { what, done, total }),
        Event::Waiting { build, what, limit } => (build, EventBody::Waiting { what, limit_us: limit.map(micros) }),
        Event::WaitFinished { build, what } => (build, EventBody::WaitFinished { what }),
        Event::ScreenSaved { build, path: file } => (Some(build), EventBody::ScreenSaved { path: path(file) }),
        Event::Prompt { build, id, text, choices, guest } => {
            let default = choices.first().cloned();
            let choices = choices.into_iter().map(|key| Choice { label: label(&key), key }).collect();
            (Some(build), EventBody::Prompt { prompt: id.to_string(), text, choices, default, guest })
        }
        Event::PromptClosed { build, id, answer } => {
            (Some(build), EventBody::PromptAnswered { prompt: id.to_string(), answer })
        }
        Event::Artifact { build, builder_id, id, text, files } => {
            let files = files.into_iter().map(path).collect();
            (Some(build), EventBody::Artifact(Artifact { builder_id, id, text: Some(text), files }))
        }
        Event::BuildFinished { build, elapsed, error, cancelled } => {
            (Some(build), EventBody::BuildFinished { elapsed_us: micros(elapsed), error, cancelled })
        }
        // An event that a newer engine has and this daemon does not know.
        _ => return None,
    };
    Some(JobEvent { build, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It looks at all images, and never ends where one lies on a server that is away.
    #[test]
    fn who_forgets_an_image_gets_no_list() {
        let forgotten = RegistryRequest { remove: vec!["../none".to_owned()], prune: false };
        let report = registry_with(&forgotten, || panic!("no image is looked at"));
        assert_eq!((report.images.len(), report.problems.len()), (0, 1), "{report:?}");
        let listed = registry_with(&RegistryRequest::default(), || vec![kiln_builder::ListedImage::default()]);
        assert_eq!(listed.images.len(), 1);
    }

    #[test]
    fn a_template_from_standard_input_is_called_so() {
        let request = |name: &str, text: &str| {
            let submission = format!(r#"{{"kind":"build","template":"{name}","working_directory":"/w"{text}}}"#);
            let submission = serde_json::from_str(&submission).unwrap();
            request_of(JobRequest { submission, job_directory: "/jobs/1".into(), runtime_directory: "/run/1".into() })
                .template
        };
        let given = request("-", r#","template_text":"{}""#);
        assert_eq!((given.template, given.text.as_deref()), ("<standard input>".into(), Some("{}")));
        let hcl2 = request("<standard input>.pkr.hcl", r#","template_text":"locals {}""#);
        assert_eq!((hcl2.template, hcl2.text.as_deref()), ("<standard input>.pkr.hcl".into(), Some("locals {}")));
        let named = request("a.json", "");
        assert_eq!((named.template, named.text), ("a.json".into(), None));
    }
}
