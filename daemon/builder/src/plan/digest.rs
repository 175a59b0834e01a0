//! A plan's digest: the same for the same plan in every process that has the key, another for any other plan.

use std::fmt;

use aws_lc_rs::hmac;
use serde::{Deserialize, Serialize};

use super::build::BuildPlan;
use crate::plan_key::PlanKey;

/// What the digest is of; a change of what goes in, or in which order, is a new version.
const VERSION: &[u8] = b"kiln build plan 1";

/// HMAC-SHA-256 of a plan with its secrets, in hexadecimal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct PlanDigest(String);

impl fmt::Display for PlanDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl BuildPlan {
    /// The digest of everything the template says of this build. What files hold (scripts, images, keys) is not in it, nor
    /// what the caller's machine is like.
    ///
    /// # Errors
    ///
    /// A path in it is no Unicode text.
    pub(crate) fn digest(&self, key: &PlanKey) -> Result<PlanDigest, serde_json::Error> {
        let mut context = key.context();
        add(&mut context, VERSION);
        // Hides secrets but says where there is one, so that those below can only be these.
        add(&mut context, &serde_json::to_vec(self)?);
        for secret in self.source.secrets() {
            add(&mut context, secret.expose().as_bytes());
        }
        for provisioner in self.all_provisioners() {
            add(&mut context, &serde_json::to_vec(provisioner.options.whole())?);
        }
        for post_processor in self.post_processors.iter().flatten() {
            add(&mut context, &serde_json::to_vec(post_processor.options.whole())?);
        }
        let tag = context.sign();
        Ok(PlanDigest(tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()))
    }
}

/// With its length before it, so that no two lists of parts run together to the same bytes.
fn add(context: &mut hmac::Context, part: &[u8]) {
    context.update(&(part.len() as u64).to_be_bytes());
    context.update(part);
}
