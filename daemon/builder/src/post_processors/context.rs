//! What a post-processor works with, and what it makes.

use std::path::Path;
use std::sync::Arc;

use kiln_communicators::BoxFuture;
use kiln_disk_formats::package::MachineDescription;
use kiln_template::Provisioner;

use crate::artifact::Artifact;
use crate::build_data::{BuildData, BuildInputs};
use crate::context::BuildContext;
use crate::error::StepError;
use crate::export::{Exported, GuestDisk};

/// What a post-processor knows of the build before it.
#[derive(Clone)]
pub(crate) struct PostProcessContext {
    pub(crate) build: BuildContext,
    pub(crate) data: Arc<BuildData>,
    /// `PACKER_BUILD_NAME`: the source's label.
    pub(crate) source_name: String,
    /// The builder's type, such as `qemu`.
    pub(crate) source_type: String,
    /// What the machine was, for packages that describe it.
    pub(crate) machine: Option<MachineDescription>,
    /// Whether the machine is a PC, which packages describe.
    pub(crate) is_pc: bool,
    /// The guest's architecture, as Go and Vagrant call it: `amd64`.
    pub(crate) architecture: String,
    /// What QEMU is to run the guest with, for libvirt: `kvm`, or `qemu` where the template says that it be emulated.
    pub(crate) driver: &'static str,
    /// What went into the build.
    pub(crate) inputs: Arc<BuildInputs>,
    /// The exports that the builder's pass over the disk wrote already.
    pub(crate) exported: Vec<Exported>,
    /// The guest's disks as the builder left them.
    pub(crate) disks: Vec<GuestDisk>,
    /// What boots an image that was made.
    pub(crate) verifier: Arc<dyn Verifier>,
}

impl PostProcessContext {
    /// The same, with the post-processor `kind` speaking.
    pub(super) fn speaking_as(&self, kind: &str) -> Self {
        Self { build: self.build.speaking_as(kind), ..self.clone() }
    }
}

/// Boots what a build has left, and leaves it as it is. Whoever knows how to run machines does that; a post-processor asks.
pub(crate) trait Verifier: Send + Sync {
    /// Boots a disk that lies over `image`, runs `checks` in it, and shuts it down.
    fn verify<'a>(&'a self, image: &'a Path, checks: Provisioner) -> BoxFuture<'a, Result<(), StepError>>;
}

/// What a post-processor made of its input.
pub(crate) struct Processed {
    pub(crate) artifact: Artifact,
    /// Whether the input stays when the template says nothing.
    pub(crate) keep_input: bool,
    /// Whether the template cannot say otherwise.
    pub(crate) force_keep: bool,
}

/// The file name of `path` for people and manifests.
pub(super) fn base_name(path: &Path) -> String {
    path.file_name().map_or_else(|| path.display().to_string(), |name| name.to_string_lossy().into_owned())
}
