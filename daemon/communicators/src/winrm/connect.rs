//! Tries until the guest lets us in and runs a command, or time is up.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::endpoint::Endpoint;
use super::error::{Attempt, Failure, Stage};
use super::powershell;
use super::shell::{OUTPUT_PATIENCE, Shell};
use super::soap::answer::Stream;
use super::soap::request::Input;
use crate::connect_error::ConnectError;
use crate::lookout::{GuestSight, Lookout};
use crate::observer::{ConnectEvent, ConnectObserver};

/// What a guest says that runs PowerShell for us.
const GREETING: &str = "WinRM connected.";

/// How long it may take to say it: the first PowerShell of a new user sets up a profile.
const GREETING_TIMEOUT: Duration = Duration::from_secs(180);

/// How long a watched guest without an address is left alone: its address may be fixed, and nothing sent.
const UNSEEN_ADDRESS: Duration = Duration::from_secs(20);

/// The same from its first packet.
const UNSEEN_ADDRESS_OF_SPEAKER: Duration = Duration::from_secs(5);

/// Between attempts that a closed port ended, for [`REFUSED_OFTEN_FOR`]; it costs the guest a packet.
const REFUSED: Duration = Duration::from_millis(450);
const REFUSED_OFTEN_FOR: Duration = Duration::from_secs(60);

/// The longest pause between attempts, but for rejected logins.
const PAUSE: Duration = Duration::from_secs(5);

/// Rejected logins that are repeated soon: the installation may be setting up the user.
const SOON: u32 = 5;

/// The pause after more of them.
const PAUSE_OF_REJECTED: Duration = Duration::from_secs(90);

/// Rejected logins of a user that Windows bears: by its defaults since 11 and Server 2022 the tenth locks the user out.
const BORNE: u32 = 9;

/// The pause after so many of them: Windows forgets them when there was none for ten minutes.
const FORGOTTEN: Duration = Duration::from_secs(10 * 60 + 15);

/// Makes a connection, trying until `deadline`.
pub(crate) async fn establish(
    endpoint: &Arc<Endpoint>,
    observer: &dyn ConnectObserver,
    deadline: Option<Instant>,
) -> Result<(), ConnectError> {
    let progress = Progress { endpoint, observer, started: Instant::now(), state: Mutex::default() };
    let trying = progress.until_it_works();
    let ended = match deadline {
        Some(deadline) => timeout_at(deadline, trying).await,
        None => Ok(trying.await),
    };
    match ended {
        Ok(Ok(())) => {
            let (address, elapsed) = (endpoint.address(), progress.started.elapsed());
            observer.event(&ConnectEvent::Connected { address, elapsed, server: "WinRM".to_owned() });
            Ok(())
        }
        Ok(Err(last)) => Err(progress.error(Some(last))),
        Err(_) => Err(progress.error(None)),
    }
}

struct Progress<'a> {
    endpoint: &'a Arc<Endpoint>,
    observer: &'a dyn ConnectObserver,
    started: Instant,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    attempts: u32,
    rejections: u32,
    shown: Option<Stage>,
    last: Option<Attempt>,
}

impl Progress<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn until_it_works(&self) -> Result<(), Attempt> {
        loop {
            self.until_it_has_an_address().await;
            self.state().attempts += 1;
            match greet(self.endpoint).await {
                Ok(()) => return Ok(()),
                Err(attempt) if attempt.is_final => return Err(attempt),
                Err(attempt) => sleep(self.failed(attempt)).await,
            }
        }
    }

    /// Notes a failed attempt and returns the pause before the next.
    fn failed(&self, attempt: Attempt) -> Duration {
        let pause = {
            let mut state = self.state();
            if let Stage::Login { tried, offered } = &attempt.stage {
                state.rejections = state.rejections.saturating_add(1);
                let (attempt, tried) = (state.rejections, vec![(*tried).to_owned()]);
                self.observer.event(&ConnectEvent::Rejected { attempt, tried, offered: offered.clone() });
            }
            pause(&attempt, state.rejections, self.started.elapsed())
        };
        self.show(&attempt.stage);
        self.state().last = Some(attempt);
        pause
    }

    fn show(&self, stage: &Stage) {
        let mut state = self.state();
        if state.shown.as_ref() != Some(stage) {
            tracing::debug!(address = %self.endpoint.address(), %stage, "winrm stage");
            self.observer.event(&ConnectEvent::Stage { stage: stage.kind(), words: stage.to_string() });
            state.shown = Some(stage.clone());
        }
    }

    /// Leaves a watched guest alone that cannot answer yet.
    async fn until_it_has_an_address(&self) {
        let Some(lookout) = self.endpoint.config().lookout.clone().filter(|_| self.endpoint.config().proxy.is_none())
        else {
            return;
        };
        let waiting = async {
            let mut sight = lookout.sight();
            while let GuestSight::Booting { .. } = sight {
                self.show(&Stage::NoAddress);
                sight = lookout.other_than(sight).await;
            }
        };
        let limit = patience_without_address(&*lookout);
        let _ = timeout(limit, waiting).await;
    }

    /// Makes the error for giving up: after `last`, or with time up, when what failed last is told.
    fn error(&self, last: Option<Attempt>) -> ConnectError {
        let mut state = self.state();
        let last = last
            .or_else(|| state.last.take())
            .unwrap_or_else(|| Attempt::new(state.shown.clone().unwrap_or(Stage::NoAnswer), Failure::TimeUp));
        last.into_error(self.endpoint.address(), state.attempts, self.started.elapsed())
    }
}

