//! Stands in for EC2 and the EBS direct APIs where moto does not look: it holds each block to its checksum and the snapshot to the
//! checksum of all, refuses what has no signature, and fails when it is told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};

use super::stand_in::{self, Answer, Asked};

/// The size of a block.
pub(crate) const BLOCK: usize = 512 << 10;

#[derive(Default)]
struct State {
    forms: Vec<BTreeMap<String, String>>,
    begun: Vec<serde_json::Value>,
    blocks: BTreeMap<u64, Vec<u8>>,
    completed: bool,
    /// Beginnings of lines or actions that are refused with a status and a code, so many times.
    faults: Vec<(String, u16, &'static str, usize)>,
    tokens: Vec<Option<String>>,
    /// Beginnings of lines or actions that are done and never answered.
    silent: Vec<String>,
    seen: Vec<String>,
    /// What was removed again.
    removed: Vec<String>,
}

/// The services, for as long as the test runs.
pub(crate) struct AwsService {
    pub(crate) url: String,
    state: Arc<Mutex<State>>,
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AwsService {
    pub(crate) fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let url = stand_in::start(move |_, asked| {
            let answered = answer(&shared, &asked);
            if lock(&shared).silent.iter().any(|begins| name_of(&asked).starts_with(begins)) {
                loop {
                    std::thread::park();
                }
            }
            answered
        });
        Self { url, state }
    }

    pub(crate) fn fail(&self, begins: &str, status: u16, code: &'static str, times: usize) {
        lock(&self.state).faults.push((begins.to_owned(), status, code, times));
    }

    /// Does what begins so, and never answers.
    pub(crate) fn silence(&self, begins: &str) {
        lock(&self.state).silent.push(begins.to_owned());
    }

    /// Answers everything again.
    pub(crate) fn speak(&self) {
        lock(&self.state).silent.clear();
    }

    /// Whether something that begins so was asked for.
    pub(crate) fn has_seen(&self, begins: &str) -> bool {
        lock(&self.state).seen.iter().any(|name| name.starts_with(begins))
    }

    /// The snapshots and images that are there.
    pub(crate) fn there(&self) -> Vec<&'static str> {
        let state = lock(&self.state);
        [SNAPSHOT, IMAGE].into_iter().filter(|id| state.has(id)).collect()
    }

    /// What was asked of EC2, as forms.
    pub(crate) fn forms(&self, action: &str) -> Vec<BTreeMap<String, String>> {
        lock(&self.state).forms.iter().filter(|form| form["Action"] == action).cloned().collect()
    }

    pub(crate) fn begun(&self) -> Vec<serde_json::Value> {
        lock(&self.state).begun.clone()
    }

    pub(crate) fn blocks(&self) -> BTreeMap<u64, Vec<u8>> {
        lock(&self.state).blocks.clone()
    }

    pub(crate) fn completed(&self) -> bool {
        lock(&self.state).completed
    }

    /// The session tokens of all that was asked.
    pub(crate) fn tokens(&self) -> Vec<Option<String>> {
        lock(&self.state).tokens.clone()
    }
}

/// The one snapshot and the one image.
const SNAPSHOT: &str = "snap-77";
const IMAGE: &str = "ami-1234";

impl State {
    fn has(&self, id: &str) -> bool {
        let is_made = match id {
            SNAPSHOT => !self.begun.is_empty(),
            _ => self.forms.iter().any(|form| form["Action"] == "RegisterImage"),
        };
        is_made && !self.removed.iter().any(|removed| removed == id)
    }

    /// Whether a form asks for the snapshot, or does not say for which.
    fn is_meant(&self, form: &BTreeMap<String, String>) -> bool {
        match form.get("Filter.1.Value.1") {
            Some(wanted) => self.begun.iter().any(|begun| begun["Description"] == wanted.as_str()),
            None => true,
        }
    }
}

/// The action of EC2, or the line.
fn name_of(asked: &Asked) -> String {
    let action = form(&asked.body).get("Action").filter(|_| asked.line == "POST /").cloned();
    action.unwrap_or_else(|| asked.line.clone())
}

