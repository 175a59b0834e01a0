//! What the file builder will do, as a plain value.

use std::path::PathBuf;

use serde::Serialize;

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
