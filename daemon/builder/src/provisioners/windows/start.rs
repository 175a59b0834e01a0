//! Uploads files and starts a command as one unit, again while the guest cannot be reached.

use std::time::{Duration, Instant};

use kiln_communicators::{Communicator, CommunicatorError, Exit};

use crate::error::StepError;
use crate::line_output::LineOutput;
use crate::provisioners::ProvisionContext;

/// Pace of new attempts; each waits for the connection itself.
const PACE: Duration = Duration::from_millis(500);

/// Uploads `files` (paths and contents) and runs `command`, for as long as `limit` while it does not come to that.
pub(super) async fn start(
    context: &ProvisionContext,
    files: &[(&str, &[u8])],
    command: &str,
    limit: Duration,
) -> Result<Exit, StepError> {
    let until = Instant::now() + limit;
    let guest = context.communicator.until(until);
    loop {
        match attempt(context, &*guest, files, command).await {
            Ok(exit) => return Ok(exit),
            Err(error) if !error.is_transport() || Instant::now() >= until => return Err(error.into()),
            Err(error) => tracing::debug!(%error, "the command could not be started; trying again"),
        }
        tokio::time::sleep(PACE).await;
    }
}

async fn attempt(
    context: &ProvisionContext,
    guest: &dyn Communicator,
    files: &[(&str, &[u8])],
    command: &str,
) -> Result<Exit, CommunicatorError> {
    for (path, content) in files {
        guest.upload_bytes(content, path, 0o644).await?;
    }
    let output = LineOutput::new(&context.build);
    let exit = guest.execute(command, &output).await?;
    output.finish();
    Ok(exit)
}
