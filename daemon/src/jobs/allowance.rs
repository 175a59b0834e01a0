//! How much of what a worker says the daemon keeps, in its memory and in its journal. The events themselves stay whole, in the user's file.
//!
//! Texts are cut, with a note. Of what is counted no honest job has so much: one that has is ended, for what its words mean would no longer be
//! known.

use std::collections::HashSet;

use jiff::Timestamp;
use kiln_protocol::Question;

use super::facts::Meaning;
use crate::journal::{ArtifactRow, Fact};
use crate::wall_clock::wall_clock;

/// Longest text that is kept: an error, a question, what an artifact is.
const MAX_TEXT: usize = 16 << 10;

/// Longest name: of a build, a step, a question, a choice, a file.
const MAX_NAME: usize = 4 << 10;

/// Choices of a question, and files of an artifact, that are kept.
const MAX_CHOICES: usize = 32;
const MAX_FILES: usize = 256;

/// Questions that wait for an answer.
const MAX_QUESTIONS: usize = 64;

/// Builds of a job.
const MAX_BUILDS: usize = 1000;

/// Artifacts of a job.
const MAX_ARTIFACTS: usize = 1000;

/// What is written down of builds: each beginning and end of a step or a build, and each artifact.
const MAX_FACTS: usize = 100_000;

/// Bytes of artifacts and of names of builds, which stay in the journal as long as the job.
const MAX_KEPT_BYTES: usize = 512 << 10;

/// Bytes of questions that wait.
const MAX_QUESTION_BYTES: usize = 256 << 10;

/// Longest time as text, and how far it may be ahead of this clock.
const MAX_TIME: usize = 40;
const MAX_AHEAD_SECONDS: i64 = 5;

/// What ends a text that was cut.
const CUT: &str = " … (cut)";

/// What one job has said so far.
#[derive(Debug, Default)]
pub(super) struct Allowance {
    builds: HashSet<String>,
    artifacts: usize,
    facts: usize,
    kept_bytes: usize,
    /// Names of the questions that wait, and their bytes.
    questions: Vec<(String, usize)>,
}

/// Reports that a job has said more of itself than is kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the job was ended: it has told of more than {limit} {what}, which is more than kilnd keeps of a job")]
pub(super) struct Exceeded {
    limit: usize,
    what: &'static str,
}

impl Exceeded {
    fn unless(fits: bool, limit: usize, what: &'static str) -> Result<(), Self> {
        if fits { Ok(()) } else { Err(Self { limit, what }) }
    }
}

impl Allowance {
    /// Counts what an event means, and cuts what is too long.
    ///
    /// # Errors
    ///
    /// It is more than is kept of a job.
    pub(super) fn admit(&mut self, meaning: &mut Meaning) -> Result<(), Exceeded> {
        match meaning {
            Meaning::Nothing => Ok(()),
            Meaning::Started(since) => {
                make_time(since);
                Ok(())
            }
            Meaning::Moved(build, _) => self.count_build(build),
            Meaning::StepEnded => self.count_fact(),
            Meaning::Asked(question) => self.count_question(question),
            Meaning::Answered(prompt) => {
                self.questions.retain(|(name, _)| name != prompt);
                Ok(())
            }
            Meaning::Cancelled => {
                self.questions.clear();
                Ok(())
            }
            Meaning::Refused(reason) => {
                cut(reason, MAX_TEXT);
                Ok(())
            }
            Meaning::Ended(ending) => {
                make_time(&mut ending.finished_at);
                ending.error.iter_mut().for_each(|error| cut(error, MAX_TEXT));
                Ok(())
            }
            Meaning::Build(observation) => {
                self.count_fact()?;
                self.count_build(&observation.build)?;
                match &mut observation.fact {
                    Fact::Planned { .. } => {}
                    Fact::Step { step } => cut(step, MAX_NAME),
                    Fact::Artifact(artifact) => self.count_artifact(artifact)?,
                    Fact::Finished { error, .. } => error.iter_mut().for_each(|error| cut(error, MAX_TEXT)),
                }
                Ok(())
            }
        }
    }

    fn count_fact(&mut self) -> Result<(), Exceeded> {
        self.facts += 1;
        Exceeded::unless(self.facts <= MAX_FACTS, MAX_FACTS, "steps, builds and artifacts")
    }

