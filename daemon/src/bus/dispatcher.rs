//! Takes calls off the bus and sees that each gets its answer: a limited number at once, of a limited size, each in limited time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use kiln_protocol::MAX_REQUEST_BYTES;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use zbus::message::{Flags, Type};
use zbus::{Connection, Message, MessageStream};

use super::activity::Activity;
use super::failure::{Failure, TOO_LATE, TOO_MUCH};
use super::senders::Senders;
use super::served::Served;
use crate::explain::explain;

/// Calls that are carried out at once, and of one sender.
const MAX_CALLS: usize = 64;
const MAX_CALLS_OF_SENDER: usize = 16;

/// Time for a call; programs wait 25 s for an answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(24);

/// Time for one that lets a person be asked for a password, who has two minutes for it (`polkit.rs`).
const PERSON_TIMEOUT: Duration = Duration::from_secs(150);

/// What the tasks of calls share.
struct Shared {
    bus: Connection,
    served: Served,
    senders: Senders,
    calls: Semaphore,
    /// Calls in progress of each sender.
    busy: Mutex<HashMap<String, usize>>,
}

/// Serves calls until the connection ends.
pub(super) async fn serve(bus: Connection, mut messages: MessageStream, served: Served, activity: Activity) {
    let shared = Arc::new(Shared {
        bus,
        served,
        senders: Senders::default(),
        calls: Semaphore::new(MAX_CALLS),
        busy: Mutex::default(),
    });
    while let Some(Ok(message)) = messages.next().await {
        if message.message_type() != Type::MethodCall {
            continue;
        }
        activity.note();
        tokio::spawn(answer(Arc::clone(&shared), message));
    }
}

async fn answer(shared: Arc<Shared>, message: Message) {
    let header = message.header();
    let (Some(sender), Some(path)) = (header.sender().map(|name| name.as_str()), header.path()) else { return };
    let interactive = header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
    let limit = if interactive { PERSON_TIMEOUT } else { CALL_TIMEOUT };
    let carried_out = match Turn::take(&shared, sender) {
        Some(_turn) => {
            let carry_out = async {
                let size = message.body().len();
                if size > MAX_REQUEST_BYTES {
                    let text = format!("the call has {size} bytes; {MAX_REQUEST_BYTES} are read at most");
                    return Err(Failure::new(TOO_MUCH, text));
                }
                let caller = shared.senders.caller(&shared.bus, sender).await?.asking(interactive);
                shared.served.carry_out(&message, path.as_str(), caller).await
            };
            let late = || Err(Failure::new(TOO_LATE, "the call takes too long"));
            timeout(limit, carry_out).await.unwrap_or_else(|_| late())
        }
        None => Err(Failure::new(TOO_MUCH, "too many calls at once: wait for the answers to those before")),
    };
    if header.primary().flags().contains(Flags::NO_REPLY_EXPECTED) {
        return;
    }
    let reply = match carried_out {
        Ok(reply) => Ok(reply),
        Err(failure) => Message::error(&header, failure.name).build(&(failure.text,)),
    };
    let sent = match reply {
        Ok(reply) => shared.bus.send(&reply).await,
        Err(error) => Err(error),
    };
    if let Err(error) = sent {
        tracing::debug!(error = explain(&error), "an answer was not sent");
    }
}

/// A call's place among those that are carried out.
struct Turn<'a> {
    shared: &'a Shared,
    sender: String,
}

impl<'a> Turn<'a> {
    fn take(shared: &'a Shared, sender: &str) -> Option<Self> {
        let mut busy = shared.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if busy.get(sender).is_some_and(|calls| *calls >= MAX_CALLS_OF_SENDER) {
            return None;
        }
        shared.calls.try_acquire().ok()?.forget();
        *busy.entry(sender.to_owned()).or_default() += 1;
        Some(Self { shared, sender: sender.to_owned() })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut busy = self.shared.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(calls) = busy.get_mut(&self.sender) {
            *calls -= 1;
            if *calls == 0 {
                busy.remove(&self.sender);
            }
        }
        self.shared.calls.add_permits(1);
    }
}
