//! The file builder: one file, copied or written.

use std::path::PathBuf;

use serde::Serialize;

use crate::artifact::{Artifact, Ownership};
use crate::atomic_file;
use crate::context::BuildContext;
use crate::error::{BuildError, StepError};
use crate::plan::PlanReader;

/// What the file builder will do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct FilePlan {
    /// The file to make.
    pub target: PathBuf,
    /// Where its content comes from.
    pub content: FileContent,
}

/// Where a file's content comes from.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FileContent {
    /// A text.
    Text(String),
    /// Another file.
    Copy(PathBuf),
}

pub(crate) fn read(reader: &mut PlanReader<'_>) -> FilePlan {
    let (source, content) = (reader.text("source"), reader.text("content"));
    if source.is_some() && content.is_some() {
        reader.error("content", "Both source and content", "Cannot specify both source file AND content.");
    }
    if source.is_none() && content.is_none() {
        reader.warning(
            "target",
            "Empty target",
            "Both source file and contents are blank; target will have no content",
        );
    }
    let target = reader.text_or("target", "");
    if target.is_empty() {
        reader.error("target", "Missing target", "target required");
    }
    FilePlan {
        target: target.into(),
        content: match source {
            Some(source) => FileContent::Copy(source.into()),
            None => FileContent::Text(content.unwrap_or_default()),
        },
    }
}

/// Makes the file.
pub(crate) async fn run(plan: &FilePlan, context: &BuildContext) -> Result<Artifact, BuildError> {
    context.step("write", write(plan, context)).await?;
    Ok(Artifact {
        builder_id: "packer.file".to_owned(),
        id: "File".to_owned(),
        text: format!("Stored file: {}", plan.target.display()),
        files: vec![plan.target.clone()],
        ownership: Ownership::Files(vec![plan.target.clone()]),
    })
}

async fn write(plan: &FilePlan, context: &BuildContext) -> Result<(), StepError> {
    let target = plan.target.clone();
    let failed =
        |error: std::io::Error| StepError::new(format!("cannot write {}", plan.target.display())).with_source(error);
    match &plan.content {
        FileContent::Text(text) => {
            let text = text.clone();
            run_blocking(move || atomic_file::write(&target, text.as_bytes(), 0o600)).await.map_err(failed)
        }
        FileContent::Copy(source) => {
            context.say(format!("Copying {} to {}", source.display(), plan.target.display()));
            let from = source.clone();
            let copied = run_blocking(move || atomic_file::copy(&from, &target)).await.map_err(|error| {
                let paths = format!("{} to {}", source.display(), plan.target.display());
                StepError::new(format!("cannot copy {paths}")).with_source(error)
            })?;
            context.say(format!("Copied {copied} bytes"));
            Ok(())
        }
    }
}

/// Runs blocking file work off the runtime's threads.
pub(crate) async fn run_blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(std::io::Error::other)?
}
