//! `kiln cancel`.

use kiln_protocol::CancelMode;

use super::context::{Context, find_job};
use super::note::note;
use super::reconnect::events;
use crate::arguments::CancelArguments;
use crate::error::CommandError;

pub(super) async fn cancel(context: Context, arguments: CancelArguments) -> Result<u8, CommandError> {
    let id = find_job(&context.client, &arguments.job).await?;
    let mode = if arguments.now { CancelMode::Now } else { CancelMode::Graceful };
    let job = context.client.cancel(&id, mode).await?;
    if arguments.wait {
        let mut received = events(context.client, id.clone(), job.last_event);
        while let Some(received) = received.recv().await {
            received?;
        }
        note(&format!("job {id} is over"));
    } else {
        note(&format!("job {id} is {}", job.state));
    }
    Ok(0)
}
