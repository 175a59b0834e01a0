//! Removing what was made in a registry when the rest cannot be done, also in another process.

use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::super::context::PostProcessContext;
use super::super::remote::{Claim, Remote};
use super::api::{Answer, Api, Login};
use crate::error::StepError;

/// What a post-processor makes in a registry.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(in super::super) struct Boxes {
    base: String,
    insecure: bool,
    login: Login,
    /// In the order in which they were asked for.
    parts: Vec<Part>,
}

/// A version, provider or architecture.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Part {
    /// What people call it.
    name: String,
    path: String,
}

impl Remote for Boxes {
    const SERVICE: &'static str = "vagrant";

    /// The parts go in reverse order.
    async fn give_back(&self) -> Result<Vec<String>, String> {
        let mut removed = Vec::new();
        let mut api =
            Api::by_itself(&self.base, self.insecure, self.login.clone()).map_err(|error| error.to_string())?;
        for Part { name, path } in self.parts.iter().rev() {
            let asked = api.ask(Method::DELETE, path, None).await;
            // What never came to be is gone.
            let answer = asked.and_then(|answer| answer.success_or(&[404]));
            let answer = answer
                .map_err(|error| format!("{error}. It is left to you: DELETE {}/{path} removes {name}", self.base))?;
            if answer.status.is_success() {
                removed.push(format!("removed {name}"));
            }
        }
        Ok(removed)
    }
}

/// What one publication has made so far.
pub(super) struct Made {
    boxes: Boxes,
    claim: Option<Claim>,
}

impl Made {
    pub(super) fn nothing(api: &Api) -> Self {
        let (base, insecure, login) = api.way();
        Self { boxes: Boxes { base, insecure, login, parts: Vec::new() }, claim: None }
    }

    /// Asks for something to be made by POST, which then lies at `path`. It is noted before: whoever asks and gets no answer does not know
    /// whether it is there. What is refused has not come to be.
    pub(super) async fn make(
        &mut self,
        context: &PostProcessContext,
        api: &mut Api,
        name: String,
        path: String,
        (ask_at, wanted): (&str, &Json),
    ) -> Result<Answer, StepError> {
        self.boxes.parts.push(Part { name, path });
        self.note(context)?;
        let answer = api.ask(Method::POST, ask_at, Some(wanted)).await?;
        if answer.status.is_client_error() && answer.status != StatusCode::REQUEST_TIMEOUT {
            self.boxes.parts.pop();
            self.note(context)?;
        }
        answer.success()
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
