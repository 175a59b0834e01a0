//! The output directory: made at the start, removed when the build fails.

use std::io;
use std::path::Path;

use crate::cleanup::CleanupId;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::ledger::Resource;
use crate::sources::qemu::plan::INCOMPLETE_MARK;

/// Makes `directory`, replacing what is there when asked to (`-force`) or when it is a leftover of an interrupted build.
pub(crate) async fn prepare(directory: &Path, context: &BuildContext) -> Result<CleanupId, StepError> {
    let failed = |what: &str, error: io::Error| {
        StepError::new(format!("cannot {what} the output directory {}", directory.display())).with_source(error)
    };
    if tokio::fs::try_exists(directory).await.map_err(|error| failed("look at", error))? {
        let leftover = tokio::fs::try_exists(directory.join(INCOMPLETE_MARK)).await.unwrap_or(false);
        if !context.settings.force && !leftover {
            return Err(StepError::new(format!(
                "Output directory '{}' already exists. It must not exist.",
                directory.display()
            ))
            .with_hint("remove it, choose another output_directory, or build with -force"));
        }
        context.say("Deleting previous output directory...");
        tokio::fs::remove_dir_all(directory).await.map_err(|error| failed("delete", error))?;
    }
    // Owned before it exists: a kill between the two lines leaves a line in the ledger, not a directory.
    let absolute = std::path::absolute(directory).map_err(|error| failed("name", error))?;
    let cleanup = context.own_path("output", Resource::Directory { path: absolute });
    tokio::fs::create_dir_all(directory).await.map_err(|error| failed("create", error))?;
    let mark = directory.join(INCOMPLETE_MARK);
    tokio::fs::write(&mark, "This build has not ended. If no kiln is running, delete this directory.\n")
        .await
        .map_err(|error| failed("write into", error))?;
    Ok(cleanup)
}

/// The directory is whole: it stays.
pub(crate) async fn keep(directory: &Path, cleanup: CleanupId, context: &BuildContext) -> Result<(), StepError> {
    let mark = directory.join(INCOMPLETE_MARK);
    tokio::fs::remove_file(&mark)
        .await
        .map_err(|error| StepError::new(format!("cannot remove {}", mark.display())).with_source(error))?;
    context.disarm(cleanup);
    if let Ok(path) = std::path::absolute(directory) {
        context.ledger.released(&Resource::Directory { path });
    }
    Ok(())
}
