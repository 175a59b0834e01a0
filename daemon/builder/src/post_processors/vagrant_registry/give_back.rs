//! Removing what was made in a registry when the rest cannot be done, also in another process. What others use by then stays, and is told.

use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::super::context::PostProcessContext;
use super::super::remote::{By, Claim, Remote};
use super::api::{Answer, Api, Login};
use super::publication::{Publication, Service};
use crate::error::StepError;

/// How long, in seconds, a registry may take to make what it was asked for, and by how much its clock may be wrong: what was written later was
/// written by another.
const WRITTEN_LATE: i64 = 60;

/// What a post-processor makes in a registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct Boxes {
    base: String,
    insecure: bool,
    login: Login,
    /// Whose words are spoken there.
    registry: Service,
    /// The path of the version that everything is of.
    version: String,
    /// The digest of the box, where there is one.
    checksum: Option<String>,
    /// The version was going to be released, so that it may be.
    releasing: bool,
    /// In the order in which they were asked for.
    parts: Vec<Part>,
}

/// Something that is made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Part {
    kind: Kind,
    /// What people call it.
    name: String,
    path: String,
    /// When it was asked for, in seconds.
    asked_at: i64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    Version,
    /// What has boxes of several architectures.
    Provider,
    /// What has one box: HCP's architecture, Vagrant Cloud's provider of an architecture.
    Box,
}

impl Part {
    pub(super) fn new(kind: Kind, name: String, path: String) -> Self {
        Self { kind, name, path, asked_at: jiff::Timestamp::now().as_second() }
    }
}

impl Remote for Boxes {
    const SERVICE: &'static str = "vagrant";

    /// The parts go in reverse order.
    async fn give_back(&self, by: By) -> Result<Vec<String>, String> {
        let api = Api::by_itself(&self.base, self.insecure, self.login.clone());
        let mut api = api.map_err(|error| error.to_string())?;
        let Some(version) = self.look(&mut api, &self.version).await? else { return Ok(Vec::new()) };
        let is_released = self.registry.is_released(&version);
        if is_released && (self.releasing || by == By::Sweep) {
            return Ok(self.parts.iter().map(|part| self.stays(part, "its version is released by now")).collect());
        }
        let mut lines = Vec::new();
        for part in self.parts.iter().rev() {
            let Some(found) = self.look(&mut api, &part.path).await? else { continue };
            let reason = match part.kind {
                Kind::Box => self.holds_anothers(part, &found, by),
                Kind::Version if is_released => Some("it is released by now"),
                Kind::Version | Kind::Provider => self.is_used(&mut api, part, &found).await?,
            };
            if let Some(reason) = reason {
                lines.push(self.stays(part, reason));
                continue;
            }
            let asked = api.ask(Method::DELETE, &part.path, None).await;
            // What has gone meanwhile is gone.
            let answer = asked.and_then(|answer| answer.success_or(&[404])).map_err(|error| self.left(&error))?;
            if answer.status.is_success() {
                lines.push(format!("removed {}", part.name));
            }
        }
        Ok(lines)
    }

    fn by_hand(&self) -> String {
        let ways: Vec<_> = self.parts.iter().rev().map(|part| self.way(part)).collect();
        format!("It is left to you, if nobody uses it: {}", ways.join(", "))
    }

    fn without_credentials(self) -> Self {
        Self { login: Login::Nobody, ..self }
    }

    fn is_shut_out(error: &str) -> bool {
        [" answered 401", "does not let in the client"].iter().any(|words| error.contains(words))
    }
}

impl Boxes {
    async fn look(&self, api: &mut Api, path: &str) -> Result<Option<Json>, String> {
        api.find(path).await.map_err(|error| self.left(&error))
    }

    fn left(&self, error: &StepError) -> String {
        format!("{error}. {}", self.by_hand())
    }

    fn stays(&self, part: &Part, reason: &str) -> String {
        format!("{} stays, for {reason}; if nobody uses it, {}", part.name, self.way(part))
    }