fn patience_without_address(lookout: &dyn Lookout) -> Duration {
    match lookout.sight() {
        GuestSight::Booting { spoke: true, .. } => UNSEEN_ADDRESS_OF_SPEAKER,
        _ => UNSEEN_ADDRESS,
    }
}

fn pause(attempt: &Attempt, rejections: u32, elapsed: Duration) -> Duration {
    match attempt.stage {
        Stage::Login { .. } if rejections >= BORNE => FORGOTTEN,
        Stage::Login { .. } if rejections > SOON => PAUSE_OF_REJECTED,
        Stage::Login { .. } => Duration::from_secs(u64::from(rejections)).min(PAUSE),
        Stage::Refused | Stage::ClosedAtOnce if elapsed < REFUSED_OFTEN_FOR => REFUSED,
        Stage::Silent | Stage::NoAnswer => Duration::from_millis(100),
        _ if elapsed < REFUSED_OFTEN_FOR => Duration::from_secs(1),
        _ => PAUSE,
    }
}

/// Runs a command that shows that commands run.
async fn greet(endpoint: &Arc<Endpoint>) -> Result<(), Attempt> {
    let greeting = async {
        let mut shell = Shell::open(endpoint).await?;
        let script = format!("$ProgressPreference = 'SilentlyContinue'\nWrite-Output '{GREETING}'");
        shell.start(&powershell::command(&script), Input::Console).await?;
        let (mut said, mut errors) = (Vec::new(), Vec::new());
        loop {
            let received = shell.receive(OUTPUT_PATIENCE).await?;
            for (stream, piece) in received.pieces {
                let kept = if stream == Stream::Out { &mut said } else { &mut errors };
                kept.extend_from_slice(&piece[..piece.len().min(4096_usize.saturating_sub(kept.len()))]);
            }
            let Some(exit) = received.exit else { continue };
            if String::from_utf8_lossy(&said).contains(GREETING) {
                return Ok(());
            }
            let said = powershell::errors(&String::from_utf8_lossy(&errors));
            return Err(Attempt::new(Stage::Session, Failure::Check { exit, said }));
        }
    };
    match timeout(GREETING_TIMEOUT, greeting).await {
        Ok(ended) => ended,
        Err(_) => {
            let failure = Failure::TimedOut { what: "PowerShell's first answer", after: GREETING_TIMEOUT };
            Err(Attempt::new(Stage::Session, failure))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_locked_out_by_us() {
        let login = Attempt::new(Stage::Login { tried: "Basic", offered: Vec::new() }, Failure::Rejected);
        let pauses: Vec<u64> = (1..=10).map(|count| pause(&login, count, Duration::ZERO).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 3, 4, 5, 90, 90, 90, 615, 615]);
        // As Windows counts: it forgets the failures when there was none for ten minutes, and bears nine.
        let (mut counted, mut most) = (1, 1);
        for count in 1..200 {
            let is_forgotten = pause(&login, count, Duration::from_secs(u64::from(count))) >= Duration::from_mins(10);
            counted = if is_forgotten { 1 } else { counted + 1 };
            most = most.max(counted);
        }
        assert_eq!(most, BORNE);
        let refused = Attempt::new(Stage::Refused, Failure::TimeUp);
        assert_eq!(pause(&refused, 0, Duration::ZERO), REFUSED);
        assert_eq!(pause(&refused, 0, Duration::from_secs(61)), PAUSE);
    }
}
