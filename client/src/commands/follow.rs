//! Shows a job while it runs: events to lines, signals to cancellations, questions to answers, and a lost daemon found again.

use std::io::{self, BufWriter, StdoutLock, Write as _};
use std::time::Duration;

use kiln_protocol::{Answer, CancelMode, Event, EventBody, JobId, Question};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::answer::how_to_answer;
use super::prompt::{GUEST, Prompts};
use super::{Context, clock, note};
use crate::api::{Client, ClientError, Received, Starting};
use crate::error::CommandError;
use crate::live::{self, Live};
use crate::render::{Look, Renderer};
use crate::terminal;
use crate::visible::{self, Visible};

/// Events that may wait for the terminal.
const BACKLOG: usize = 64;

/// Time in which a lost daemon must be found again.
const RECONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// Time in which a lost daemon may come back by itself, before one is started.
const RETURN_TIME: Duration = Duration::from_secs(5);

/// Time after which a daemon that was found again counts as there, though nothing happens in the job. One that dies as soon as it is
/// started is not waited for without end.
const SETTLING_TIME: Duration = Duration::from_secs(3);

/// Pauses between attempts to reach the daemon: there is nothing to wait for but the attempt itself.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

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

type Events = mpsc::Receiver<Result<Received, ClientError>>;

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
                        return Ok(1);
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
                        return Ok(1);
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
            time_zone: clock::time_zone(),
        };
        Display {
            output: BufWriter::new(if self.json {
                terminal::json_stdout()
            } else {
                terminal::stdout_with(self.colour)
            }),
            renderer: (!self.json).then(|| Renderer::new(look, self.debug)),
            live: (live && !self.json).then(|| {
                let drawn = !self.machine_readable && terminal::can_draw();
                let mut live = if drawn { Live::drawn() } else { Live::told() };
                if self.queued {
                    live.queued();
                }
                live
            }),
            is_watched: !self.machine_readable && terminal::is_watched(),
            questions: Vec::new(),
            shows_questions: !self.prompts.ask_here(),
            ending: None,
        }
    }

    async fn finish(self, mut display: Display) -> Result<u8, CommandError> {
        display.flush()?;
        let mut ending = display.ending;
        if ending.is_none() {
            // A full disk may have kept the last event from being written.
            let job = self.client.job(&self.id).await?;
            ending = job.exit_code.map(|exit_code| Ending { exit_code, error: job.error });
        }
        match ending {
            Some(Ending { exit_code, error: None }) => Ok(exit_code),
            Some(Ending { error: Some(error), .. }) => {
                let hint = format!("`kiln logs {}` shows all that it said", self.id);
                Err(CommandError::new(format!("job {} failed: {error}", self.id)).hint(hint))
            }
            None => Err(CommandError::new(format!("the events of job {} end without its end", self.id))
                .hint("`kiln daemon status` shows where the daemon's log is")),
        }
    }
}

/// Where events go.
struct Display {
    output: BufWriter<Visible<StdoutLock<'static>>>,
    /// Nothing when raw lines are wanted.
    renderer: Option<Renderer>,
    /// Nothing when nobody wants to know what goes on.
    live: Option<Live>,
    /// Whether somebody sits at standard output.
    is_watched: bool,
    /// Questions that nobody was asked yet.
    questions: Vec<Question>,
    /// Whether questions and answers are lines as all others, because nobody is asked here.
    shows_questions: bool,
    ending: Option<Ending>,
}

struct Ending {
    exit_code: u8,
    error: Option<String>,
}

impl Display {
    fn show(&mut self, received: &Received) -> io::Result<()> {
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
    fn say(&mut self, text: &str) -> io::Result<()> {
        match &self.renderer {
            Some(renderer) => renderer.say(text, &mut self.output)?,
            None => note(text),
        }
        self.flush()
    }

    /// Shows what goes on. Where lines cannot be drawn, those that are due go where somebody looks: to a terminal, else beside
    /// the output, which belongs to scripts.
    fn tick(&mut self) -> io::Result<()> {
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
    fn clear(&mut self) {
        if let Some(live) = &mut self.live {
            live.clear();
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.output.buffer().is_empty() {
            return Ok(());
        }
        match &self.live {
            Some(live) => live.suspend(|| self.output.flush()),
            None => self.output.flush(),
        }
    }
}

/// Returns what a question or its answer is as a line of its build.
fn question_line(event: &Event) -> Option<Event> {
    let text = match &event.body {
        EventBody::Prompt { text, guest: Some(guest), .. } => format!("{GUEST}{guest}\n{text}"),
        EventBody::Prompt { text, .. } => text.clone(),
        EventBody::PromptAnswered { answer, .. } => format!("Answered: {answer}"),
        _ => return None,
    };
    Some(Event { body: EventBody::Say { text, target: None }, ..event.clone() })
}

pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for a signal and returns its name, as Go has it. Cancel safe.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "interrupt",
            _ = self.terminate.recv() => "terminated",
        }
    }
}

