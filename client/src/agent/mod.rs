//! `kiln agent`: a service of a desktop session that shows what becomes of this person's jobs, by notifications with buttons and, on KDE, in the
//! list of running jobs. It follows the person's own kilnd and the one of all users, by `org.kiln.Kiln1`, and starts neither.
//!
//! ```text
//! kilnd ─► follower ─► desk (decides what is shown) ─► notifications, job_views ─► the desktop
//!   ▲                                                                                  │
//!   └───────────────────────────────── deeds ◄── buttons ──────────────────────────────┘
//! ```

mod complaint;
mod deeds;
mod desk;
mod follower;
mod job_views;
mod news;
mod notifications;
mod signals;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;
use zbus::Connection;
use zbus::connection::Builder;
use zbus::fdo::RequestNameFlags;

use crate::error::CommandError;
use complaint::complain;
use desk::{Deed, Desk, Notice, Progress, Show, Urgency};
use follower::{follow, owner_of};
use job_views::JobViews;
use news::{News, Place, Thing};
use notifications::Notifications;
use signals::Pressed;

/// Who has it is the one agent of a session.
const NAME: &str = "org.kiln.Kiln1.Agent";

/// Time for a bus to answer.
const BUS_TIMEOUT: Duration = Duration::from_secs(10);

/// Time after which the bus of the system is looked for again.
const AGAIN: Duration = Duration::from_secs(10);

/// News that wait to be shown; kilnd's are put together while they do.
const QUEUE: usize = 64;

/// Shows jobs until it is told to end, or the session has ended.
///
/// # Errors
///
/// There is no session bus, or another agent is on it.
pub(crate) async fn run() -> Result<(), CommandError> {
    let session = connect(Builder::session()).await.map_err(|error| {
        CommandError::new(format!("there is no session bus to show anything by: {error}"))
            .hint("`kiln agent` runs in a desktop session: `systemctl --user enable --now kiln-agent.service` there")
    })?;
    let flags = RequestNameFlags::DO_NOT_QUEUE;
    if let Err(error) = session.request_name_with_flags(NAME, flags).await {
        let error = match error {
            zbus::Error::NameTaken => CommandError::new("another `kiln agent` runs in this session"),
            error => CommandError::new(format!("the session bus does not give the name {NAME}: {error}")),
        };
        return Err(error);
    }
    let (news, told) = mpsc::channel(QUEUE);
    let buses = Buses::default();
    buses.note(Place::Session, session.clone());
    let (bus, of_session) = (session.clone(), news.clone());
    tokio::spawn(async move {
        if let Err(error) = follow(bus, Place::Session, of_session).await {
            complain(&format!("jobs are not followed any more: {error}"));
        }
    });
    let known = buses.clone();
    tokio::spawn(async move {
        // A machine needs none, and one that is started again is another.
        let connect = || connect(Builder::system());
        let follow = |bus: Connection| {
            known.note(Place::System, bus.clone());
            follow(bus, Place::System, news.clone())
        };
        follow_again_and_again(&news, AGAIN, connect, follow).await;
    });
    Agent::new(session, buses).await?.show(told).await
}

/// The buses as they are now.
#[derive(Clone, Default)]
struct Buses(Arc<Mutex<HashMap<Place, Connection>>>);

impl Buses {
    fn note(&self, place: Place, bus: Connection) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(place, bus);
    }

    fn of(&self, place: Place) -> Option<Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&place).cloned()
    }
}

/// Follows what may be away, and again when it is back, until nobody listens any more.
async fn follow_again_and_again<T, C, F>(
    news: &mpsc::Sender<News>,
    pause: Duration,
    mut connect: impl FnMut() -> C,
    mut follow: impl FnMut(T) -> F,
) where
    C: Future<Output = zbus::Result<T>>,
    F: Future<Output = zbus::Result<()>>,
{
    while !news.is_closed() {
        if let Ok(bus) = connect().await {
            if let Err(error) = follow(bus).await {
                complain(&format!("jobs of the daemon for all users are not followed just now: {error}"));
            }
            if news.send(News::Left(Place::System)).await.is_err() {
                return;
            }
        }
        // Nobody tells that a bus is there.
        tokio::select! {
            () = news.closed() => return,
            () = tokio::time::sleep(pause) => {}
        }
    }
}

async fn connect(builder: Builder<'_>) -> zbus::Result<Connection> {
    let late = || Err(zbus::Error::Failure("no answer in time".to_owned()));
    timeout(BUS_TIMEOUT, builder.build()).await.unwrap_or_else(|_| late())
}

/// Of what something was not done, and why.
type Failure = (Thing, String);

struct Agent {
    session: Connection,
    buses: Buses,
    desk: Desk,
    notifications: Notifications,
    views: JobViews,
    /// What notifications say of jobs that run, where there are no views.
    said: HashMap<Thing, Progress>,
    logs: Arc<TempDir>,
    /// Where deeds tell that they were not done.
    failures: mpsc::Sender<Failure>,
    failed: mpsc::Receiver<Failure>,
}

impl Agent {
    async fn new(session: Connection, buses: Buses) -> Result<Self, CommandError> {
        let logs = deeds::log_directory();
        let logs =
            logs.map_err(|error| CommandError::new(format!("there is no place for logs to be shown: {error}")))?;
        let (failures, failed) = mpsc::channel(QUEUE);
        let has_views = owner_of(&session, job_views::SERVER).await.is_some();
        Ok(Self {
            buses,
            desk: Desk::of(rustix::process::geteuid().as_raw()),
            notifications: Notifications::on(session.clone()),
            views: JobViews::on(session.clone(), has_views),
            said: HashMap::new(),
            logs: Arc::new(logs),
            failures,
            failed,
            session,
        })
    }

