//! What the journal keeps of an event.

use kiln_protocol::{Event, EventBody, Question, Severity};
use serde_json::Value;

use crate::event_log::EventLine;
use crate::journal::{BuildState, Ending, Fact, Observation};

/// What one event means for the journal.
#[derive(Debug, PartialEq)]
pub(super) enum Meaning {
    /// Nothing.
    Nothing,
    /// The worker can be spoken to, since this time.
    Started(String),
    /// Something about a build.
    Build(Observation),
    /// A transfer of a build went on: how much of it is done, from 0 to 1, when its length is known.
    Moved(String, Option<f64>),
    /// A step has ended; its records say how.
    StepEnded,
    /// Somebody has to answer.
    Asked(Question),
    /// The question of this name was answered.
    Answered(String),
    /// No answer is waited for any more.
    Cancelled,
    /// The job fails as a whole, for this reason: no build can say it.
    Refused(String),
    /// The job is over.
    Ended(Ending),
}

/// Kinds of events that mean something.
const KINDS: [&str; 13] = [
    "job_started",
    "diagnostics",
    "error",
    "build_planned",
    "step_started",
    "step_finished",
    "artifact",
    "build_finished",
    "job_finished",
    "prompt",
    "prompt_answered",
    "cancel_requested",
    "progress",
];

/// Reads an event as far as the journal cares. Lines that do not, by their kind, are not even parsed.
pub(super) fn meaning(line: &EventLine) -> Meaning {
    if !KINDS.contains(&line.kind.as_str()) {
        return Meaning::Nothing;
    }
    let Ok(event) = serde_json::from_slice::<Event>(&line.text) else { return Meaning::Nothing };
    let fact = match event.body {
        EventBody::JobStarted { .. } => return Meaning::Started(event.time),
        EventBody::JobFinished { state, exit_code, error, .. } => {
            return Meaning::Ended(Ending { state: state.into(), exit_code, error, finished_at: event.time });
        }
        EventBody::Prompt { prompt, text, choices, default, guest } => {
            let (build, asked_at) = (event.build, event.time);
            return Meaning::Asked(Question { prompt, build, text, choices, default, guest, asked_at });
        }
        EventBody::Diagnostics { severity: Severity::Error, text, diagnostics } => {
            return Meaning::Refused(first_error(&diagnostics).unwrap_or(text));
        }
        EventBody::Error { text, output: false, .. } if event.build.is_none() => return Meaning::Refused(text),
        EventBody::Progress { done, total, .. } => {
            #[expect(clippy::cast_precision_loss, reason = "a share for people")]
            let share = |total: u64| (done as f64 / total as f64).min(1.0);
            let share = total.filter(|total| *total > 0).map(share);
            return event.build.map_or(Meaning::Nothing, |build| Meaning::Moved(build, share));
        }
        EventBody::StepFinished { .. } => return Meaning::StepEnded,
        EventBody::CancelRequested => return Meaning::Cancelled,
        EventBody::PromptAnswered { prompt, .. } => return Meaning::Answered(prompt),
        EventBody::BuildPlanned { position } => Fact::Planned { position },
        EventBody::StepStarted { step } => Fact::Step { step },
        EventBody::Artifact(artifact) => Fact::Artifact(artifact.into()),
        EventBody::BuildFinished { elapsed_us, error, cancelled } => {
            let state = match (&error, cancelled) {
                (_, true) => BuildState::Cancelled,
                (Some(_), false) => BuildState::Failed,
                (None, false) => BuildState::Succeeded,
            };
            Fact::Finished { state, error, elapsed_us }
        }
        _ => return Meaning::Nothing,
    };
    match event.build {
        Some(build) => Meaning::Build(Observation { event: event.seq, build, fact }),
        None => Meaning::Nothing,
    }
}

/// Names the first error of a template, its place, and how many others there are.
fn first_error(diagnostics: &[Value]) -> Option<String> {
    let mut errors = diagnostics.iter().filter(|problem| problem["severity"] == "error");
    let first = errors.next()?;
    let mut text = first["summary"].as_str()?.to_owned();
    let range = &first["range"];
    match (range["file"].as_str(), range["start"]["line"].as_u64()) {
        (Some(file), Some(line)) => text += &format!(" ({file} line {line})"),
        _ => text.extend(first["detail"].as_str().map(|detail| format!(": {detail}"))),
    }
    match errors.count() {
        0 => {}
        1 => text += ", and 1 error more",
        others => text += &format!(", and {others} errors more"),
    }
    Some(text)
}