    /// A name is no text that could be cut: another build may begin with the same words.
    fn count_build(&mut self, name: &str) -> Result<(), Exceeded> {
        if self.builds.contains(name) {
            return Ok(());
        }
        Exceeded::unless(name.len() <= MAX_NAME, MAX_NAME, "bytes in the name of a build")?;
        Exceeded::unless(self.builds.len() < MAX_BUILDS, MAX_BUILDS, "builds")?;
        self.builds.insert(name.to_owned());
        self.count_bytes(name.len())
    }

    fn count_bytes(&mut self, bytes: usize) -> Result<(), Exceeded> {
        self.kept_bytes = self.kept_bytes.saturating_add(bytes);
        Exceeded::unless(self.kept_bytes <= MAX_KEPT_BYTES, MAX_KEPT_BYTES, "bytes of builds and artifacts")
    }

    fn count_artifact(&mut self, artifact: &mut ArtifactRow) -> Result<(), Exceeded> {
        self.artifacts += 1;
        Exceeded::unless(self.artifacts <= MAX_ARTIFACTS, MAX_ARTIFACTS, "artifacts")?;
        let ArtifactRow { builder_id, id, text, files } = artifact;
        cut(builder_id, MAX_NAME);
        cut(id, MAX_NAME);
        text.iter_mut().for_each(|text| cut(text, MAX_TEXT));
        if files.len() > MAX_FILES {
            let others = files.len() - MAX_FILES;
            files.truncate(MAX_FILES);
            let text = text.get_or_insert_default();
            *text += &format!(" (and {others} files more, which only the job's events name)");
        }
        files.iter_mut().for_each(|file| cut(file, MAX_NAME));
        let text = text.as_ref().map_or(0, String::len);
        self.count_bytes(builder_id.len() + id.len() + text + files.iter().map(|file| file.len() + 3).sum::<usize>())
    }

    fn count_question(&mut self, question: &mut Question) -> Result<(), Exceeded> {
        Exceeded::unless(self.questions.len() < MAX_QUESTIONS, MAX_QUESTIONS, "questions that wait for an answer")?;
        Exceeded::unless(question.prompt.len() <= MAX_NAME, MAX_NAME, "bytes in the name of a question")?;
        cut(&mut question.text, MAX_TEXT);
        make_time(&mut question.asked_at);
        question.choices.truncate(MAX_CHOICES);
        for choice in &mut question.choices {
            cut(&mut choice.key, MAX_NAME);
            cut(&mut choice.label, MAX_NAME);
        }
        question.build.iter_mut().chain(&mut question.default).for_each(|name| cut(name, MAX_NAME));
        // Half a command leads nowhere.
        question.guest = question.guest.take().filter(|guest| guest.len() <= MAX_NAME);
        let bytes = serde_json::to_string(&question).map_or(0, |text| text.len());
        self.questions.push((question.prompt.clone(), bytes));
        let waiting = self.questions.iter().map(|(_, bytes)| bytes).sum::<usize>();
        Exceeded::unless(
            waiting <= MAX_QUESTION_BYTES,
            MAX_QUESTION_BYTES,
            "bytes of questions that wait for an answer",
        )
    }
}

/// Cuts a text, and says so in it.
fn cut(text: &mut String, limit: usize) {
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit));
        text.push_str(CUT);
        text.shrink_to_fit();
    }
}

/// Sees that it is a time, and none that is still to come.
fn make_time(text: &mut String) {
    let is_past = |time: Timestamp| time.as_second() <= Timestamp::now().as_second() + MAX_AHEAD_SECONDS;
    if text.len() > MAX_TIME || !text.parse().is_ok_and(is_past) {
        *text = wall_clock();
    }
}

#[cfg(test)]
mod tests {
    use kiln_protocol::Event;
    use serde_json::{Value, json};

    use super::super::facts::meaning;
    use super::*;
    use crate::event_log::EventLine;

    fn said(build: Option<&str>, body: Value) -> Meaning {
        let mut event = json!({"seq": 1, "time": "2026-01-02T03:04:05Z"});
        let fields = event.as_object_mut().unwrap();
        fields.extend(build.map(|build| ("build".to_owned(), json!(build))));
        fields.extend(body.as_object().unwrap().clone());
        let event: Event = serde_json::from_value(event).unwrap();
        let kind = body["kind"].as_str().unwrap().to_owned();
        meaning(&EventLine { seq: 1, kind, text: serde_json::to_vec(&event).unwrap().into() })
    }

    /// Says the same again and again; returns how often it was heard, and what ended it.
    fn until_exceeded(what: impl Fn(usize) -> Meaning) -> (usize, String) {
        let mut allowance = Allowance::default();
        for number in 0..1_000_000 {
            if let Err(exceeded) = allowance.admit(&mut what(number)) {
                return (number, exceeded.to_string());
            }
        }
        panic!("without end");
    }

