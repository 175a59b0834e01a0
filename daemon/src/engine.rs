//! Puts the build engine behind the runner's seam.

use std::io;
use std::path::Path;

use kiln_protocol::HypervisorInfo;

use crate::runner::{
    BoxFuture, EventSink, JobControl, JobOutcome, JobRequest, JobRunner, Refused, StartedJob, SweepReport,
};

/// The build engine.
#[derive(Debug)]
pub struct Engine;

/// Reaches into a job of a program without an engine.
struct Nothing;

impl JobRunner for Engine {
    fn start(&self, _request: JobRequest, _sink: EventSink) -> StartedJob {
        let error = Some("this kilnd was built without a build engine".to_owned());
        let outcome = JobOutcome { exit_code: 1, cancelled: false, error };
        StartedJob { control: std::sync::Arc::new(Nothing), outcome: Box::pin(std::future::ready(outcome)) }
    }

    fn sweep(&self, _job_directory: &Path) -> io::Result<SweepReport> {
        Ok(SweepReport::default())
    }

    fn hypervisors(&self) -> BoxFuture<'_, Vec<HypervisorInfo>> {
        Box::pin(std::future::ready(Vec::new()))
    }
}

impl JobControl for Nothing {
    fn cancel(&self) {}

    fn screen<'a>(&'a self, _build: Option<&'a str>) -> BoxFuture<'a, Result<Vec<u8>, Refused>> {
        Box::pin(std::future::ready(Err(Refused { reason: "no guest runs".to_owned() })))
    }

    fn answer(&self, _prompt: &str, _answer: &str) -> Result<(), Refused> {
        Err(Refused { reason: "nothing was asked".to_owned() })
    }
}
