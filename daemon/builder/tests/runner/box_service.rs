//! Stands in for HCP's registry of Vagrant boxes and for Vagrant Cloud, neither of which can be had in a test: it knows what exists,
//! takes what is sent, checks who asks, and fails when it is told to. Its paths and answers are those of the services' documentation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::stand_in;

/// Who may come in.
pub(crate) const CLIENT: (&str, &str) = ("the-client", "the-clients-secret");

/// What the client is given for its secret, and what Vagrant Cloud knows.
pub(crate) const TOKEN: &str = "the-token-of-the-client";

/// What was asked of it.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) line: String,
    pub(crate) authorization: Option<String>,
    pub(crate) json: Value,
    pub(crate) sha256: String,
}

#[derive(Default)]
struct State {
    asked: Vec<Asked>,
    /// Paths of what exists.
    there: BTreeSet<String>,
    /// Beginnings of lines that are answered with a status, so many times.
    faults: Vec<(String, u16, usize)>,
    uploads: BTreeMap<String, Vec<u8>>,
    /// What is known of what exists, by its path.
    known: BTreeMap<String, Known>,
    /// Beginnings of lines that are done and never answered.
    silent: Vec<String>,
}

#[derive(Debug, Clone, Default)]
struct Known {
    is_released: bool,
    checksum: String,
    updated_at: String,
}

/// The service, for as long as the test runs.
pub(crate) struct BoxService {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl BoxService {
    pub(crate) fn start(there: &[&str]) -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        lock(&state).there.extend(there.iter().map(|path| (*path).to_owned()));
        let shared = state.clone();
        let url = stand_in::start(move |url, asked| {
            let authorization = asked.headers.get("authorization").cloned();
            let (status, json) = answer(&shared, url, &asked.line, authorization, &asked.body);
            if lock(&shared).silent.iter().any(|begins| asked.line.starts_with(begins)) {
                loop {
                    std::thread::park();
                }
            }
            (status, vec![("Content-Type".to_owned(), "application/json".to_owned())], json.to_string().into_bytes())
        });
        Self { url, state }
    }

    /// One that runs in another process.
    pub(crate) fn elsewhere(url: &str) -> Self {
        Self { url: url.to_owned(), state: Arc::default() }
    }

    /// Answers what begins so with a status, `times` times.
    pub(crate) fn fail(&self, begins: &str, status: u16, times: usize) {
        lock(&self.state).faults.push((begins.to_owned(), status, times));
    }

    /// Does what begins so, and never answers.
    pub(crate) fn silence(&self, begins: &str) {
        lock(&self.state).silent.push(begins.to_owned());
    }

    /// Answers everything again.
    pub(crate) fn speak(&self) {
        lock(&self.state).silent.clear();
    }

    pub(crate) fn asked(&self) -> Vec<Asked> {
        lock(&self.state).asked.clone()
    }

    /// The lines of what was asked, without those that only look.
    pub(crate) fn done(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.line).filter(|line| !line.starts_with("GET ")).collect()
    }

    pub(crate) fn there(&self) -> Vec<String> {
        lock(&self.state).there.iter().cloned().collect()
    }

    /// Others put something there.
    pub(crate) fn put(&self, path: &str) {
        lock(&self.state).there.insert(path.to_owned());
    }

    /// Others replace the box there.
    pub(crate) fn replace(&self, path: &str, checksum: Option<&str>, updated_at: &str) {
        let mut state = lock(&self.state);
        let known = state.known.entry(path.to_owned()).or_default();
        if let Some(checksum) = checksum {
            checksum.clone_into(&mut known.checksum);
        }
        updated_at.clone_into(&mut known.updated_at);
    }

    /// What was uploaded last.
    pub(crate) fn uploaded(&self) -> Option<Vec<u8>> {
        lock(&self.state).uploads.values().next_back().cloned()
    }
}

