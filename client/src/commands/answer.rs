//! `kiln answer`.

use kiln_protocol::{Answer, Job, JobId, JobState, Question};

use super::context::{Context, find_job};
use super::note::note;
use super::prompt::choose;
use crate::arguments::AnswerArguments;
use crate::error::CommandError;

pub(super) async fn answer(context: Context, arguments: AnswerArguments) -> Result<u8, CommandError> {
    let id = find_job(&context.client, &arguments.job).await?;
    let seen = context.client.job_unasked(&id).await?;
    let answer = match (arguments.words.as_slice(), seen) {
        // Of another's job that takes a password kilnd knows which question is meant: who answers is asked for it once.
        ([name, answer], None) => Answer { prompt: name.clone(), answer: answer.clone() },
        ([answer], None) => Answer { prompt: String::new(), answer: answer.clone() },
        ([name, answer], Some(job)) => {
            let of_build = job.questions.iter().find(|question| question.build.as_ref() == Some(name));
            let prompt = of_build.map_or(name, |question| &question.prompt).clone();
            Answer { prompt, answer: answer.clone() }
        }
        ([answer], Some(job)) => {
            let question = only_question(&job)?;
            let Some(chosen) = choose(&question.choices, answer) else {
                return Err(CommandError::new(format!("`{answer}` is no answer to {}", spell(question)))
                    .hint(format!("`kiln answer {id} {}`", one_of(question))));
            };
            Answer { prompt: question.prompt.clone(), answer: chosen }
        }
        (_, seen) => {
            let job = match seen {
                Some(job) => job,
                None => context.client.job(&id).await?,
            };
            let question = only_question(&job)?;
            return Err(CommandError::new(format!("no answer was given to {}", spell(question)))
                .hint(format!("`{}`", how_to_answer(&id, question, false))));
        }
    };
    context.client.answer(&id, &answer).await?;
    note(&format!("job {id} goes on with `{}`", answer.answer));
    Ok(0)
}

/// Returns the question that a job asks, when there is one and no other.
fn only_question(job: &Job) -> Result<&Question, CommandError> {
    let id = &job.id;
    match job.questions.as_slice() {
        [question] => Ok(question),
        [] if job.state.is_over() => Err(CommandError::new(format!("job {id} is over ({})", job.state))
            .hint(format!("`kiln logs {id}` shows what happened"))),
        [] if job.state == JobState::Queued => {
            Err(CommandError::new(format!("job {id} asks nothing: it waits for other jobs"))
                .hint("`kiln jobs` lists them"))
        }
        [] => Err(CommandError::new(format!("job {id} asks nothing"))
            .hint(format!("`kiln jobs` shows questions, `kiln attach {id}` waits for one"))),
        several => {
            let list = several.iter().map(|question| format!("  {}: {}", question.prompt, spell(question)));
            let list = list.collect::<Vec<_>>().join("\n");
            Err(CommandError::new(format!("job {id} asks {} questions:\n{list}", several.len())).hint(format!(
                "`kiln answer {id} {} {}` answers the first",
                several[0].prompt,
                one_of(&several[0])
            )))
        }
    }
}

fn spell(question: &Question) -> String {
    let build = question.build.as_ref().map_or_else(String::new, |build| format!("{build}: "));
    format!("{build}{}", question.text)
}

/// Spells the choices as an argument: `c|a`; `ANSWER` when any text will do.
fn one_of(question: &Question) -> String {
    if question.choices.is_empty() {
        return "ANSWER".to_owned();
    }
    question.choices.iter().map(|choice| choice.key.as_str()).collect::<Vec<_>>().join("|")
}

/// Says how a question is answered from another terminal.
pub(super) fn how_to_answer(id: &JobId, question: &Question, among_others: bool) -> String {
    let name = if among_others { format!("{} ", question.prompt) } else { String::new() };
    format!("kiln answer {id} {name}{}", one_of(question))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(state: &str, questions: &str) -> Job {
        let text = format!(
            r#"{{"id":"aaaaaaaaaa","kind":"build","template":"t","working_directory":"/w","state":"{state}",
                "created_at":"2026-01-02T03:04:05.678Z","last_event":3,"builds":[],"questions":[{questions}]}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    fn error(job: &Job) -> String {
        let mut text = Vec::new();
        only_question(job).unwrap_err().print(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_only_question_needs_no_name() {
        let first = r#"{"prompt":"1","build":"qemu.a","text":"[c] or [a]?","asked_at":"2026-01-02T03:04:05Z",
                        "choices":[{"key":"c","label":"clean up"},{"key":"a","label":"abort"}]}"#;
        let second = r#"{"prompt":"2","text":"Name?","asked_at":"2026-01-02T03:04:05Z"}"#;
        let one = job("running", first);
        let question = only_question(&one).unwrap();
        assert_eq!(how_to_answer(&one.id, question, false), "kiln answer aaaaaaaaaa c|a");
        assert_eq!(
            error(&job("running", &format!("{first},{second}"))),
            "error: job aaaaaaaaaa asks 2 questions:\n  1: qemu.a: [c] or [a]?\n  2: Name?\n\nhint: `kiln answer aaaaaaaaaa 1 c|a` \
             answers the first\n"
        );
        assert!(error(&job("running", "")).starts_with("error: job aaaaaaaaaa asks nothing\n\nhint: "));
        assert!(error(&job("failed", "")).starts_with("error: job aaaaaaaaaa is over (failed)\n"));
        assert!(error(&job("queued", "")).contains("it waits for other jobs"));
    }
}
