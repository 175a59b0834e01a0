//! Where the events of a job go: lines to standard output, what goes on beside them, and the questions that nobody was asked yet.

use std::io::{self, BufWriter, StdoutLock, Write as _};

use kiln_protocol::{Event, EventBody, Question};

use super::note::note;
use super::prompt::GUEST;
use crate::api::Received;
use crate::live::Live;
use crate::render::{Look, Renderer};
use crate::terminal;
use crate::visible::{self, Visible};

/// How a job is to be shown.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) look: Look,
    /// As `-color` says; unset means as the terminal wants it.
    pub(super) colour: Option<bool>,
    /// Raw lines.
    pub(super) json: bool,
    pub(super) debug: bool,
    /// Whether questions and answers are lines as all others, because nobody is asked here.
    pub(super) shows_questions: bool,
}

/// Where events go.
pub(super) struct Display {
    output: BufWriter<Visible<StdoutLock<'static>>>,
    /// Nothing when raw lines are wanted.
    renderer: Option<Renderer>,
    /// Nothing when nobody wants to know what goes on.
    live: Option<Live>,
    /// Whether somebody sits at standard output.
    is_watched: bool,
    /// Questions that nobody was asked yet.
    pub(super) questions: Vec<Question>,
    /// Whether questions and answers are lines as all others, because nobody is asked here.
    shows_questions: bool,
    pub(super) ending: Option<Ending>,
    /// Whether being confined to its guests is all that keeps the job from building.
    pub(super) is_confined: bool,
}

/// What the errors of a template say that a job is not let do, for it is confined to its guests (`kiln_builder`'s check).
const NOT_CONFINED: &str = "Not confined to the guest";

pub(super) struct Ending {
    pub(super) exit_code: u8,
    pub(super) error: Option<String>,
}

impl Display {
    pub(super) fn new(view: View, live: Option<Live>) -> Self {
        let View { look, colour, json, debug, shows_questions } = view;
        Self {
            output: BufWriter::new(if json { terminal::json_stdout() } else { terminal::stdout_with(colour) }),
            is_watched: look.terminal,
            renderer: (!json).then(|| Renderer::new(look, debug)),
            live,
            questions: Vec::new(),
            shows_questions,
            ending: None,
            is_confined: false,
        }
    }

    pub(super) fn show(&mut self, received: &Received) -> io::Result<()> {
        let Received { event, line } = received;
        match &event.body {
            EventBody::JobFinished { exit_code, error, .. } => {
                self.ending = Some(Ending { exit_code: *exit_code, error: error.clone() });
            }
            EventBody::Prompt { prompt, text, choices, default, guest } => self.questions.push(Question {
                prompt: prompt.clone(),
                build: event.build.clone(),
                text: text.clone(),
                choices: choices.clone(),
                default: default.clone(),
                guest: guest.clone(),
                asked_at: event.time.clone(),
            }),
            EventBody::Diagnostics { diagnostics, .. } => self.is_confined = is_confined(diagnostics),
            EventBody::CancelRequested => self.questions.clear(),
            EventBody::PromptAnswered { prompt, .. } => self.questions.retain(|question| question.prompt != *prompt),
            _ => {}
        }
        if let Some(live) = &mut self.live {
            live.event(event);
        }
        let output = &mut self.output;
        match &mut self.renderer {
            Some(renderer) => {
                if let Some(line) = self.shows_questions.then(|| question_line(event)).flatten() {
                    renderer.event(&line, output)?;
                }
                renderer.event(event, output)
            }
            None => {
                let line = String::from_utf8_lossy(line);
                writeln!(output, "{}", visible::json(&line))
            }
        }
    }

    /// Says something of the client's own; raw lines are not mixed with it.
    pub(super) fn say(&mut self, text: &str) -> io::Result<()> {
        match &self.renderer {
            Some(renderer) => renderer.say(text, &mut self.output)?,
            None => note(text),
        }
        self.flush()
    }

    /// Shows what goes on. Where lines cannot be drawn, those that are due go where somebody looks: to a terminal, else beside
    /// the output, which belongs to scripts.
    pub(super) fn tick(&mut self) -> io::Result<()> {
        let Some(live) = &mut self.live else { return Ok(()) };
        for line in live.tick() {
            if self.is_watched {
                writeln!(self.output, "{line}")?;
            } else {
                note(&line);
            }
        }
        Ok(())
    }

    /// Makes room for what is written beside this display.
    pub(super) fn clear(&mut self) {
        if let Some(live) = &mut self.live {
            live.clear();
        }
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        if self.output.buffer().is_empty() {
            return Ok(());
        }
        match &self.live {
            Some(live) => live.suspend(|| self.output.flush()),
            None => self.output.flush(),
        }
    }
}

/// Whether nothing else is wrong with a template than what its job is not let do.
fn is_confined(diagnostics: &[serde_json::Value]) -> bool {
    let mut errors = diagnostics.iter().filter(|problem| problem["severity"] == "error").peekable();
    errors.peek().is_some() && errors.all(|problem| problem["summary"] == NOT_CONFINED)
}

/// Returns what a question or its answer is as a line of its build.
fn question_line(event: &Event) -> Option<Event> {
    let text = match &event.body {
        EventBody::Prompt { text, guest: Some(guest), .. } => format!("{GUEST}{guest}\n{text}"),
        EventBody::Prompt { text, .. } => text.clone(),
        EventBody::PromptAnswered { answer, .. } if answer.is_empty() => {
            "The question was closed without an answer".to_owned()
        }
        EventBody::PromptAnswered { answer, .. } => format!("Answered: {answer}"),
        _ => return None,
    };
    Some(Event { body: EventBody::Say { text, target: None }, ..event.clone() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_check_says_it_in_these_words() {
        // The client depends on nothing of the daemon's but its protocol; a diagnostic's summary is in no type.
        let check = include_str!("../../../daemon/builder/src/check/confined.rs");
        assert!(
            check.contains(&format!("Diagnostic::error({NOT_CONFINED:?}")),
            "the words in `confined.rs` are others"
        );
    }

    #[test]
    fn a_password_helps_where_nothing_else_is_wrong() {
        let confined = json!({"severity": "error", "summary": NOT_CONFINED});
        let (wrong, warning) =
            (json!({"severity": "error", "summary": "A"}), json!({"severity": "warning", "summary": "A"}));
        assert!(
            is_confined(std::slice::from_ref(&confined))
                && is_confined(&[warning.clone(), confined.clone(), confined.clone()])
        );
        assert!(!is_confined(&[]) && !is_confined(&[warning]) && !is_confined(&[confined, wrong]));
    }

    #[test]
    fn a_question_that_was_cancelled_was_answered_by_nobody() {
        let text = |answer: &str| {
            let event = format!(
                r#"{{"seq":1,"time":"2026-01-02T03:04:05.678Z","kind":"prompt_answered","prompt":"1","answer":"{answer}"}}"#
            );
            let line = question_line(&serde_json::from_str(&event).unwrap()).unwrap();
            match line.body {
                EventBody::Say { text, .. } => text,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(text("c"), "Answered: c");
        assert_eq!(text(""), "The question was closed without an answer");
    }
}
