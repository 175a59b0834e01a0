//! kilnd with a scripted runner in place of the build engine: for the tests of daemon and client.
//!
//! A job's template is a JSON array of actions, carried out in order:
//!
//! | Action | Does |
//! |---|---|
//! | `{"emit": {"build": "a", "kind": "say", "text": "x"}}` | reports an event |
//! | `{"say_variable": "NAME"}` | says the value of an environment variable |
//! | `{"await_file": "path"}` | waits until the file is there, or the job is cancelled |
//! | `{"await_answer": "prompt"}` | waits for an answer and says it |
//! | `{"leave_process": "1000"}` | starts a process that lives so many seconds and that only a sweep finds, and says its id |
//! | `{"clean_up_until": "path"}` | makes the clean-up of a later cancellation wait for the file |
//! | `{"record": {"version": 1, …}}` | adds a line to the records of steps |
//! | `{"stop": 1}` | ends with this exit code |
//! | `{"panic": "text"}` | panics with this text |

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use kiln_daemon::runner::{
    BoxFuture, EventSink, JobControl, JobEvent, JobOutcome, JobRequest, JobRunner, Refused, StartedJob, SweepReport,
};
use kiln_protocol::{EventBody, HypervisorInfo};
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    kiln_daemon::command_line::main(std::env::args_os(), Arc::new(Scripted))
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Action {
    Emit(Emit),
    SayVariable(String),
    AwaitFile(String),
    AwaitAnswer(String),
    LeaveProcess(String),
    CleanUpUntil(String),
    Record(serde_json::Value),
    Stop(u8),
    Panic(String),
}

#[derive(Deserialize)]
struct Emit {
    build: Option<String>,
    #[serde(flatten)]
    body: EventBody,
}

struct Scripted;

#[derive(Default)]
struct Control {
    cancel: CancellationToken,
    prompts: Mutex<HashMap<String, oneshot::Sender<String>>>,
}

impl JobRunner for Scripted {
    fn start(&self, request: JobRequest, sink: EventSink) -> StartedJob {
        let control = Arc::new(Control::default());
        let outcome = Box::pin(run(request, sink, Arc::clone(&control)));
        StartedJob { control, outcome }
    }

    fn sweep(&self, job_directory: &Path) -> io::Result<SweepReport> {
        let mut report = SweepReport::default();
        let Ok(text) = std::fs::read_to_string(job_directory.join("left")) else { return Ok(report) };
        for pid in text.lines() {
            let process = pid.parse().ok().and_then(Pid::from_raw);
            match process.map(|process| kill_process(process, Signal::KILL)) {
                Some(Ok(())) => report.removed.push(format!("killed process {pid}")),
                other => report.failed.push(format!("process {pid}: {other:?}")),
            }
        }
        Ok(report)
    }

    /// The real one: a test writes the ledger.
    fn give_back(&self, job_directory: &Path, ended: SystemTime) -> io::Result<SweepReport> {
        let sweep = kiln_builder::sweep_ended(job_directory, ended)?;
        Ok(SweepReport { removed: sweep.removed, failed: sweep.failed })
    }

    fn hypervisors(&self) -> BoxFuture<'_, Vec<HypervisorInfo>> {
        let reason = Some(format!("only a script, for user {}", rustix::process::geteuid().as_raw()));
        let info = HypervisorInfo { name: "scripted".to_owned(), available: true, version: None, reason };
        Box::pin(std::future::ready(vec![info]))
    }
}

impl JobControl for Control {
    fn cancel(&self) {
        self.cancel.cancel();
    }

    fn screen<'a>(&'a self, build: Option<&'a str>) -> BoxFuture<'a, Result<Vec<u8>, Refused>> {
        let answer = match build {
            Some("none") => Err(Refused { reason: "no guest of none is running".to_owned() }),
            _ => Ok(b"\x89PNG\r\n\x1a\nscripted".to_vec()),
        };
        Box::pin(std::future::ready(answer))
    }