/// Cancels the job, even when the daemon is away for a moment.
pub(super) async fn cancel(client: Client, id: JobId) {
    let mut attempts = Attempts::new(&client);
    loop {
        match attempts.client().cancel(&id, CancelMode::Graceful).await {
            Err(error) if error.is_lost_connection() && attempts.pause().await => {}
            Err(ClientError::Problem(problem)) if problem.code == kiln_protocol::ProblemCode::WrongState => return,
            Err(error) => return note(&format!("the job was not cancelled: {error}")),
            Ok(_) => return,
        }
    }
}

/// Receives a job's events with numbers above `after` until its last, across restarts of the daemon.
pub(super) fn events(client: Client, id: JobId, after: u64) -> Events {
    let (sender, receiver) = mpsc::channel(BACKLOG);
    tokio::spawn(async move {
        if let Err(error) = forward(&client, &id, after, &sender).await {
            // Fails when nobody wants to know any more.
            let _ = sender.send(Err(error)).await;
        }
    });
    receiver
}

async fn forward(
    client: &Client,
    id: &JobId,
    mut after: u64,
    sender: &mpsc::Sender<Result<Received, ClientError>>,
) -> Result<(), ClientError> {
    let mut attempts = Attempts::new(client);
    loop {
        let (before, mut opened) = (after, None);
        let result = forward_stream(&attempts.client(), id, &mut after, &mut opened, sender).await;
        attempts.note(after > before, opened.map(|opened| opened.elapsed()));
        match result {
            Ok(true) => return Ok(()),
            Ok(false) if attempts.pause().await => {}
            Ok(false) => return Err(ClientError::Timeout),
            Err(error) if error.is_lost_connection() && attempts.pause().await => {}
            Err(error) => return Err(error),
        }
    }
}

/// Receives one stream to its end; true when nothing comes after it.
async fn forward_stream(
    client: &Client,
    id: &JobId,
    after: &mut u64,
    opened: &mut Option<Instant>,
    sender: &mpsc::Sender<Result<Received, ClientError>>,
) -> Result<bool, ClientError> {
    let before = *after;
    let mut stream = client.events(id, before, true).await?;
    *opened = Some(Instant::now());
    while let Some(received) = stream.next().await? {
        *after = received.event.seq;
        let last = matches!(received.event.body, EventBody::JobFinished { .. });
        if sender.send(Ok(received)).await.is_err() || last {
            return Ok(true);
        }
    }
    // The stream ended early: the daemon is stopping, or the last event could not be written. The latter is certain when the job is over
    // and a whole stream brings nothing more.
    let job = client.starting(Starting::Never).job(id).await;
    Ok(*after == before && job.is_ok_and(|job| job.state.is_over()))
}

/// Returns all events that a job has now.
pub(super) async fn events_so_far(client: &Client, id: &JobId) -> Result<Vec<Received>, ClientError> {
    let mut stream = client.events(id, 0, false).await?;
    let mut events = Vec::new();
    while let Some(received) = stream.next().await? {
        events.push(received);
    }
    Ok(events)
}

/// Attempts to reach a daemon that was there before.
struct Attempts {
    client: Client,
    since: Option<Instant>,
    pause: Duration,
}

impl Attempts {
    fn new(client: &Client) -> Self {
        Self { client: client.clone(), since: None, pause: FIRST_PAUSE }
    }

    /// Returns the client for the next attempt. At first it starts no daemon: one may be on its way back.
    fn client(&self) -> Client {
        match self.since {
            Some(since) if since.elapsed() < RETURN_TIME => self.client.starting(Starting::Never),
            _ => self.client.clone(),
        }
    }

    /// Begins anew when the daemon was found: it brought an event, or a stream that was there for a while without one.
    fn note(&mut self, brought_event: bool, stream_lasted: Option<Duration>) {
        if brought_event || stream_lasted.is_some_and(|time| time >= SETTLING_TIME) {
            *self = Self::new(&self.client);
        }
    }

    /// Waits before the next attempt; false when there have been enough.
    async fn pause(&mut self) -> bool {
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() > RECONNECT_TIMEOUT {
            return false;
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_daemon_that_was_found_again_may_be_lost_again() {
        let client = Client::new("/nowhere".into(), Starting::Never);
        let long_ago = Instant::now().checked_sub(RECONNECT_TIMEOUT + Duration::from_secs(1)).unwrap();
        for (brought_event, lasted, goes_on) in [
            (true, None, true),
            (false, Some(SETTLING_TIME), true),
            // One that dies at once, and one that is not there, are not waited for without end.
            (false, Some(Duration::from_millis(10)), false),
            (false, None, false),
        ] {
            let mut attempts = Attempts { since: Some(long_ago), ..Attempts::new(&client) };
            attempts.note(brought_event, lasted);
            assert_eq!(attempts.pause().await, goes_on, "{brought_event} {lasted:?}");
        }
    }
}
