//! `kiln attach` and `kiln logs`.

use kiln_protocol::{JobId, JobState};

use super::context::{Context, find_job};
use super::follow::{Follow, OnInterrupt};
use super::note::note;
use super::prompt::Prompts;
use super::reconnect::events_so_far;
use super::waiting;
use crate::arguments::{AttachArguments, LogsArguments, ViewFlags};
use crate::error::CommandError;

pub(super) async fn attach(context: Context, arguments: AttachArguments) -> Result<u8, CommandError> {
    let id = find_job(&context.client, &arguments.job).await?;
    // Of another's job that takes a password nothing is known yet: its events ask for it, once.
    let waits = context.client.job_unasked(&id).await?.filter(|job| job.state == JobState::Queued);
    let queued = waits.is_some();
    if let Some(job) = waits {
        note(&waiting::notice(&job));
    }
    let mut follow = follow(context, id, &arguments.view, Prompts::IfTerminal);
    follow.queued = queued;
    follow.run().await
}

pub(super) async fn logs(context: Context, arguments: LogsArguments) -> Result<u8, CommandError> {
    let id = find_job(&context.client, &arguments.job).await?;
    if arguments.follow {
        follow(context, id, &arguments.view, Prompts::Never).run().await?;
        return Ok(0);
    }
    let events = events_so_far(&context.client, &id).await?;
    follow(context, id, &arguments.view, Prompts::Never).print(events).await?;
    Ok(0)
}

fn follow(context: Context, id: JobId, view: &ViewFlags, prompts: Prompts) -> Follow {
    let mut follow = Follow::new(context, id);
    follow.colour = view.color;
    follow.timestamps = view.timestamp_ui;
    follow.json = view.json;
    follow.on_interrupt = OnInterrupt::Leave;
    follow.prompts = prompts;
    follow
}
