//! What a provisioner or a post-processor will do, as a plain value.

use std::fmt;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value as Json;

/// One provisioner.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct ProvisionerPlan {
    /// Its kind, such as `shell`.
    pub kind: String,
    /// Its label.
    pub name: Option<String>,
    /// Its options.
    pub options: OptionsPlan,
    /// How long to wait before each attempt.
    pub pause_before: Duration,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// How many times a failure is retried.
    pub max_retries: u32,
    /// Whether a failure is only a warning.
    pub continue_on_error: bool,
}

/// One post-processor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct PostProcessorPlan {
    /// Its kind, such as `manifest`.
    pub kind: String,
    /// Its label.
    pub name: Option<String>,
    /// Its options.
    pub options: OptionsPlan,
    /// Whether its input stays; nothing leaves that to the post-processor.
    pub keep_input_artifact: Option<bool>,
}

/// Every option that acts, by name: as the template sets it, else its default. What is known only while the build runs stands
/// in it by its name (see [`crate::generated::names`]).
#[derive(Clone, PartialEq)]
pub(crate) struct OptionsPlan {
    /// With secrets, for digests.
    whole: Json,
    /// Without them.
    shown: Json,
}

impl OptionsPlan {
    /// The same options twice: with secrets, and with a word in place of each.
    pub(crate) fn new(whole: Json, shown: Json) -> Self {
        Self { whole, shown }
    }

    /// All of it, with secrets.
    pub(super) fn whole(&self) -> &Json {
        &self.whole
    }
}

impl fmt::Debug for OptionsPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.shown)
    }
}

impl Serialize for OptionsPlan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shown.serialize(serializer)
    }
}
