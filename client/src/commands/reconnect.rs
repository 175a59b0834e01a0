//! What goes on across restarts of the daemon: the events of a job, and its cancellation.

use std::time::Duration;

use kiln_protocol::{CancelMode, EventBody, JobId, ProblemCode};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::note::note;
use crate::api::{Client, ClientError, Received, Starting};

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

type Events = mpsc::Receiver<Result<Received, ClientError>>;

/// Cancels the job, even when the daemon is away for a moment.
pub(super) async fn cancel(client: Client, id: JobId) {
    let mut attempts = Attempts::new(&client);
    loop {
        match attempts.client().cancel(&id, CancelMode::Graceful).await {
            Err(error) if error.is_lost_connection() && attempts.pause().await => {}
            Err(ClientError::Problem(problem)) if problem.code == ProblemCode::WrongState => return,
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
