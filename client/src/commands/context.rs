//! What every command has: the daemon, how output is wanted, and the job that an id's beginning means.

use kiln_protocol::JobId;

use crate::api::Client;
use crate::error::CommandError;

/// Jobs among which the beginning of an id is looked for.
const JOBS_TO_SEARCH: u32 = 1000;

/// What every command has.
#[derive(Clone)]
pub(crate) struct Context {
    /// The daemon.
    pub(crate) client: Client,
    /// Whether output is for programs (`-machine-readable`).
    pub(crate) machine_readable: bool,
}

/// Returns the job that is meant by an id or by the beginning of one.
pub(super) async fn find_job(client: &Client, text: &str) -> Result<JobId, CommandError> {
    if let Ok(id) = text.parse() {
        return Ok(id);
    }
    let jobs = client.jobs(JOBS_TO_SEARCH, true).await?.jobs;
    let mut found = jobs.into_iter().map(|job| job.id).filter(|id| !text.is_empty() && id.as_str().starts_with(text));
    match (found.next(), found.next()) {
        (Some(id), None) => Ok(id),
        (Some(_), Some(_)) => {
            Err(CommandError::new(format!("several jobs begin with `{text}`")).hint("`kiln jobs` lists them"))
        }
        (None, _) => Err(CommandError::new(format!("there is no job `{text}`")).hint("`kiln jobs` lists the jobs")),
    }
}
