//! Runs `VBoxManage`: one call at a time for a machine, each with a limit, none given up while VirtualBox works on it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;

use super::problem::{Failure, Problem};
use crate::ledger::NoLedger;
use crate::process::{ChildCommand, ChildProcess, ExitState};

/// How long an ordinary call may take: VirtualBox's services start with the first one, which takes long on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

/// How long a call may take that moves whole disks.
const LONG_LIMIT: Duration = Duration::from_secs(12 * 60 * 60);

/// How long another session's hold on a machine is waited out, and VirtualBox's services to come up.
const LOCK_LIMIT: Duration = Duration::from_secs(if cfg!(test) { 3 } else { 60 });

/// The same for a call that exports: on a busy machine VirtualBox lets go of disks late.
const EXPORT_LOCK_LIMIT: Duration = Duration::from_secs(if cfg!(test) { 6 } else { 180 });

/// How long after a machine was told to run it may come to run: not at the first try, and at the end of the last.
pub(super) const START_LIMIT: Duration = Duration::from_secs(LIMIT.as_secs() + LOCK_LIMIT.as_secs());

/// First and longest pause between two tries at a machine that is held. VirtualBox tells nobody when it is free.
const LOCK_INTERVAL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// The longest pause of one that exports: VirtualBox's services end when nobody asks for some seconds, and the next ones know of no hold.
const EXPORT_LONGEST_PAUSE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 15 });

/// How long a call that nobody waits for any more may take to end by itself, once it was asked to.
const INTERRUPT_LIMIT: Duration = Duration::from_secs(30);

/// How a call is ended when nobody waits for its answer any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WhenAbandoned {
    /// It takes moments: it goes to its end.
    Finish,
    /// It may take hours: it is asked to stop, as with Ctrl-C.
    Interrupt,
}

/// What it said.
#[derive(Debug)]
struct Answer {
    said: String,
    /// That is only the end of it.
    is_cut: bool,
}

/// The program.
#[derive(Debug, Clone)]
pub(super) struct VBoxManage {
    program: PathBuf,
    /// Who calls for the same machine waits here: two sessions cannot hold one machine.
    turn: Arc<Mutex<()>>,
    /// How many calls there were about this machine.
    calls: Arc<AtomicUsize>,
    /// How long an ordinary call may take.
    limit: Duration,
    /// How long one may take that moves whole disks.
    long_limit: Duration,
}

impl VBoxManage {
    pub(super) fn new(program: PathBuf) -> Self {
        Self { program, turn: Arc::default(), calls: Arc::default(), limit: LIMIT, long_limit: LONG_LIMIT }
    }

    /// The same program with a queue of its own: for calls about another machine.
    pub(super) fn for_machine(&self) -> Self {
        Self { turn: Arc::default(), calls: Arc::default(), ..self.clone() }
    }

    /// The same program with less patience.
    #[cfg(test)]
    pub(super) fn with_limit(self, limit: Duration) -> Self {
        Self { limit, ..self }
    }

    /// The same program with less patience for calls that move whole disks.
    #[cfg(test)]
    pub(super) fn with_long_limit(self, long_limit: Duration) -> Self {
        Self { long_limit, ..self }
    }

    pub(super) fn path(&self) -> &Path {
        &self.program
    }