    fn way(&self, Part { name, path, .. }: &Part) -> String {
        format!("DELETE {}/{path} removes {name}", self.base)
    }

    /// Why the box is not this build's any more.
    fn holds_anothers(&self, part: &Part, found: &Json, by: By) -> Option<&'static str> {
        let (holder, data) = match self.registry {
            Service::Cloud => (found, found),
            Service::Hcp => (&found["architecture"], &found["architecture"]["box_data"]),
        };
        let theirs = data["checksum"].as_str().filter(|digest| !digest.is_empty());
        match (self.checksum.as_deref(), theirs) {
            (Some(own), Some(theirs)) if !own.eq_ignore_ascii_case(theirs) => return Some("it has another box by now"),
            // The build itself knows that it has made it.
            _ if by == By::Build => return None,
            (Some(_), Some(_)) => {}
            _ => return Some("it may have another box by now"),
        }
        let written = holder["updated_at"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        let is_late = written.is_some_and(|time| time.as_second() > part.asked_at.saturating_add(WRITTEN_LATE));
        is_late.then_some("it was written again since")
    }

    /// Why a version or provider is not this build's alone any more.
    async fn is_used(&self, api: &mut Api, part: &Part, found: &Json) -> Result<Option<&'static str>, String> {
        let listed = match (self.registry, part.kind) {
            (Service::Cloud, _) => found["providers"].as_array().map(|below| !below.is_empty()),
            (Service::Hcp, kind) => {
                let below = if kind == Kind::Version { "providers" } else { "architectures" };
                let listed = self.look(api, &format!("{}/{below}", part.path)).await?;
                // An empty list may be left out.
                listed
                    .as_ref()
                    .and_then(Json::as_object)
                    .map(|answer| answer.values().any(|value| value.as_array().is_some_and(|below| !below.is_empty())))
            }
        };
        Ok(match listed {
            Some(false) => None,
            Some(true) => Some("there are boxes of others below it"),
            None => Some("the service does not tell what is below it"),
        })
    }
}

/// What one publication has made so far.
pub(super) struct Made {
    boxes: Boxes,
    claim: Option<Claim>,
}

impl Made {
    pub(super) fn nothing(api: &Api, registry: Service, publication: &Publication) -> Self {
        let (base, insecure, login) = api.way();
        let version = registry.version_path(publication);
        let checksum = publication.checksum.as_ref().map(|(_, digest)| digest.clone());
        let boxes = Boxes { base, insecure, login, registry, version, checksum, releasing: false, parts: Vec::new() };
        Self { boxes, claim: None }
    }

    /// Asks for something to be made by POST. It is noted before: whoever asks and gets no answer does not know whether it is there. What is
    /// refused has not come to be.
    pub(super) async fn make(
        &mut self,
        context: &PostProcessContext,
        api: &mut Api,
        part: Part,
        (ask_at, wanted): (&str, &Json),
    ) -> Result<Answer, StepError> {
        self.boxes.parts.push(part);
        self.note(context)?;
        let answer = api.ask(Method::POST, ask_at, Some(wanted)).await?;
        if answer.status.is_client_error() && answer.status != StatusCode::REQUEST_TIMEOUT {
            self.boxes.parts.pop();
            self.note(context)?;
        }
        answer.success()
    }

    /// The release is asked for next.
    pub(super) fn releasing(&mut self) -> Result<(), StepError> {
        self.boxes.releasing = true;
        self.claim.as_ref().map_or(Ok(()), |claim| claim.update(&self.boxes))
    }

    fn note(&mut self, context: &PostProcessContext) -> Result<(), StepError> {
        match &self.claim {
            Some(claim) => claim.update(&self.boxes),
            None => {
                let names = self.boxes.parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join(", ");
                let what = format!("what is made of a Vagrant box at {} ({names} and what is below)", self.boxes.base);
                self.claim = Some(Claim::begin(&context.build, &what, &self.boxes)?);
                Ok(())
            }
        }
    }

    /// It is meant to stay.
    pub(super) fn keep(self) {
        if let Some(claim) = self.claim {
            claim.keep();
        }
    }
}
