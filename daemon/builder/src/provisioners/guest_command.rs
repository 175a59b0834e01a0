//! Commands in the guest whose output people see, or whose output is read.

use kiln_communicators::{CollectedOutput, Exit};

use super::context::ProvisionContext;
use crate::error::StepError;
use crate::line_output::LineOutput;

/// What is kept of a command's output that is read, for each stream.
const MAX_READ: usize = 64 << 10;

/// Runs `command` and passes on what it writes.
pub(super) async fn run(context: &ProvisionContext, command: &str) -> Result<Exit, StepError> {
    let output = LineOutput::new(&context.build);
    let exit = context.communicator.execute(command, &output).await?;
    output.finish();
    Ok(exit)
}

/// Runs `command`, which must succeed: `what` is in the error, with what the guest has said, and `hint`.
pub(super) async fn must(context: &ProvisionContext, command: &str, what: &str, hint: &str) -> Result<(), StepError> {
    let output = CollectedOutput::new(MAX_READ);
    let exit = context.communicator.execute(command, &output).await?;
    if exit.is_success() {
        return Ok(());
    }
    let said = output.stderr_text();
    let said = said.trim();
    let said = if said.is_empty() { String::new() } else { format!(": {said}") };
    let lost = exit == Exit::Disconnected;
    Err(StepError::new(format!("the guest could not {what}: {exit}{said}")).with_hint(hint).lost_when(lost))
}
