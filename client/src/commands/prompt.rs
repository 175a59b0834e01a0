//! Questions of a job, asked at the terminal.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};

use kiln_protocol::{Answer, Choice, Question};
use tokio::sync::mpsc;

use crate::visible;

/// What stands before the command that leads into a guest.
pub(super) const GUEST: &str = "The guest is reached by: ";

/// Who answers questions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prompts {
    /// Nobody here.
    Never,
    /// Whoever sits at the terminal, if there is one.
    IfTerminal,
    /// Whoever sits at the terminal; without one the default is taken, as Packer does.
    OrDefault,
    /// Nobody: the default is taken.
    Default,
}

impl Prompts {
    /// Whether the question is put to somebody at this terminal. Who only watches has to be told of it otherwise.
    pub(super) fn ask_here(self) -> bool {
        match self {
            Self::Never => false,
            Self::IfTerminal => terminal().is_ok(),
            Self::OrDefault | Self::Default => true,
        }
    }

    /// Says what `question` is answered with where nobody is asked, and why; nothing where somebody is.
    pub(super) fn unasked(self, question: &Question) -> Option<String> {
        let why = match self {
            Self::OrDefault if terminal().is_err() => "there is no terminal to ask at",
            Self::Default => "nobody is asked with -machine-readable",
            _ => return None,
        };
        let build = question.build.as_ref().map_or_else(String::new, |build| format!("{build}: "));
        let question_and_answer = format!("{build}{}: answered with `{}`", question.text, default_of(question));
        let instead = "with --detach the job would wait for `kiln answer`";
        Some(visible::name(&format!("{question_and_answer}, for {why}; {instead}")).to_string())
    }

    /// Gets an answer and sends it on, without blocking the caller. Nothing is sent when nobody answers.
    pub(super) fn ask(self, question: Question, answers: mpsc::Sender<Answer>) {
        let default = default_of(&question);
        let prompt = question.prompt.clone();
        let send = move |answer: String| {
            // Fails when the job is over, and with it the question.
            let _ = answers.blocking_send(Answer { prompt, answer });
        };
        match self {
            Self::Never => {}
            Self::Default => drop(std::thread::spawn(move || send(default))),
            Self::IfTerminal | Self::OrDefault => {
                drop(std::thread::spawn(move || match ask_at_terminal(&question) {
                    Ok(answer) => send(answer.unwrap_or(default)),
                    Err(_) if self == Self::OrDefault => send(default),
                    Err(_) => {}
                }));
            }
        }
    }
}

/// What a question is answered with when nobody answers.
fn default_of(question: &Question) -> String {
    let first = || question.choices.first().map(|choice| choice.key.clone());
    question.default.clone().or_else(first).unwrap_or_default()
}

fn terminal() -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open("/dev/tty")
}

fn ask_at_terminal(question: &Question) -> io::Result<Option<String>> {
    let mut terminal = terminal()?;
    let mut lines = BufReader::new(terminal.try_clone()?);
    ask_over(question, &mut lines, &mut terminal)
}

/// Asks until the answer is a possible one. Nothing stands for the default where there is one or nothing to choose: who only pressed Enter
/// may not have seen the question, and one answer takes a guest away.
fn ask_over(question: &Question, lines: &mut impl BufRead, terminal: &mut impl Write) -> io::Result<Option<String>> {
    if let Some(guest) = &question.guest {
        writeln!(terminal, "{GUEST}{}", visible::name(guest))?;
    }
    let keys: Vec<_> = question.choices.iter().map(|choice| choice.key.as_str()).collect();
    loop {
        write!(terminal, "{} ", visible::name(&question.text))?;
        terminal.flush()?;
        let mut line = String::new();
        if lines.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim();
        match (line.is_empty(), choose(&question.choices, line)) {
            (true, _) if question.default.is_some() || keys.len() < 2 => return Ok(None),
            (true, _) => writeln!(terminal, "Enter alone is no answer: {}", visible::name(&keys.join(", ")))?,
            (false, Some(answer)) => return Ok(Some(answer)),
            (false, None) => writeln!(terminal, "Incorrect input: {line:?}")?,
        }
    }
}

/// Returns the choice that is meant: its key, or a text that begins with the same letter.
pub(super) fn choose(choices: &[Choice], text: &str) -> Option<String> {
    if choices.is_empty() {
        return Some(text.to_owned());
    }
    let first = |text: &str| text.chars().next().map(|letter| letter.to_ascii_lowercase());
    let exact = choices.iter().find(|choice| choice.key == text);
    let found = exact.or_else(|| choices.iter().find(|choice| first(&choice.key) == first(text)));
    found.map(|choice| choice.key.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_nobody_gave_is_told() {
        let question: Question = serde_json::from_str(
            r#"{"prompt":"1","build":"qemu.a","text":"[c] or [a]?","asked_at":"2026-01-02T03:04:05Z",
                "choices":[{"key":"c","label":"clean up"},{"key":"a","label":"abort"}]}"#,
        )
        .unwrap();
        let told = Prompts::Default.unasked(&question).unwrap();
        assert!(told.starts_with("qemu.a: [c] or [a]?: answered with `c`, for nobody is asked"), "{told}");
        let with_default = Question { default: Some("a".to_owned()), build: None, ..question.clone() };
        assert!(Prompts::Default.unasked(&with_default).unwrap().starts_with("[c] or [a]?: answered with `a`"));
        assert_eq!(Prompts::Never.unasked(&question), None);
        assert_eq!(Prompts::IfTerminal.unasked(&question), None, "who only watches answers nothing");
    }

    #[test]
    fn a_stray_enter_takes_no_guest_away() {
        let ask = |choices: &str, typed: &str| {
            let question: Question = serde_json::from_str(&format!(
                r#"{{"prompt":"1","text":"What now?","asked_at":"2026-01-02T03:04:05Z","choices":[{choices}]}}"#
            ))
            .unwrap();
            let mut shown = Vec::new();
            let answer = ask_over(&question, &mut typed.as_bytes(), &mut shown).unwrap();
            (answer, String::from_utf8(shown).unwrap())
        };
        let (clean_up, abort) = (r#"{"key":"c","label":"clean up"}"#, r#"{"key":"a","label":"abort"}"#);
        let (answer, shown) = ask(&format!("{clean_up},{abort}"), "\n\na\n");
        assert_eq!(answer.as_deref(), Some("a"));
        assert_eq!(shown.matches("What now? ").count(), 3, "{shown}");
        assert!(shown.contains("Enter alone is no answer: c, a\n"), "{shown}");
        // A pause is ended by it, and so is a question by the end of the input.
        assert_eq!(ask(clean_up, "\n").0, None);
        assert_eq!(ask(&format!("{clean_up},{abort}"), "").0, None);
    }

    #[test]
    fn the_first_letter_decides_in_any_case() {
        let choices: Vec<_> =
            ["clean", "abort", "retry"].map(|key| Choice { key: key.to_owned(), label: String::new() }).into();
        for (text, answer) in [("c", Some("clean")), ("Retry!", Some("retry")), ("abort", Some("abort")), ("x", None)] {
            assert_eq!(choose(&choices, text).as_deref(), answer, "{text}");
        }
        assert_eq!(choose(&[], "anything").as_deref(), Some("anything"));
    }
}