    #[test]
    fn what_is_counted_has_an_end() {
        let prompt = |text: &str| {
            let text = text.to_owned();
            move |number: usize| {
                said(None, json!({"kind": "prompt", "prompt": number.to_string(), "text": text, "choices": []}))
            }
        };
        let (heard, error) = until_exceeded(prompt("what now?"));
        assert_eq!(heard, MAX_QUESTIONS, "{error}");
        assert!(error.starts_with("the job was ended: it has told of more than 64 questions"), "{error}");
        let (heard, error) = until_exceeded(prompt(&"x".repeat(1 << 20)));
        assert!(heard < MAX_QUESTIONS && error.contains("bytes of questions"), "{heard} {error}");

        let build = |number: usize| format!("qemu.{number}");
        let planned = |number| said(Some(&build(number)), json!({"kind": "build_planned", "position": 1}));
        assert_eq!(until_exceeded(planned).0, MAX_BUILDS);
        let moved =
            |number| said(Some(&build(number)), json!({"kind": "progress", "what": "x", "done": 1, "total": 2}));
        assert_eq!(until_exceeded(moved).0, MAX_BUILDS);
        let long = said(Some(&"b".repeat(1 << 20)), json!({"kind": "build_planned", "position": 1}));
        assert!(Allowance::default().admit(&mut { long }).is_err());
        let step = said(Some("qemu.a"), json!({"kind": "step_started", "step": "boot"}));
        let again = |_| said(Some("qemu.a"), json!({"kind": "step_finished", "step": "boot", "elapsed_us": 1}));
        assert!(Allowance::default().admit(&mut { step }).is_ok());
        assert_eq!(until_exceeded(again).0, MAX_FACTS);
        let artifact = |files: usize, length: usize| {
            let files = vec!["f".repeat(length); files];
            move |_| {
                said(Some("a"), json!({"kind": "artifact", "builder_id": "b", "id": "i", "text": "t", "files": files}))
            }
        };
        assert_eq!(until_exceeded(artifact(1, 10)).0, MAX_ARTIFACTS);
        let (heard, error) = until_exceeded(artifact(1000, 1000));
        assert!(heard < 3 && error.contains("bytes of builds and artifacts"), "{heard} {error}");
    }

    #[test]
    fn what_is_long_is_cut_and_says_so() {
        let mut allowance = Allowance::default();
        let long = "é".repeat(1 << 20);
        let mut ended = said(
            None,
            json!({"kind": "job_finished", "state": "failed", "exit_code": 1, "elapsed_us": 1, "error": long}),
        );
        allowance.admit(&mut ended).unwrap();
        let Meaning::Ended(ending) = ended else { panic!("{ended:?}") };
        let error = ending.error.unwrap();
        assert!(error.len() < MAX_TEXT + 20 && error.ends_with("é … (cut)"), "{}", error.len());
        assert_eq!(ending.finished_at, "2026-01-02T03:04:05Z", "a time of its own is kept");

        let files: Vec<_> = (0..1000).map(|number| format!("/out/{number}")).collect();
        let mut artifact =
            said(Some("a"), json!({"kind": "artifact", "builder_id": "b", "id": "i", "text": "a box", "files": files}));
        allowance.admit(&mut artifact).unwrap();
        let Meaning::Build(observation) = artifact else { panic!("{artifact:?}") };
        let Fact::Artifact(artifact) = observation.fact else { panic!("{observation:?}") };
        assert_eq!(artifact.files.len(), MAX_FILES);
        assert_eq!(artifact.text.unwrap(), "a box (and 744 files more, which only the job's events name)");
    }

    #[test]
    fn questions_that_are_answered_make_room_and_times_are_times() {
        let mut allowance = Allowance::default();
        for number in 0..1000 {
            let name = number.to_string();
            let asked = json!({"kind": "prompt", "prompt": name, "text": "x".repeat(10_000), "choices": []});
            allowance.admit(&mut said(None, asked)).unwrap();
            allowance.admit(&mut said(None, json!({"kind": "prompt_answered", "prompt": name, "answer": ""}))).unwrap();
        }
        for time in ["9999-01-01T00:00:00Z", "soon", &"2026-01-02T03:04:05Z".repeat(1000)] {
            let mut text = time.to_owned();
            make_time(&mut text);
            assert!(text != time && text.parse::<Timestamp>().is_ok(), "{text}");
        }
    }
}
