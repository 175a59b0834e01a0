//! Notifications of the desktop: `org.freedesktop.Notifications`, version 1.2 of the Desktop Notifications Specification.

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::timeout;
use zbus::{Connection, Variant};

use super::complaint::complain;
use super::desk::{Deed, Notice, Urgency};
use super::news::Thing;

pub(super) const SERVER: &str = "org.freedesktop.Notifications";
pub(super) const PATH: &str = "/org/freedesktop/Notifications";

/// Time for a server to answer: somebody may have to start it first.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// What keeps a notification until somebody has seen it, and what leaves that to the server.
const NEVER: i32 = 0;
const AS_THE_SERVER_LIKES: i32 = -1;

/// Notifications that are to be seen.
pub(super) struct Notifications {
    bus: Connection,
    /// What the server can do; nothing while it was not asked.
    abilities: Option<Vec<String>>,
    shown: HashMap<Thing, Shown>,
    /// Whether it was said that there is no server.
    is_missed: bool,
}

struct Shown {
    number: u32,
    /// Whether it holds also when nobody follows jobs any more.
    is_result: bool,
    deeds: Vec<Deed>,
}

impl Notifications {
    pub(super) fn on(bus: Connection) -> Self {
        Self { bus, abilities: None, shown: HashMap::new(), is_missed: false }
    }

    /// The server has gone, and with it all that it showed.
    pub(super) fn forget(&mut self) {
        (self.abilities, self.is_missed) = (None, false);
        self.shown.clear();
    }

    /// Shows this, in place of what was shown about the same thing. Where it cannot be shown that is said once.
    pub(super) async fn show(&mut self, thing: Thing, notice: Notice) {
        match self.try_to_show(thing, notice).await {
            Ok(()) => self.is_missed = false,
            Err(error) if !self.is_missed => {
                self.is_missed = true;
                complain(&format!("nothing can be shown: {error}"));
            }
            Err(_) => {}
        }
    }

    async fn try_to_show(&mut self, thing: Thing, notice: Notice) -> zbus::Result<()> {
        let abilities = self.abilities().await?;
        let can = |ability: &str| abilities.iter().any(|one| one == ability);
        let has_buttons = can("actions");
        let mut body = notice.body.clone();
        if let Some(by_hand) = notice.by_hand.as_ref().filter(|_| !has_buttons) {
            body += &format!("\n{by_hand}");
        }
        if can("body-markup") {
            body = escaped(&body);
        }
        let deeds: Vec<Deed> = notice.deeds.iter().map(|(deed, _)| deed.clone()).collect();
        let mut actions: Vec<String> = Vec::new();
        if has_buttons {
            for (number, (_, label)) in notice.deeds.iter().enumerate() {
                actions.extend([number.to_string(), label.clone()]);
            }
        }
        let mut hints: HashMap<&str, Variant<'_>> = HashMap::from([
            ("urgency", (notice.urgency as u8).into()),
            ("category", "x-kiln.job".into()),
            // Of something that goes on nobody wants to read afterwards.
            ("transient", (notice.urgency == Urgency::Low).into()),
        ]);
        if let Some(percent) = notice.percent {
            hints.insert("value", percent.cast_signed().into());
        }
        let replaced = self.shown.get(&thing).map_or(0, |shown| shown.number);
        let expires = if notice.urgency == Urgency::Critical { NEVER } else { AS_THE_SERVER_LIKES };
        let arguments =
            ("Kiln", replaced, "drive-harddisk", notice.summary.as_str(), body.as_str(), actions, hints, expires);
        let number: u32 = self.call("Notify", &arguments).await?.body().deserialize()?;
        self.shown.insert(thing, Shown { number, is_result: notice.urgency == Urgency::Normal, deeds });
        Ok(())
    }

    async fn abilities(&mut self) -> zbus::Result<&[String]> {
        if self.abilities.is_none() {
            self.abilities = Some(self.call("GetCapabilities", &()).await?.body().deserialize()?);
        }
        Ok(self.abilities.as_deref().unwrap_or_default())
    }

    async fn call<B: serde::Serialize + zbus::DynamicType>(
        &self,
        method: &'static str,
        arguments: &B,
    ) -> zbus::Result<zbus::Message> {
        let call = self.bus.call_method(Some(SERVER), PATH, Some(SERVER), method, arguments);
        let late = || Err(zbus::Error::Failure(format!("{SERVER} does not answer")));
        timeout(ANSWER_TIMEOUT, call).await.unwrap_or_else(|_| late())
    }

    /// Takes down what is shown about this.
    pub(super) async fn close(&mut self, thing: &Thing) {
        if let Some(shown) = self.shown.remove(thing) {
            // It may have closed by itself.
            let _ = self.call("CloseNotification", &(shown.number,)).await;
        }
    }

    /// Takes down everything but how jobs have ended.
    pub(super) async fn close_all(&mut self) {
        let shown = self.shown.iter().filter(|(_, shown)| !shown.is_result);
        let things: Vec<Thing> = shown.map(|(thing, _)| thing.clone()).collect();
        for thing in things {
            self.close(&thing).await;
        }
    }

    /// Somebody has pressed a button; returns what it is for.
    pub(super) fn pressed(&self, number: u32, button: &str) -> Option<(Thing, Deed)> {
        let (thing, shown) = self.shown.iter().find(|(_, shown)| shown.number == number)?;
        Some((thing.clone(), shown.deeds.get(button.parse::<usize>().ok()?)?.clone()))
    }

    /// The server says that one is closed.
    pub(super) fn closed(&mut self, number: u32) {
        self.shown.retain(|_, shown| shown.number != number);
    }
}

/// Writes text so that a server which reads markup shows it as it is.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_guests_is_no_markup() {
        assert_eq!(escaped("<a href='x'>&amp;"), "&lt;a href='x'&gt;&amp;amp;");
    }
}
