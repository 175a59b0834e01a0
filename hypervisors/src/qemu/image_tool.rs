//! `qemu-img`, for images that our own writers do not make: a template may give arguments for it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::process::{ExitState, ToolFailure, find_program, run_tool};

/// The program.
const PROGRAM: &str = "qemu-img";

/// How long it may take: a terabyte that is compressed on a slow disk takes hours. Who gives up before drops the future.
const LIMIT: Duration = Duration::from_secs(24 * 60 * 60);

/// `qemu-img` of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageTool {
    program: PathBuf,
}

/// Why an image has not come to be.
#[derive(Debug, thiserror::Error)]
pub enum ImageToolError {
    /// There is none.
    #[error("qemu-img is not in PATH")]
    Missing,
    /// It cannot be run.
    #[error("cannot run {program}")]
    Run {
        /// The program.
        program: PathBuf,
        /// The operating system's word.
        source: std::io::Error,
    },
    /// It did not end, and was killed.
    #[error("`{command}` did not end within {} hours", LIMIT.as_secs() / 3600)]
    Endless {
        /// As it can be typed.
        command: String,
    },
    /// It says no.
    #[error("`{command}` failed ({state}): {words}")]
    Failed {
        /// As it can be typed.
        command: String,
        /// How it ended.
        state: String,
        /// The end of what it said.
        words: String,
    },
}

impl ImageToolError {
    /// What can be done about it.
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            Self::Missing => "install the package qemu-utils (Debian), or remove qemu_img_args",
            Self::Failed { words, .. } if words.contains("No space left") => "make room where the output directory is",
            Self::Failed { .. } => "see qemu_img_args in the source block; `man qemu-img` lists what it takes",
            _ => return None,
        };
        Some(text.to_owned())
    }
}

impl ImageTool {
    /// Finds it.
    ///
    /// # Errors
    ///
    /// It is not there.
    pub fn find() -> Result<Self, ImageToolError> {
        find_program(PROGRAM).map(|program| Self { program }).ok_or(ImageToolError::Missing)
    }

    /// Runs it. Whoever drops the future kills it; it dies with this process, too.
    ///
    /// # Errors
    ///
    /// It cannot be run, or fails; what it was writing is left as it is.
    pub async fn run(&self, arguments: Vec<OsString>) -> Result<(), ImageToolError> {
        let command = || {
            let words = arguments.iter().map(|word| word.to_string_lossy().into_owned());
            std::iter::once(PROGRAM.to_owned()).chain(words).collect::<Vec<_>>().join(" ")
        };
        tracing::info!(command = command(), "an image is left to qemu-img");
        match run_tool(&self.program, arguments.clone(), LIMIT).await {
            Ok(output) if output.state == ExitState::Exited(0) => Ok(()),
            Ok(output) => Err(ImageToolError::Failed {
                command: command(),
                state: output.state.to_string(),
                words: if output.stderr.is_empty() { "it said nothing".to_owned() } else { output.stderr },
            }),
            Err(ToolFailure::Spawn(source)) => Err(ImageToolError::Run { program: self.program.clone(), source }),
            Err(ToolFailure::Timeout) => Err(ImageToolError::Endless { command: command() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::script::write_script;

    async fn failing(script: &str) -> ImageToolError {
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join(PROGRAM);
        write_script(&program, script);
        ImageTool { program }.run(vec!["create".into(), "a b".into()]).await.unwrap_err()
    }

    #[tokio::test]
    async fn its_own_words_are_told() {
        let error = failing("#!/bin/sh\necho \"qemu-img: $2: no\" >&2\nexit 3\n").await;
        assert_eq!(error.to_string(), "`qemu-img create a b` failed (exit status 3): qemu-img: a b: no");
        assert!(error.hint().is_some_and(|hint| hint.contains("qemu_img_args")));
        let error = failing("#!/bin/sh\nkill -9 $$\n").await;
        assert!(error.to_string().ends_with("failed (signal 9 (SIGKILL)): it said nothing"), "{error}");
        let full = failing("#!/bin/sh\necho 'x: No space left on device' >&2; exit 1\n").await;
        assert!(full.hint().is_some_and(|hint| hint.contains("make room")));
        assert!(ImageToolError::Missing.hint().is_some_and(|hint| hint.contains("qemu-utils")));
    }

    #[tokio::test]
    async fn one_that_cannot_be_run_is_told() {
        let error = ImageTool { program: "/nonexistent/qemu-img".into() }.run(Vec::new()).await.unwrap_err();
        assert!(matches!(error, ImageToolError::Run { .. }), "{error:?}");
    }
}
