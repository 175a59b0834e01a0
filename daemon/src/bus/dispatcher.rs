//! Takes calls off the bus and sees that each gets its answer: a limited number at once, of a limited size, each in limited time.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use kiln_protocol::MAX_REQUEST_BYTES;
use tokio::time::timeout;
use zbus::message::{Flags, Header, Type};
use zbus::{Connection, Message, MessageStream};

use super::activity::Activity;
use super::failure::{Failure, TOO_LATE, TOO_MUCH};
use super::listeners::Listeners;
use super::senders::Senders;
use super::served::Served;
use super::turns::Calls;
use crate::caller::Caller;
use crate::explain::explain;

/// Time for a call; programs wait 25 s for an answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(24);

/// Time for one that lets a person be asked for a password, who has two minutes for it (`polkit.rs`).
const PERSON_TIMEOUT: Duration = Duration::from_secs(150);

/// What the tasks of calls share.
struct Shared {
    bus: Connection,
    served: Served,
    senders: Senders,
    calls: Calls,
    listeners: Listeners,
}

/// Serves calls until the connection ends.
pub(super) async fn serve(
    bus: Connection,
    mut messages: MessageStream,
    served: Served,
    activity: Activity,
    listeners: Listeners,
) {
    let shared = Arc::new(Shared { bus, served, senders: Senders::default(), calls: Calls::default(), listeners });
    while let Some(Ok(message)) = messages.next().await {
        match message.message_type() {
            Type::MethodCall => {
                activity.note();
                tokio::spawn(answer(Arc::clone(&shared), message));
            }
            Type::Signal => {
                if let Some(program) = left(&message) {
                    shared.senders.forget(&program);
                    shared.listeners.remove(&program);
                }
            }
            _ => {}
        }
    }
}

/// Returns which program has left the bus, if the bus says so by this signal.
fn left(signal: &Message) -> Option<String> {
    let header = signal.header();
    let from_bus = header.sender().is_some_and(|name| name.as_str() == "org.freedesktop.DBus");
    let of_names = header.member().is_some_and(|name| name.as_str() == "NameOwnerChanged");
    let (name, _, new): (String, String, String) =
        (from_bus && of_names).then(|| signal.body().deserialize().ok()).flatten()?;
    new.is_empty().then_some(name)
}

async fn answer(shared: Arc<Shared>, message: Message) {
    let header = message.header();
    let (Some(sender), Some(path)) = (header.sender().map(|name| name.as_str()), header.path()) else { return };
    let interactive = header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
    let limit = if interactive { PERSON_TIMEOUT } else { CALL_TIMEOUT };
    let carried_out = match shared.calls.of_program(sender) {
        Ok(mut turn) => {
            let carry_out = async {
                let size = message.body().len();
                if size > MAX_REQUEST_BYTES {
                    let text = format!("the call has {size} bytes; {MAX_REQUEST_BYTES} are read at most");
                    return Err(Failure::new(TOO_MUCH, text));
                }
                let caller = shared.senders.caller(&shared.bus, sender).await?.asking(interactive);
                turn.of_user(caller.counts_as())?;
                shared.listen(&header, sender, caller.asking(false)).await;
                shared.served.carry_out(&message, path.as_str(), caller).await
            };
            let late = || Err(Failure::new(TOO_LATE, "the call takes too long"));
            timeout(limit, carry_out).await.unwrap_or_else(|_| late())
        }
        Err(failure) => Err(failure),
    };
    if !header.primary().flags().contains(Flags::NO_REPLY_EXPECTED) {
        reply(&shared.bus, &header, carried_out).await;
    }
}

impl Shared {
    /// Has a program hear what is new from now on. Whether of everybody's jobs is asked before it is answered, so that nothing is missing between
    /// the answer and the news; and again whenever it asks for all objects, for the right to that may have ended.
    async fn listen(&self, call: &Header<'_>, program: &str, caller: Caller) {
        let is_new = self.listeners.add(program, caller.uid());
        let asks_for_all = call.member().is_some_and(|member| member.as_str() == "GetManagedObjects");
        if !is_new && !asks_for_all {
            return;
        }
        self.listeners.sees_everything(program, self.served.sees_everything(&caller).await);
    }
}

async fn reply(bus: &Connection, call: &Header<'_>, carried_out: Result<Message, Failure>) {
    let reply = match carried_out {
        Ok(reply) => Ok(reply),
        Err(failure) => Message::error(call, failure.name).build(&(failure.text,)),
    };
    let sent = match reply {
        Ok(reply) => bus.send(&reply).await,
        Err(error) => Err(error),
    };
    if let Err(error) = sent {
        tracing::debug!(error = explain(&error), "an answer was not sent");
    }
}
