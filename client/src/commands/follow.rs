//! Shows a job while it runs: events to lines, signals to cancellations, questions to answers, and a lost daemon found again.

use kiln_protocol::{Answer, JobId, Question};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::answer::how_to_answer;
use super::clock::time_zone;
use super::context::Context;
use super::display::{Display, Ending, View};
use super::note::note;
use super::prompt::Prompts;
use super::reconnect::{cancel, events};
use super::signals::Signals;
use crate::api::{Client, Received};
use crate::error::CommandError;
use crate::live::{self, Live};
use crate::render::Look;
use crate::terminal;

/// What Ctrl-C does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnInterrupt {
    /// Cancels the job; the second time, leaves it to the daemon.
    Cancel,
    /// Leaves; the job goes on.
    Leave,
}

/// Shows one job.
pub(super) struct Follow {
    client: Client,
    id: JobId,
    machine_readable: bool,
    pub(super) colour: Option<bool>,
    pub(super) timestamps: bool,
    pub(super) json: bool,
    pub(super) debug: bool,
    /// Whether the job waits for others.
    pub(super) queued: bool,
    pub(super) on_interrupt: OnInterrupt,
    pub(super) prompts: Prompts,
}

/// How a job has ended that was shown.
pub(super) struct Followed {
    pub(super) exit_code: u8,
    /// Whether being confined to its guests is all that kept it from building.
    pub(super) is_confined: bool,
}

impl Followed {
    /// It goes on, and is not shown any more.
    fn left() -> Self {
        Self { exit_code: 1, is_confined: false }
    }
}

impl Follow {
    pub(super) fn new(context: Context, id: JobId) -> Self {
        Self {
            client: context.client,
            id,
            machine_readable: context.machine_readable,
            colour: None,
            timestamps: false,
            json: false,
            debug: false,
            queued: false,
            on_interrupt: OnInterrupt::Cancel,
            prompts: Prompts::Never,
        }
    }

    /// Shows the job to its end; returns its exit code.
    pub(super) async fn run(self) -> Result<u8, CommandError> {
        self.run_to_end().await.map(|followed| followed.exit_code)
    }

    /// Shows the job to its end.
    pub(super) async fn run_to_end(self) -> Result<Followed, CommandError> {
        let mut signals = Signals::new()?;
        let mut events = events(self.client.clone(), self.id.clone(), 0);
        let mut display = self.display(true);
        let mut clock = interval(live::PACE);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (answers, mut answered) = mpsc::channel::<Answer>(4);
        let mut cancelling: Option<JoinHandle<()>> = None;
        loop {
            if events.is_empty() {
                // All that has happened is seen: what still waits for an answer really does.
                display.flush()?;
                for question in std::mem::take(&mut display.questions) {
                    display.clear();
                    self.ask(question, &answers);
                }
            }
            tokio::select! {
                received = events.recv() => match received {
                    Some(received) => display.show(&received?)?,
                    None => return self.finish(display).await,
                },
                _ = clock.tick() => display.tick()?,
                Some(answer) = answered.recv() => {
                    if let Err(error) = self.client.answer(&self.id, &answer).await {
                        display.clear();
                        note(&format!("the answer was not taken: {error}"));
                    }
                }
                name = signals.next() => match (self.on_interrupt, &mut cancelling) {
                    (OnInterrupt::Leave, _) => {
                        display.flush()?;
                        display.clear();
                        note(&format!("job {} goes on; `kiln attach {}` shows it", self.id, self.id));
                        return Ok(Followed::left());
                    }
                    (OnInterrupt::Cancel, None) => {
                        display.say(&format!("Cancelling build after receiving {name}"))?;
                        cancelling = Some(tokio::spawn(cancel(self.client.clone(), self.id.clone())));
                    }
                    (OnInterrupt::Cancel, Some(cancelling)) => {
                        display.flush()?;
                        // The daemon must have heard of it before it is left alone; a third signal waits no longer.
                        tokio::select! {
                            _ = cancelling => {}
                            _ = signals.next() => {}
                        }
                        let id = &self.id;
                        display.clear();
                        note(&format!("kilnd goes on cleaning up after job {id}; `kiln attach {id}` shows it"));
                        return Ok(Followed::left());
                    }
                },
            }
        }
    }

    /// Shows events that have come already.
    pub(super) async fn print(self, events: Vec<Received>) -> Result<(), CommandError> {
        let mut display = self.display(false);
        for received in &events {
            display.show(received)?;
        }
        display.flush()?;
        for question in display.questions.iter().filter(|_| display.ending.is_none()) {
            self.say_how_to_answer(question, display.questions.len() > 1);
        }
        Ok(())
    }

    fn ask(&self, question: Question, answers: &mpsc::Sender<Answer>) {
        if self.prompts.ask_here() {
            if let Some(text) = self.prompts.unasked(&question) {
                note(&text);
            }
            self.prompts.ask(question, answers.clone());
        } else {
            self.say_how_to_answer(&question, false);
        }
    }

    /// Tells who only watches that the job waits. The question itself is among the job's lines.
    fn say_how_to_answer(&self, question: &Question, among_others: bool) {
        note(&format!("job {} waits for an answer: `{}`", self.id, how_to_answer(&self.id, question, among_others)));
    }

    /// `live` says whether what goes on is shown, too.
    fn display(&self, live: bool) -> Display {
        let look = Look {
            machine_readable: self.machine_readable,
            terminal: !self.machine_readable && terminal::is_watched(),
            colour: !self.machine_readable && terminal::wants_colour(self.colour),
            timestamps: self.timestamps,
            time_zone: time_zone(),
        };
        let view = View {
            look,
            colour: self.colour,
            json: self.json,
            debug: self.debug,
            shows_questions: !self.prompts.ask_here(),
        };
        let live = (live && !self.json).then(|| {
            let drawn = !self.machine_readable && terminal::can_draw();
            let mut live = if drawn { Live::drawn() } else { Live::told() };
            if self.queued {
                live.queued();
            }
            live
        });
        Display::new(view, live)
    }

    async fn finish(self, mut display: Display) -> Result<Followed, CommandError> {
        display.flush()?;
        let is_confined = display.is_confined;
        let mut ending = display.ending;
        if ending.is_none() {
            // A full disk may have kept the last event from being written.
            let job = self.client.job(&self.id).await?;
            ending = job.exit_code.map(|exit_code| Ending { exit_code, error: job.error });
        }
        match ending {
            Some(Ending { exit_code, error: None }) => Ok(Followed { exit_code, is_confined }),
            Some(Ending { error: Some(error), .. }) => {
                let hint = format!("`kiln logs {}` shows all that it said", self.id);
                Err(CommandError::new(format!("job {} failed: {error}", self.id)).hint(hint))
            }
            None => Err(CommandError::new(format!("the events of job {} end without its end", self.id))
                .hint("`kiln daemon status` shows where the daemon's log is")),
        }
    }
}
