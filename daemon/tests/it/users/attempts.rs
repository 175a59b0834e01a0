//! Attempts are noted and counted, and at the end none has got through and nobody has been harmed.

use std::collections::HashSet;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt};
use std::path::PathBuf;

use rustix::process::geteuid;
use serde_json::{Value, json};

use super::{ALICE, System};
use crate::rig::skip;

/// The ways that are tried, and how many attempts each consists of, at least.
const WAYS: [(&str, usize); 5] =
    [("by the API", 74), ("by submitting", 26), ("by files", 72), ("by planting", 83), (OVER_D_BUS, 20)];

/// What the attempts over D-Bus are in the table.
pub(crate) const OVER_D_BUS: &str = "over D-Bus";

/// Returns how many attempts there are of a way.
pub(crate) fn at_least(way: &str) -> usize {
    WAYS.iter().find(|(name, _)| *name == way).expect("a way of the table").1
}

/// Each way has its test, which makes so many, all distinct, and lets none through.
#[test]
fn the_attempts_of_all_ways_are_as_many_as_is_said() {
    let total: usize = WAYS.iter().map(|(_, attempts)| attempts).sum();
    assert!(total >= 275, "{total}");
    assert!(WAYS.iter().all(|(_, attempts)| *attempts >= 20), "{WAYS:?}");
}

/// What root keeps, as an event: whoever reads it as one hands it on.
pub(super) const SECRET: &str = r#"{"seq":1,"time":"2026-01-02T03:04:05Z","kind":"say","text":"the secret of root"}"#;

/// A daemon with jobs of alice's, a secret of root's, and what is tried to get at them.
pub(super) struct Attempts {
    pub(super) system: System,
    pub(super) secret: PathBuf,
    /// A job of hers that is over, and one that asks something.
    pub(super) done: String,
    pub(super) running: String,
    tried: HashSet<String>,
    through: Vec<String>,
}

impl Attempts {
    /// Begins; nothing (said aloud) without root.
    pub(super) fn begin() -> Option<Self> {
        if !geteuid().is_root() {
            skip("root");
            return None;
        }
        let system = System::start();
        let secret = system.path("secret");
        std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
        std::fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
        let says = json!({"emit": {"kind": "say", "text": "private words"}});
        let done = system.submit(ALICE, &json!([says]));
        system.until_state(ALICE, &done, "succeeded");
        let running = system.submit(ALICE, &json!([says, {"await_answer": "q"}]));
        system.until("the question", || system.see(ALICE, &running)["questions"].as_array().map(drop));
        // What the daemon writes into a job's directory, as the request without its secrets, it writes as the user.
        for entry in std::fs::read_dir(system.job(&done)).unwrap().flatten() {
            assert_eq!(entry.metadata().unwrap().uid(), ALICE, "{}", entry.path().display());
        }
        Some(Self { system, secret, done, running, tried: HashSet::new(), through: Vec::new() })
    }

    /// Notes an attempt by its name, which no other has, and how it went.
    pub(super) fn note(&mut self, name: impl Into<String>, said: &str, is_refused: bool) {
        let name = name.into();
        assert!(self.tried.insert(name.clone()), "{name} was tried before");
        if !is_refused {
            self.through.push(format!("{name}: {said}"));
        }
    }

    /// Nothing has reached anybody: alice's running job still asks, and takes her answer; no file has changed. Says how many
    /// attempts there were, which are no fewer than the table says of this way.
    pub(super) fn end(self, way: &str) -> String {
        let at_least = at_least(way);
        let Self { system, secret, running, tried, through, .. } = self;
        assert_eq!(std::fs::read_to_string(&secret).unwrap(), format!("{SECRET}\n"));
        assert_eq!(secret.metadata().unwrap().uid(), 0);
        let job = system.see(ALICE, &running);
        let asks = job["questions"].as_array().map(Vec::len);
        assert_eq!((job["state"].as_str(), asks), (Some("running"), Some(1)), "{job}");
        let answered =
            system.answer(ALICE, "POST", &format!("/v1/jobs/{running}/answers"), r#"{"prompt":"q","answer":"mine"}"#);
        assert_eq!(answered.0, 204, "{}", answered.1);
        system.until_state(ALICE, &running, "succeeded");
        let events = system.events(ALICE, &running);
        assert!(events.contains("mine") && !events.contains("stolen"), "{events}");
        let jobs: Value = serde_json::from_str(&system.answer(ALICE, "GET", "/v1/jobs?limit=1000", "").1).unwrap();
        let ids: Vec<_> = jobs["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap()).collect();
        assert_eq!(ids.len(), 2, "nobody has submitted anything in her name: {ids:?}");
        assert!(tried.len() >= at_least, "{} attempts", tried.len());
        assert!(through.is_empty(), "{} of {} got through: {through:#?}", through.len(), tried.len());
        format!("{} distinct attempts, 0 through", tried.len())
    }
}
