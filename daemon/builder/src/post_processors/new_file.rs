//! Files of post-processors, which are never files of the artifact that they are made of.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::context::PostProcessContext;
use crate::artifact::Artifact;
use crate::error::StepError;
use crate::noted_file;

/// As [`noted_file::write`], with the permissions of any file.
pub(super) async fn write<T: Send + 'static>(
    context: &PostProcessContext,
    path: &Path,
    fill: impl FnOnce(&mut File, &AtomicBool) -> io::Result<T> + Send + 'static,
) -> Result<T, StepError> {
    noted_file::write(&context.build, path, 0o666, fill).await
}

/// Refuses to write over a file of the artifact.
pub(super) fn refuse_input(output: &Path, input: &Artifact) -> Result<(), StepError> {
    match input.file_at(output) {
        None => Ok(()),
        Some(file) => Err(StepError::new(format!("{} is a file of the artifact itself", file.display()))
            .with_hint("give `output` another name")),
    }
}
