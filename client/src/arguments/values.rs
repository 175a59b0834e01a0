//! How the values of Packer's flags are read.

use kiln_protocol::{Assignment, OnError};

/// [`Assignment`] as a clap value: its debug form shows no secret.
#[derive(Clone)]
pub(crate) struct VariableFlag(pub(crate) Assignment);

impl std::fmt::Debug for VariableFlag {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}=…", self.0.name)
    }
}

/// Type alias that keeps clap from treating the wire type as its own.
pub(crate) type OnErrorFlag = OnError;

pub(super) fn assignment(text: &str) -> Result<VariableFlag, String> {
    let (name, value) = text.split_once('=').ok_or_else(|| format!("No '=' value in arg: {text}"))?;
    Ok(VariableFlag(Assignment { name: name.to_owned(), value: value.to_owned() }))
}

/// The words of `-on-error`.
pub(crate) const ON_ERROR: [&str; 4] = ["cleanup", "abort", "ask", "run-cleanup-provisioner"];

pub(super) fn on_error(text: &str) -> Result<OnErrorFlag, String> {
    match text {
        "" | "cleanup" => Ok(OnError::Cleanup),
        "abort" => Ok(OnError::Abort),
        "ask" => Ok(OnError::Ask),
        "run-cleanup-provisioner" => Ok(OnError::RunCleanupProvisioner),
        _ => Err(format!("one of {}", ON_ERROR.join(", "))),
    }
}

/// Reads a boolean as Go's `strconv.ParseBool` does.
pub(super) fn go_bool(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err("neither true nor false".to_owned()),
    }
}
