//! What goes into a builder and what comes out of it.

use std::sync::Arc;

use kiln_disk_formats::package::MachineDescription;
use kiln_template::EvaluatedBuild;

use crate::artifact::Artifact;
use crate::build_data::BuildData;
use crate::context::BuildContext;
use crate::export::Exported;
use crate::plan::BuildPlan;
use crate::steps::output_directory::OutputDirectory;

/// A build that passed preparation.
pub(crate) struct PlannedBuild {
    pub(crate) build: EvaluatedBuild,
    pub(crate) plan: BuildPlan,
}

impl PlannedBuild {
    /// What it knows of itself before it has done anything.
    pub(crate) fn base_data(&self, context: &BuildContext) -> BuildData {
        BuildData {
            run_uuid: context.settings.run_uuid.clone(),
            source_name: self.build.source_name.clone(),
            source_type: self.build.source_type.clone(),
            ..BuildData::default()
        }
    }
}

/// What a builder leaves.
pub(crate) struct Built {
    pub(crate) artifact: Artifact,
    pub(crate) data: BuildData,
    /// What the machine was, where there was one.
    pub(crate) machine: Option<MachineDescription>,
    /// The exports that were written in the same pass over the disk.
    pub(crate) exported: Vec<Exported>,
    /// The output directory, held against other builds for as long as post-processors work on what is in it.
    pub(crate) held: Option<Arc<OutputDirectory>>,
}
