//! Directories that live as long as the build.

use std::path::PathBuf;

use crate::context::BuildContext;
use crate::error::StepError;
use crate::ledger::Resource;

/// A build's own directories.
#[derive(Debug)]
pub(super) struct WorkDirectories {
    /// For files of any size.
    pub(super) files: PathBuf,
    /// For sockets: a short path.
    pub(super) sockets: PathBuf,
}

impl WorkDirectories {
    /// Makes those of the build at place `index` of its job; those that are there already are kept.
    pub(super) async fn make(index: usize, context: &BuildContext) -> Result<Self, StepError> {
        let work = Self {
            files: context.settings.job_dir.join(format!("work-{index}")),
            sockets: context.settings.runtime_dir.join(index.to_string()),
        };
        for path in [&work.files, &work.sockets] {
            context.own_path("work", Resource::Directory { path: path.clone() });
            tokio::fs::create_dir_all(path)
                .await
                .map_err(|error| StepError::new(format!("cannot create {}", path.display())).with_source(error))?;
        }
        Ok(work)
    }
}
