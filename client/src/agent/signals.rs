//! What comes from the desktop: pressed buttons, and that its servers come and go.

use std::num::NonZeroUsize;

use futures_util::StreamExt as _;
use tokio::sync::mpsc;
use zbus::message::Type;
use zbus::{Connection, MatchRule, Message, MessageStream};

use super::follower::owners_of;
use super::{job_views, notifications};

/// Signals that wait; somebody presses each of them.
const QUEUE: usize = 256;
const BUS_QUEUE: NonZeroUsize = NonZeroUsize::new(QUEUE).unwrap();

/// What has happened.
#[derive(Debug)]
pub(super) enum Pressed {
    /// A button of the notification with this number.
    Button(u32, String),
    /// The notification with this number was closed.
    Closed(u32),
    /// The button of a view that cancels its job.
    CancelView(String),
    /// Whether there is a server of job views now; those that were there are gone.
    Views(bool),
    /// The server of notifications has gone, and all that it showed; whether there is another.
    Notifications(bool),
}

/// Reads what a signal says.
type Read = fn(&Message) -> Option<Pressed>;

/// Listens for as long as somebody receives.
pub(super) async fn listen(session: &Connection) -> zbus::Result<mpsc::Receiver<Pressed>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let rule = |from: &'static str, interface: &'static str| {
        MatchRule::builder().msg_type(Type::Signal).sender(from).interface(interface).build()
    };
    let stream = |rule| MessageStream::for_match_rule(rule, session, Some(BUS_QUEUE));
    let streams: [(MessageStream, Read); 4] = [
        (stream(rule(notifications::SERVER, notifications::SERVER)?).await?, of_notifications),
        (stream(rule(job_views::SERVER, job_views::VIEW)?).await?, of_view),
        (owners_of(session, notifications::SERVER).await?, of_notification_server),
        (owners_of(session, job_views::SERVER).await?, of_view_server),
    ];
    for (mut stream, read) in streams {
        let sender = sender.clone();
        tokio::spawn(async move {
            while let Some(Ok(message)) = stream.next().await {
                // Too many at once are nobody's. Never waited for: behind them come the answers of the same bus.
                if let Some(pressed) = read(&message)
                    && let Err(mpsc::error::TrySendError::Closed(_)) = sender.try_send(pressed)
                {
                    return;
                }
            }
        });
    }
    Ok(receiver)
}

fn of_notifications(message: &Message) -> Option<Pressed> {
    let body = message.body();
    match message.header().member()?.as_str() {
        "ActionInvoked" => body.deserialize().ok().map(|(number, button)| Pressed::Button(number, button)),
        "NotificationClosed" => body.deserialize::<(u32, u32)>().ok().map(|(number, _)| Pressed::Closed(number)),
        _ => None,
    }
}

fn of_view(message: &Message) -> Option<Pressed> {
    let header = message.header();
    (header.member()?.as_str() == "cancelRequested").then_some(Pressed::CancelView(header.path()?.to_string()))
}

fn of_notification_server(message: &Message) -> Option<Pressed> {
    let (_, old, new): (String, String, String) = message.body().deserialize().ok()?;
    // The first one has come because something was to be shown, which it shows.
    (!old.is_empty()).then_some(Pressed::Notifications(!new.is_empty()))
}

fn of_view_server(message: &Message) -> Option<Pressed> {
    let (_, _, new): (String, String, String) = message.body().deserialize().ok()?;
    Some(Pressed::Views(!new.is_empty()))
}