    async fn show(mut self, mut told: mpsc::Receiver<News>) -> Result<(), CommandError> {
        let deaf = |error| CommandError::new(format!("the session bus does not let anybody listen: {error}"));
        let mut pressed = signals::listen(&self.session).await.map_err(deaf)?;
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let session = self.session.clone();
        loop {
            let shown = tokio::select! {
                news = told.recv() => match news {
                    Some(news) => self.hear(news),
                    // The session has ended.
                    None => return Ok(()),
                },
                pressed = pressed.recv() => match pressed {
                    Some(pressed) => self.press(pressed).await,
                    None => return Ok(()),
                },
                Some((thing, why)) = self.failed.recv() => vec![failure(thing, why)],
                () = session.closed() => return Ok(()),
                _ = interrupt.recv() => break,
                _ = terminate.recv() => break,
            };
            for show in shown {
                self.put_up(show).await;
            }
        }
        self.views.end_all().await;
        self.notifications.close_all().await;
        Ok(())
    }

    fn hear(&mut self, news: News) -> Vec<Show> {
        match news {
            News::Job(thing, job) => self.desk.job(thing, &job),
            News::Prompt(thing, prompt) => self.desk.prompt(thing, &prompt),
            News::Gone(thing) => self.desk.gone(&thing),
            News::All(place, things) => self.desk.only(place, &things),
            News::Left(place) => self.desk.left(place),
        }
    }

    async fn press(&mut self, pressed: Pressed) -> Vec<Show> {
        match pressed {
            Pressed::Button(number, button) => {
                if let Some((thing, deed)) = self.notifications.pressed(number, &button) {
                    self.do_it(thing, deed);
                }
            }
            Pressed::Closed(number) => self.notifications.closed(number),
            Pressed::CancelView(path) => {
                if let Some(thing) = self.views.job_of(&path) {
                    self.do_it(thing, Deed::Cancel);
                }
            }
            Pressed::Views(is_there) => {
                self.views.is_there_now(is_there);
                // What was said by the one is now said by the other.
                for thing in self.said.drain().map(|(thing, _)| thing).collect::<Vec<_>>() {
                    self.notifications.close(&thing).await;
                }
                return self.desk.running();
            }
            Pressed::Notifications(is_there) => {
                self.notifications.forget();
                self.said.clear();
                // Not one that would have to be started: perhaps the session ends.
                if is_there {
                    return self.desk.questions();
                }
            }
        }
        Vec::new()
    }

    /// Does what a button is for; nothing waits for it.
    fn do_it(&self, thing: Thing, deed: Deed) {
        let Some(bus) = self.buses.of(thing.place) else { return };
        let (job, logs, failures) = (self.desk.job_of(&thing), Arc::clone(&self.logs), self.failures.clone());
        tokio::spawn(async move {
            if let Err(why) = deeds::do_it(&bus, &thing, &job, deed, logs.path()).await {
                // The agent may be ending.
                let _ = failures.send((thing, why)).await;
            }
        });
    }

    async fn put_up(&mut self, show: Show) {
        match show {
            Show::Progress(thing, progress) if self.views.is_there => self.views.show(thing, progress).await,
            Show::Progress(thing, progress) => {
                if !self.said.get(&thing).is_some_and(|said| said.reads_like(&progress)) {
                    self.notifications.show(thing.clone(), progress.notice()).await;
                    self.said.insert(thing, progress);
                }
            }
            Show::Ended(thing, error) => {
                self.views.end(&thing, &error).await;
                if self.said.remove(&thing).is_some() {
                    self.notifications.close(&thing).await;
                }
            }
            Show::Notice(thing, notice) => self.notifications.show(thing, notice).await,
            Show::Close(thing) => self.notifications.close(&thing).await,
        }
    }
}

/// Tells that a button did not do what it is for.
fn failure(thing: Thing, why: String) -> Show {
    let notice = Notice {
        summary: "Kiln did not do it".to_owned(),
        body: why,
        urgency: Urgency::Normal,
        deeds: Vec::new(),
        by_hand: None,
        percent: None,
    };
    // Beside what is shown of the thing itself.
    Show::Notice(Thing { path: format!("{}/failure", thing.path), ..thing }, notice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_bus_that_was_away_is_followed_again_and_its_jobs_are_not_shown_meanwhile() {
        let (news, mut told) = mpsc::channel(QUEUE);
        let mut tries = 0;
        let connect = || {
            tries += 1;
            let away = || zbus::Error::Failure("no such file".to_owned());
            std::future::ready(if tries % 2 == 1 { Err(away()) } else { Ok(tries) })
        };
        let (sender, mut followed) = mpsc::channel(QUEUE);
        let follow = |bus| {
            sender.try_send(bus).unwrap();
            std::future::ready(Ok(()))
        };
        let until_heard = async {
            for expected in [2, 4, 6] {
                assert_eq!(followed.recv().await, Some(expected));
                assert!(matches!(told.recv().await, Some(News::Left(Place::System))));
            }
            drop(told);
        };
        let both = async {
            tokio::join!(follow_again_and_again(&news, Duration::from_millis(1), connect, follow), until_heard)
        };
        timeout(Duration::from_secs(60), both).await.expect("it ends when nobody listens any more");
    }
}
