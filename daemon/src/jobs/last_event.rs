//! The last event of a job, written by the daemon where no worker can.

use std::error::Error;

use kiln_protocol::EventBody;

use crate::event_log::EventWriter;
use crate::job_dir::JobDir;

/// Writes the last event in the place of a worker, unless one is there after all.
pub(super) fn write_last_event(directory: &JobDir, body: EventBody) -> Result<(), Box<dyn Error + Send + Sync>> {
    let _lock = directory.lock()?.ok_or("another process works on the job")?;
    Ok(EventWriter::open_at_end(&directory.events())?.append(None, body)?)
}
