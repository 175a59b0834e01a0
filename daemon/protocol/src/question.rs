//! Questions that a job asks, and their answers.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Describes a question that waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Question {
    /// Name to answer to.
    pub prompt: String,
    /// Build that asks, as `qemu.web`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<String>,
    /// The question.
    pub text: String,
    /// Possible answers; empty when any text will do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<Choice>,
    /// Answer that is taken when nobody answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Command that leads into the guest meanwhile, when one runs that can be reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guest: Option<String>,
    /// When it was asked, RFC 3339.
    pub asked_at: String,
}

/// A possible answer to a prompt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Choice {
    /// What to send, as `c`.
    pub key: String,
    /// What it does, as `clean up and exit`.
    pub label: String,
}

/// Answers a prompt of a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    /// The prompt's name, from its event, or the name of the build that asks; empty for the only one.
    pub prompt: String,
    /// The key of the chosen answer, or text.
    pub answer: String,
}