    fn answer(&self, prompt: &str, answer: &str) -> Result<(), Refused> {
        let sender = self.prompts.lock().unwrap_or_else(PoisonError::into_inner).remove(prompt);
        let sender = sender.ok_or_else(|| Refused { reason: format!("no question {prompt} is waiting") })?;
        sender.send(answer.to_owned()).map_err(|_| Refused { reason: "too late".to_owned() })
    }
}

async fn run(request: JobRequest, sink: EventSink, control: Arc<Control>) -> JobOutcome {
    let emit = |build, body| sink(JobEvent { build, body });
    let say = |text: String| emit(None, EventBody::Say { text, target: None });
    let fail = |error: String| JobOutcome { exit_code: 1, cancelled: false, error: Some(error) };
    let given = request.submission.template_text.clone().map(Ok);
    let text = match given.unwrap_or_else(|| std::fs::read_to_string(&request.submission.template)) {
        Ok(text) => text,
        Err(error) => return fail(format!("cannot read {}: {error}", request.submission.template)),
    };
    let actions: Vec<Action> = match serde_json::from_str(&text) {
        Ok(actions) => actions,
        Err(error) => return fail(format!("{}: {error}", request.submission.template)),
    };
    let mut clean_up_until = None;
    for action in actions {
        let cancelled = match action {
            Action::Emit(event) => {
                emit(event.build, event.body);
                false
            }
            Action::SayVariable(name) => {
                say(format!("{name}={}", std::env::var(&name).unwrap_or_default()));
                false
            }
            Action::AwaitFile(path) => {
                tokio::select! { () = appears(&path) => false, () = control.cancel.cancelled() => true }
            }
            Action::AwaitAnswer(prompt) => {
                let (sender, answer) = oneshot::channel();
                control.prompts.lock().unwrap_or_else(PoisonError::into_inner).insert(prompt.clone(), sender);
                let body = EventBody::Prompt {
                    prompt: prompt.clone(),
                    text: "What now?".to_owned(),
                    choices: Vec::new(),
                    default: None,
                    guest: None,
                };
                emit(None, body);
                tokio::select! {
                    answer = answer => {
                        let answer = answer.unwrap_or_default();
                        emit(None, EventBody::PromptAnswered { prompt, answer });
                        false
                    }
                    () = control.cancel.cancelled() => true,
                }
            }
            Action::LeaveProcess(seconds) => {
                use std::os::unix::process::CommandExt as _;
                let mut command = Command::new("sleep");
                // Out of the worker's group, as QEMU would be.
                command.arg(seconds).process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                match command.spawn() {
                    Ok(child) => {
                        let noted = std::fs::write(request.job_directory.join("left"), child.id().to_string());
                        say(format!("left {} {noted:?}", child.id()));
                    }
                    Err(error) => return fail(error.to_string()),
                }
                false
            }
            Action::CleanUpUntil(path) => {
                clean_up_until = Some(path);
                false
            }
            Action::Record(line) => {
                let mut records = std::fs::OpenOptions::new();
                let records = records.append(true).create(true).open(request.job_directory.join("steps.ndjson"));
                if let Err(error) = records.and_then(|mut file| file.write_all(format!("{line}\n").as_bytes())) {
                    return fail(error.to_string());
                }
                false
            }
            Action::Stop(exit_code) => return JobOutcome { exit_code, cancelled: false, error: None },
            Action::Panic(text) => panic!("{text}"),
        };
        if cancelled || control.cancel.is_cancelled() {
            if let Some(path) = &clean_up_until {
                appears(path).await;
            }
            say("cleaned up".to_owned());
            return JobOutcome { exit_code: 1, cancelled: true, error: None };
        }
    }
    JobOutcome { exit_code: 0, cancelled: false, error: None }
}

/// Waits for a file; a test rig's way to be held up, nothing real waits like this.
async fn appears(path: &str) {
    while !Path::new(path).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