fn answer(state: &Mutex<State>, url: &str, line: &str, authorization: Option<String>, body: &[u8]) -> (u16, Value) {
    let mut state = lock(state);
    let json = serde_json::from_slice(body).unwrap_or(Value::Null);
    let mut sha256 = String::new();
    for byte in Sha256::digest(body) {
        let _ = write!(sha256, "{byte:02x}");
    }
    state.asked.push(Asked { line: line.to_owned(), authorization: authorization.clone(), json: json.clone(), sha256 });
    if let Some(fault) = state.faults.iter_mut().find(|fault| fault.2 > 0 && line.starts_with(&fault.0)) {
        fault.2 -= 1;
        return (fault.1, json!({"message": "told to fail", "errors": ["told to fail"]}));
    }
    let (method, path) = line.split_once(' ').unwrap_or((line, ""));
    if path == "/oauth2/token" {
        let form = String::from_utf8_lossy(body);
        let known =
            form.contains(&format!("client_id={}", CLIENT.0)) && form.contains(&format!("client_secret={}", CLIENT.1));
        return if known { (200, json!({"access_token": TOKEN, "expires_in": 3600})) } else { (401, json!({})) };
    }
    if let Some(object) = path.strip_prefix("/storage/") {
        // Who has the link needs no login, and gives none.
        if authorization.is_some() {
            return (400, json!({"message": "the storage was told who asks"}));
        }
        state.uploads.insert(object.to_owned(), body.to_vec());
        return (200, Value::Null);
    }
    if authorization.as_deref() != Some(&format!("Bearer {TOKEN}")) {
        return (401, json!({"message": "who are you?"}));
    }
    let upload = format!("{url}/storage/object-7?X-Amz-Signature=abcdef0123456789");
    match method {
        "GET" if path.ends_with("/authenticate") => (200, json!({})),
        "GET" if path.ends_with("/direct/upload") => (200, json!({"url": upload, "object": "object-7"})),
        "GET" if path.ends_with("/upload/direct") => {
            (200, json!({"upload_path": upload, "callback": format!("{url}{path}/complete")}))
        }
        "GET" if path.ends_with("/upload") => (200, json!({"url": upload, "upload_path": upload})),
        "GET" if state.there.contains(path) => (200, state.look(path)),
        "GET"
            if ["/providers", "/architectures"]
                .iter()
                .any(|list| path.strip_suffix(list).is_some_and(|above| state.there.contains(above))) =>
        {
            let begins = format!("{}/", path.strip_suffix('s').unwrap_or(path));
            let below: Vec<_> = state.there.iter().filter(|path| path.starts_with(&begins)).collect();
            let name = path.rsplit('/').next().unwrap_or_default();
            (200, if below.is_empty() { json!({"pagination": {}}) } else { json!({name: below}) })
        }
        "GET" => (404, json!({"message": "there is none"})),
        "POST" => {
            let name = ["name", "architecture_type"].iter().find_map(|field| json[*field].as_str());
            let inner = json["version"]["version"].as_str().or(json["provider"]["name"].as_str());
            let below = json["provider"]["architecture"].as_str().map(|name| format!("/{name}")).unwrap_or_default();
            let Some(name) = name.or(inner) else { return (422, json!({"message": "it has no name"})) };
            // `…/versions` makes `…/version/NAME`, `…/boxes` makes `…/box/NAME`.
            let parent = path.strip_suffix("es").filter(|_| path.ends_with("boxes")).or(path.strip_suffix('s'));
            let made = format!("{}/{name}{below}", parent.unwrap_or(path));
            state.hold(&made, &json);
            state.there.insert(made);
            (200, json!({}))
        }
        "DELETE" => {
            let before = state.there.len();
            state.there.retain(|other| other != path && !other.starts_with(&format!("{path}/")));
            if state.there.len() < before { (200, json!({})) } else { (404, json!({})) }
        }
        "PUT" => {
            if let Some(version) = path.strip_suffix("/release") {
                state.known.entry(version.to_owned()).or_default().is_released = true;
            }
            state.hold(path, &json);
            (200, json!({}))
        }
        _ => (200, json!({})),
    }
}

impl State {
    /// What a request says of the box at `path`.
    fn hold(&mut self, path: &str, json: &Value) {
        let said = json["box_data"]["checksum"].as_str().or(json["provider"]["checksum"].as_str());
        if let Some(checksum) = said {
            let known = Known { checksum: checksum.to_owned(), ..Known::default() };
            self.known.insert(path.to_owned(), known);
        }
    }

    /// In the words of both services.
    fn look(&self, path: &str) -> Value {
        let Known { is_released, checksum, updated_at } = self.known.get(path).cloned().unwrap_or_default();
        let (state, status) = if is_released { ("RELEASED", "active") } else { ("UNRELEASED", "unreleased") };
        let begins = format!("{path}/provider/");
        let below: Vec<_> = self.there.iter().filter(|path| path.starts_with(&begins)).collect();
        json!({
            "version": {"state": state}, "status": status, "providers": below, "checksum": checksum, "updated_at": updated_at,
            "architecture": {"box_data": {"checksum": checksum}, "updated_at": updated_at},
        })
    }
}
