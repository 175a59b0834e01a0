//! Events of a job: a numbered list that only grows, kept in a file, read from any number on.
//!
//! The first event of a worker is [`EventBody::JobStarted`], the last [`EventBody::JobFinished`]. `seq` starts at 1 and has no
//! gaps but where a long job's output was left out; the event behind such a gap says so. Texts are for people and may span lines; numbers are for programs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::image::result::ImageResult;
use crate::job::{Artifact, JobState};
use crate::question::Choice;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// Number within the job, from 1.
    pub seq: u64,
    /// When it happened: RFC 3339 in UTC, with milliseconds.
    pub time: String,
    /// Build that it is about, as `qemu.web`; unset for the whole job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[non_exhaustive]
pub enum EventBody {
    /// The worker runs and can be spoken to.
    JobStarted {
        /// Process id of the worker.
        pid: u32,
        /// Version of the worker.
        version: String,
    },
    /// The template has something to complain about.
    Diagnostics {
        /// The worst of them.
        severity: Severity,
        /// All of them for people, with places and excerpts.
        text: String,
        /// All of them for programs.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        diagnostics: Vec<serde_json::Value>,
    },
    /// A build will run. All of them come before the first starts.
    BuildPlanned {
        /// Its place in the template, from 0; decides its colour.
        position: u32,
    },
    /// Packer's `==> name: text`.
    Say {
        /// What to say.
        text: String,
        /// Prefix in place of the build's name, as `qemu.web (manifest)`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<String>,
    },
    /// Output of a provisioner.
    Message {
        /// The output, without the newline at its end.
        text: String,
        /// Prefix in place of the build's name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<String>,
    },
    /// Something went wrong, or the guest wrote to its standard error.
    Error {
        /// What.
        text: String,
        /// Prefix in place of the build's name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        target: Option<String>,
        /// Whether it is what a guest or a command wrote to its standard error, and not Kiln's word.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        output: bool,
    },
    /// A step began.
    StepStarted {
        /// Its name.
        step: String,
    },
    /// A step ended.
    StepFinished {
        /// Its name.
        step: String,
        /// How long it took, in microseconds.
        elapsed_us: u64,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A long transfer went on. At most a few a second.
    Progress {
        /// What is moved, as `debian.iso`.
        what: String,
        /// Bytes done.
        done: u64,
        /// Bytes in all, when known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        total: Option<u64>,
    },
    /// Something is waited for that may take long: the guest to be reached, a pause, the next try. It began at the event's time.
    Waiting {
        /// What is waited for, as `connect`.
        what: String,
        /// How long at most, in microseconds, when there is a limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        limit_us: Option<u64>,
    },
    /// A wait is over, whatever came of it.
    WaitFinished {
        /// What was waited for.
        what: String,
    },
    /// The guest's screen was saved.
    ScreenSaved {
        /// File (PNG).
        path: String,
    },
    /// The job waits for an answer.
    Prompt {
        /// Name to answer to.
        prompt: String,
        /// The question.
        text: String,
        /// Possible answers; empty when any text will do.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        choices: Vec<Choice>,
        /// Answer that is taken when nobody answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        default: Option<String>,
        /// Command that leads into the guest meanwhile, when one runs that can be reached.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        guest: Option<String>,
    },
    /// A prompt was answered; it needs no answer any more.
    PromptAnswered {
        /// Its name.
        prompt: String,
        /// The answer.
        answer: String,
    },
    /// Work on images came to a result, or to a part of it.
    Result {
        /// What came out.
        result: ImageResult,
    },
    /// Work on images failed, with what can be done about it.
    Failure {
        /// What failed, on what, and why.
        text: String,
        /// What to do next, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hint: Option<String>,
    },
    /// A build left something.
    Artifact(Artifact),
    /// A build is over.
    BuildFinished {
        /// How long it took, in microseconds.
        elapsed_us: u64,
        /// Why it failed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
        /// Whether it ended because the job was cancelled.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        cancelled: bool,
    },
    /// Somebody asked for the job's end.
    CancelRequested,
    /// The job is over. The last event.
    JobFinished {
        /// How it ended.
        state: JobState,
        /// Exit code for the client: 0 or 1; for work on images, qemu-img's.
        exit_code: u8,
        /// From the worker's start on, in microseconds.
        elapsed_us: u64,
        /// Why it failed as a whole, when the builds do not say.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<String>,
    },
    /// A kind that this version does not know.
    #[serde(other)]
    Unknown,
}

/// How bad a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The build goes on.
    Warning,
    /// Nothing is started.
    Error,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_object_that_starts_with_its_number() {
        let event = Event {
            seq: 7,
            time: "2026-01-02T03:04:05.678Z".to_owned(),
            build: Some("qemu.web".to_owned()),
            body: EventBody::Say { text: "a\nb".to_owned(), target: None },
        };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(
            text,
            r#"{"seq":7,"time":"2026-01-02T03:04:05.678Z","build":"qemu.web","kind":"say","text":"a\nb"}"#
        );
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }

    #[test]
    fn kinds_of_a_newer_daemon_are_skipped_not_refused() {
        let text = r#"{"seq":1,"time":"t","kind":"coffee_ready","cups":2}"#;
        assert_eq!(serde_json::from_str::<Event>(text).unwrap().body, EventBody::Unknown);
    }

    #[test]
    fn artifacts_are_flat_too() {
        let body = EventBody::Artifact(Artifact {
            builder_id: "b".to_owned(),
            id: "i".to_owned(),
            text: None,
            files: vec!["/f".to_owned()],
        });
        let event = Event { seq: 1, time: "t".to_owned(), build: None, body };
        let text = serde_json::to_string(&event).unwrap();
        assert_eq!(text, r#"{"seq":1,"time":"t","kind":"artifact","builder_id":"b","id":"i","files":["/f"]}"#);
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), event);
    }
}
