//! The artifact's disk, in whatever format it is.

use std::path::{Path, PathBuf};

use kiln_disk_formats::{DiskReader, Format, OpenPolicy, detect, open};

use crate::artifact::Artifact;
use crate::blocking::blocking;
use crate::context::BuildContext;
use crate::error::StepError;

/// A disk that is read.
pub(super) struct Disk {
    pub(super) path: PathBuf,
    pub(super) reader: Box<dyn DiskReader>,
}

impl Disk {
    /// Opens it. An image over another would be missing half of it; this refuses one.
    pub(super) fn open(path: PathBuf) -> Result<Self, StepError> {
        let reader = open(&path, None, &OpenPolicy::deny()).map_err(StepError::from)?;
        Ok(Self { path, reader })
    }

    pub(super) fn virtual_size(&self) -> u64 {
        self.reader.virtual_size()
    }
}

/// The first disk of the artifact, which is the one that its machine starts from.
pub(super) async fn of(build: &BuildContext, input: &Artifact) -> Result<Disk, StepError> {
    let disks: Vec<PathBuf> = input.files.iter().filter(|file| is_disk(file)).cloned().collect();
    let Some(first) = disks.first().cloned() else {
        return Err(StepError::new("the artifact has no disk image to import")
            .with_hint("put amazon-import right behind a builder that leaves a disk, or behind artifice"));
    };
    if disks.len() > 1 {
        let words = format!("Warning: of {} disks the first is imported: {}", disks.len(), first.display());
        build.error(words);
    }
    blocking("opening the disk", move |_| Disk::open(first)).await
}

/// Anything may pass for raw: then its name has to say so, or say nothing.
fn is_disk(path: &Path) -> bool {
    match (detect(path), path.extension().and_then(|ending| ending.to_str())) {
        (Ok(Format::Raw), Some(ending)) => Format::from_name(ending) == Some(Format::Raw),
        (Ok(_), _) => true,
        (Err(_), ending) => ending == Some("ova"),
    }
}
