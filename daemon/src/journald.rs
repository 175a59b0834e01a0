//! What of the log goes to the journal of systemd as well, where it is read: each line with its fields, and what happens to jobs with message
//! ids, which `systemd/catalog/kiln.catalog` explains (`journalctl -x`).

use std::fmt::{self, Write as _};

use kiln_systemd::Journal;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Message ids of lines of the log. Kept for ever once they are given: people filter by them.
pub(crate) const MESSAGE_IDS: [(&str, &str); 10] = [
    ("kilnd starts", "f86c9155e82e4ed9944bdfca7c7e5795"),
    ("kilnd ends", "ad476958059b4be09d45f920c2054bfb"),
    ("submitted", "c20b372155774f48ae7e3adafeb71f54"),
    ("the job is over", "adbb95b2a3234f3b8cc758b7c74144b4"),
    ("a build is over", "55ff5c46559a4562944ee776d05f8eea"),
    ("the job has no last event; sweeping", "6c22fcd7a61f4280aeea6b95c4d929c1"),
    ("the job is over and still holds something", "a00f9da669ab4d2c8c72674364affa40"),
    ("the configuration was read anew", "77a9cdb94c7b45b18c3055d78cd955f8"),
    ("the configuration stays as it was", "d0d6314c834f472183bf049c6ccc361d"),
    ("kilnd cannot serve", "e9f1daa9071b459c83d0cd77a4b3507a"),
];

/// Sends what is logged to the journal.
pub(crate) struct ToJournal(pub(crate) Journal);

impl<S: Subscriber> Layer<S> for ToJournal {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut entry = Entry::default();
        event.record(&mut entry);
        let Entry { mut message, fields } = entry;
        let id = MESSAGE_IDS.iter().find(|(text, _)| *text == message).map(|(_, id)| *id);
        for (name, value) in &fields {
            // Who reads the journal without `-o verbose` sees them, too.
            _ = write!(message, " {}={value}", name.to_ascii_lowercase());
        }
        let priority = match *event.metadata().level() {
            Level::ERROR => "3",
            Level::WARN => "4",
            Level::INFO => "6",
            _ => "7",
        };
        let mut sent = vec![("MESSAGE", message.as_str()), ("PRIORITY", priority), ("SYSLOG_IDENTIFIER", "kilnd")];
        sent.extend(id.map(|id| ("MESSAGE_ID", id)));
        sent.extend(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        // The file has it, too.
        _ = self.0.write(sent);
    }
}

/// An event on its way.
#[derive(Default)]
struct Entry {
    message: String,
    fields: Vec<(String, String)>,
}

impl Entry {
    fn add(&mut self, field: &Field, value: String) {
        let name = match field.name() {
            "message" => {
                self.message = value;
                return;
            }
            "job" => "JOB_ID".to_owned(),
            "owner" => "OWNER_UID".to_owned(),
            "build" => "BUILD_ID".to_owned(),
            other => other.to_ascii_uppercase().replace(|c: char| !c.is_ascii_alphanumeric(), "_"),
        };
        self.fields.push((name, value));
    }
}

impl Visit for Entry {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn a_line_of_the_log_is_an_entry_with_its_fields_and_its_message_id() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("socket");
        let journald = UnixDatagram::bind(&path).unwrap();
        let subscriber = tracing_subscriber::registry().with(ToJournal(Journal::at(&path).unwrap()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!(job = %"abcdefghij", owner = 1000, state = "failed", "the job is over");
            tracing::info!(job = %"abcdefghij", build = "qemu.web", state = "failed", "a build is over");
        });
        let mut entry = vec![0; 4096];
        let length = journald.recv(&mut entry).unwrap();
        let text = String::from_utf8_lossy(&entry[..length]).into_owned();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "MESSAGE=the job is over job_id=abcdefghij owner_uid=1000 state=failed",
                "PRIORITY=6",
                "SYSLOG_IDENTIFIER=kilnd",
                "MESSAGE_ID=adbb95b2a3234f3b8cc758b7c74144b4",
                "JOB_ID=abcdefghij",
                "OWNER_UID=1000",
                "STATE=failed"
            ]
        );
        let length = journald.recv(&mut entry).unwrap();
        let text = String::from_utf8_lossy(&entry[..length]).into_owned();
        assert!(text.contains("\nJOB_ID=abcdefghij\nBUILD_ID=qemu.web\nSTATE=failed\n"), "{text}");
    }

    /// Lines that are worded anew keep their ids, and each id is explained.
    #[test]
    fn each_message_id_is_that_of_a_line_of_the_log_and_in_the_catalog() {
        let catalog = include_str!("../../systemd/catalog/kiln.catalog");
        let sources = [
            include_str!("reload.rs"),
            include_str!("user_daemon.rs"),
            include_str!("jobs/supervisor.rs"),
            include_str!("jobs/driver.rs"),
            include_str!("jobs/recovery.rs"),
        ];
        for (text, id) in MESSAGE_IDS {
            assert!(sources.iter().any(|source| source.contains(&format!("\"{text}\""))), "nothing logs {text:?}");
            assert_eq!(catalog.matches(&format!("-- {id}\n")).count(), 1, "{text}");
        }
        assert_eq!(catalog.matches("\n-- ").count(), MESSAGE_IDS.len(), "ids that nobody sends");
    }
}
