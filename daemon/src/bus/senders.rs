//! Who sends: the users behind the unique names of the bus, as the bus itself says.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use zbus::{Connection, OwnedVariant};

use super::failure::{Failure, NOT_AUTHORIZED};
use crate::caller::Caller;
use crate::explain::explain;

/// Names that are remembered. A unique name is never given to another connection, so what is known of it stays true.
const MAX_KNOWN: usize = 256;

/// The users behind unique names.
#[derive(Debug, Default)]
pub(super) struct Senders(Mutex<HashMap<String, Caller>>);

impl Senders {
    /// Returns the user who has this unique name.
    ///
    /// # Errors
    ///
    /// The bus does not tell, as of one that is gone.
    pub(super) async fn caller(&self, bus: &Connection, sender: &str) -> Result<Caller, Failure> {
        if let Some(known) = self.known().get(sender) {
            return Ok(*known);
        }
        let caller = ask(bus, sender).await?;
        let mut known = self.known();
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(sender.to_owned(), caller);
        Ok(caller)
    }

    /// A program has left the bus.
    pub(super) fn forget(&self, sender: &str) {
        self.known().remove(sender);
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<String, Caller>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Asks the bus, which asked the kernel when the sender connected.
async fn ask(bus: &Connection, sender: &str) -> Result<Caller, Failure> {
    let unknown = |why: String| Failure::new(NOT_AUTHORIZED, format!("the bus does not say who {sender} is: {why}"));
    let name = "org.freedesktop.DBus";
    let path = "/org/freedesktop/DBus";
    let answer = bus.call_method(Some(name), path, Some(name), "GetConnectionCredentials", &(sender,)).await;
    let answer = answer.map_err(|error| unknown(explain(&error)))?;
    let body = answer.body();
    let credentials: HashMap<String, OwnedVariant> = body.deserialize().map_err(|error| unknown(explain(&error)))?;
    let number = |name: &str| credentials.get(name).and_then(|value| u32::try_from(&**value).ok());
    let uid = number("UnixUserID").ok_or_else(|| unknown("it gives no user".to_owned()))?;
    Ok(Caller::on_bus(uid, number("ProcessID").and_then(|pid| i32::try_from(pid).ok()), sender))
}