    /// How many calls about this machine were begun.
    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Acquire)
    }

    /// Waits until no call about this machine is at work any more.
    pub(super) async fn settled(&self) {
        drop(self.turn.lock().await);
    }

    /// Runs it and returns what it said. A machine that another session holds is waited for.
    ///
    /// If the future is dropped the call goes to its end, and the next one about this machine waits for that.
    ///
    /// # Errors
    ///
    /// Also that its answer is too long to be kept: nobody reads half of one.
    pub(super) async fn run(&self, arguments: &[impl AsRef<str>]) -> Result<String, Failure> {
        let answer = self.call(arguments, self.limit, WhenAbandoned::Finish, None).await?;
        if answer.is_cut {
            return Err(Failure::new(
                &shown(arguments),
                Problem::Senseless,
                "its answer is too long: the beginning is lost",
            ));
        }
        Ok(answer.said)
    }

    /// As [`run`](Self::run), for a call that moves whole disks. If the future is dropped the call is asked to stop.
    pub(super) async fn run_long(&self, arguments: &[impl AsRef<str>]) -> Result<String, Failure> {
        Ok(self.call(arguments, self.long_limit, WhenAbandoned::Interrupt, None).await?.said)
    }

    /// As [`run_long`](Self::run_long), for a call that leaves a half behind when it is stopped. If the future is dropped it goes to its end.
    pub(super) async fn run_long_to_its_end(&self, arguments: &[impl AsRef<str>]) -> Result<String, Failure> {
        Ok(self.call(arguments, self.long_limit, WhenAbandoned::Finish, None).await?.said)
    }

    /// As [`run`](Self::run), but a machine that another session holds is not waited for.
    pub(super) async fn run_once(&self, arguments: &[String]) -> Result<String, Failure> {
        Ok(self.call_once(arguments, self.limit, WhenAbandoned::Finish).await?.said)
    }

    /// As [`run_long`](Self::run_long), for a call that makes files in `directory`, which has nothing else in it. VirtualBox takes what an
    /// earlier try has left there for something in the way.
    pub(super) async fn run_long_into(
        &self,
        directory: &Path,
        arguments: &[impl AsRef<str>],
    ) -> Result<String, Failure> {
        Ok(self.call(arguments, self.long_limit, WhenAbandoned::Interrupt, Some(directory)).await?.said)
    }

    async fn call(
        &self,
        arguments: &[impl AsRef<str>],
        limit: Duration,
        abandoned: WhenAbandoned,
        fills: Option<&Path>,
    ) -> Result<Answer, Failure> {
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.as_ref().to_owned()).collect();
        let mut patience =
            if fills.is_some() { Patience::of(EXPORT_LOCK_LIMIT, EXPORT_LONGEST_PAUSE) } else { Patience::new() };
        loop {
            let failure = match self.call_once(&arguments, limit, abandoned).await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            patience.wait_out(failure).await?;
            if let Some(directory) = fills {
                empty(directory);
            }
        }
    }

    async fn call_once(
        &self,
        arguments: &[String],
        limit: Duration,
        abandoned: WhenAbandoned,
    ) -> Result<Answer, Failure> {
        self.calls.fetch_add(1, Ordering::AcqRel);
        let turn = self.turn.clone().lock_owned().await;
        let (answer, waiting) = oneshot::channel();
        let (program, arguments) = (self.program.clone(), arguments.to_vec());
        let command_line = shown(&arguments);
        tracing::debug!(command_line, "calling VBoxManage");
        tokio::spawn(async move {
            let _turn = turn;
            run_to_end(&program, &arguments, limit, abandoned, answer).await;
        });
        match waiting.await {
            Ok(answer) => answer,
            Err(_) => Err(Failure::new(&command_line, Problem::NoAnswer, "its task ended")),
        }
    }
}

/// How long what passes is waited out, over all tries of one call.
pub(super) struct Patience {
    give_up: Instant,
    pause: Duration,
    longest_pause: Duration,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self::of(LOCK_LIMIT, LOCK_INTERVAL.1)
    }

    fn of(limit: Duration, longest_pause: Duration) -> Self {
        Self { give_up: Instant::now() + limit, pause: LOCK_INTERVAL.0, longest_pause }
    }

    /// Pauses before the next try.
    ///
    /// # Errors
    ///
    /// The failure itself: it does not pass, or has not for too long.
    pub(super) async fn wait_out(&mut self, failure: Failure) -> Result<(), Failure> {
        if !failure.problem.passes() || Instant::now() + self.pause >= self.give_up {
            return Err(failure);
        }
        tracing::debug!(%failure, "waiting for VirtualBox");
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(self.longest_pause);
        Ok(())
    }
}

