//! What one build will do, from its source to its last post-processor.

use kiln_template::Redactor;
use serde::Serialize;

use super::component::{PostProcessorPlan, ProvisionerPlan};
use super::source::SourcePlan;

/// A whole build as a plain value: two builds with equal plans do the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct BuildPlan {
    /// The name people see, such as `qemu.web`.
    pub name: String,
    /// The source's own label: `PACKER_BUILD_NAME`.
    pub source_name: String,
    /// The builder's type: `PACKER_BUILDER_TYPE`.
    pub source_type: String,
    /// What its source will do.
    pub source: SourcePlan,
    /// Its provisioners, in order.
    pub provisioners: Vec<ProvisionerPlan>,
    /// What runs when a provisioner fails.
    pub cleanup_provisioner: Option<ProvisionerPlan>,
    /// Its post-processors, in sequences.
    pub post_processors: Vec<Vec<PostProcessorPlan>>,
}

impl BuildPlan {
    /// Its provisioners and, last, what runs when one fails.
    pub(super) fn all_provisioners(&self) -> impl Iterator<Item = &ProvisionerPlan> {
        self.provisioners.iter().chain(&self.cleanup_provisioner)
    }

    /// The plan as JSON for people, without the job's secrets.
    ///
    /// # Errors
    ///
    /// A path in it is no Unicode text.
    #[cfg_attr(not(test), expect(dead_code, reason = "for resuming"))]
    pub(crate) fn shown(&self, redactor: &Redactor) -> Result<String, serde_json::Error> {
        Ok(redactor.redact(&serde_json::to_string_pretty(self)?))
    }
}