fn refused(status: u16, code: &str) -> Answer {
    let kind = ("x-amzn-errortype".to_owned(), code.to_owned());
    (status, vec![kind], format!("{{\"message\":\"told to fail\",\"__type\":\"{code}\"}}").into_bytes())
}

fn json(status: u16, text: &str) -> Answer {
    (status, Vec::new(), text.as_bytes().to_vec())
}

fn answer(state: &Mutex<State>, asked: &Asked) -> Answer {
    let mut state = lock(state);
    let header = |name: &str| asked.headers.get(name).cloned().unwrap_or_default();
    let is_signed = header("authorization").starts_with("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
        && header("x-amz-date").len() == 16
        && !header("authorization").contains("the-secret");
    if !is_signed {
        return refused(403, "MissingAuthenticationToken");
    }
    let name = name_of(asked);
    state.seen.push(name.clone());
    state.tokens.push(asked.headers.get("x-amz-security-token").cloned());
    let form = form(&asked.body);
    if let Some(fault) = state.faults.iter_mut().find(|fault| fault.3 > 0 && name.starts_with(&fault.0)) {
        fault.3 -= 1;
        return refused(fault.1, fault.2);
    }
    if asked.line == "POST /" {
        let xml = match name.as_str() {
            "RegisterImage" => "<RegisterImageResponse><imageId>ami-1234</imageId></RegisterImageResponse>",
            "DescribeSnapshots" if state.has(SNAPSHOT) && state.is_meant(&form) => {
                "<R><snapshotSet><item><snapshotId>snap-77</snapshotId><status>completed</status></item></snapshotSet></R>"
            }
            "DescribeImages" if state.has(IMAGE) => {
                "<R><imagesSet><item><imageId>ami-1234</imageId><imageState>available</imageState><blockDeviceMapping><item>\
                 <ebs><snapshotId>snap-77</snapshotId></ebs></item></blockDeviceMapping></item></imagesSet></R>"
            }
            _ => "<R><return>true</return></R>",
        };
        if let ("DeleteSnapshot" | "DeregisterImage", Some(id)) =
            (&*name, form.get("SnapshotId").or(form.get("ImageId")))
        {
            state.removed.push(id.clone());
        }
        state.forms.push(form);
        return json(200, xml);
    }
    let checksum = header("x-amz-checksum");
    if asked.line == "POST /snapshots" {
        state.begun.push(serde_json::from_slice(&asked.body).unwrap_or_default());
        return json(201, "{\"SnapshotId\":\"snap-77\",\"BlockSize\":524288,\"Status\":\"pending\"}");
    }
    if let Some(index) = asked.line.strip_prefix("PUT /snapshots/snap-77/blocks/").and_then(|text| text.parse().ok()) {
        let own = STANDARD.encode(Sha256::digest(&asked.body));
        if asked.body.len() != BLOCK || own != checksum || header("x-amz-data-length") != BLOCK.to_string() {
            return refused(400, "ValidationException");
        }
        state.blocks.insert(index, asked.body.clone());
        return (201, vec![("x-amz-Checksum".to_owned(), own)], Vec::new());
    }
    if asked.line == "POST /snapshots/completion/snap-77" {
        let mut all = Sha256::new();
        state.blocks.values().for_each(|block| all.update(Sha256::digest(block)));
        let is_whole = STANDARD.encode(all.finalize()) == checksum
            && header("x-amz-changedblockscount") == state.blocks.len().to_string()
            && header("x-amz-checksum-aggregation-method") == "LINEAR";
        state.completed = is_whole;
        return if is_whole { json(202, "{\"Status\":\"pending\"}") } else { refused(400, "ValidationException") };
    }
    refused(404, "ResourceNotFoundException")
}

fn form(body: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(body).into_owned();
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        let hex = others.get(..2).and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| *first == b'%') {
            Some(byte) => {
                bytes.push(byte);
                rest = &others[2..];
            }
            None => {
                bytes.push(*first);
                rest = others;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