/// Removes the files in `directory`. One that stays is complained of by the next try.
fn empty(directory: &Path) {
    for entry in std::fs::read_dir(directory).into_iter().flatten().flatten() {
        let _ = std::fs::remove_file(entry.path());
    }
}

/// What is behind a word that starts so (`keyboardputscancode`, `keyboardputstring`) is typed, and may be a password.
const TYPES: &str = "keyboardput";

/// The call as it can be typed, but for the keys of a guest's keyboard.
pub(super) fn shown(arguments: &[impl AsRef<str>]) -> String {
    let mut line = "VBoxManage".to_owned();
    let typed = arguments.iter().position(|word| word.as_ref().starts_with(TYPES));
    let told = typed.map_or(arguments.len(), |typed| typed + 1);
    for argument in &arguments[..told] {
        let argument = argument.as_ref();
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:,=+@%".contains(c);
        line.push(' ');
        if !argument.is_empty() && argument.chars().all(plain) {
            line.push_str(argument);
        } else {
            line.push_str(&format!("'{}'", argument.replace('\'', r"'\''")));
        }
    }
    if told < arguments.len() {
        line.push_str(&format!(" … ({} not shown)", arguments.len() - told));
    }
    line
}

/// What it says is read by us, so it has to be in English, with every name as it is.
const ENVIRONMENT: [(&str, &str); 2] = [("LC_ALL", "C.UTF-8"), ("LANGUAGE", "")];

/// Runs the program to its end, whatever becomes of who asked. It dies with this process, so that no call is at work any more when a
/// sweep looks what there is.
async fn run_to_end(
    program: &Path,
    arguments: &[String],
    limit: Duration,
    abandoned: WhenAbandoned,
    mut answer: oneshot::Sender<Result<Answer, Failure>>,
) {
    let line = shown(arguments);
    let command = ChildCommand {
        program: program.to_owned(),
        arguments: arguments.iter().map(OsString::from).collect(),
        environment: ENVIRONMENT.to_vec(),
        inherited: Vec::new(),
        hear_stdout: true,
    };
    let process = match ChildProcess::spawn(command, Arc::new(NoLedger)).await {
        Ok(process) => process,
        Err(error) => {
            let words = format!("{} cannot be run: {error}", program.display());
            let _ = answer.send(Err(Failure::new(&line, Problem::CannotRun, &words)));
            return;
        }
    };
    let outcome = match wait(&process, limit, abandoned, &mut answer).await {
        Some(state) => {
            let said = process.stdout();
            match Failure::of(&line, state, &said, &process.stderr_tail()) {
                Some(failure) => Err(failure),
                None => Ok(Answer { said, is_cut: process.stdout_is_cut() }),
            }
        }
        None => Err(Failure::new(&line, Problem::NoAnswer, &format!("no answer within {} s", limit.as_secs_f32()))),
    };
    let _ = answer.send(outcome);
}

/// Waits for its end; `None`: it took too long, and was ended.
async fn wait(
    process: &ChildProcess,
    limit: Duration,
    abandoned: WhenAbandoned,
    answer: &mut oneshot::Sender<Result<Answer, Failure>>,
) -> Option<ExitState> {
    let nobody_waits = async {
        match abandoned {
            WhenAbandoned::Finish => std::future::pending().await,
            WhenAbandoned::Interrupt => answer.closed().await,
        }
    };
    tokio::select! {
        state = process.ended() => return Some(state),
        () = tokio::time::sleep(limit) => {}
        () = nobody_waits => {
            // VirtualBox is told to give up what it works on for this call.
            process.interrupt();
            if let Ok(state) = tokio::time::timeout(INTERRUPT_LIMIT, process.ended()).await {
                return Some(state);
            }
        }
    }
    // It is waited for, too, so that nothing of it is left.
    process.kill();
    process.ended().await;
    None
}
