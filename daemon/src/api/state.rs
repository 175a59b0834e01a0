//! What handlers share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::hypervisors::Hypervisors;
use crate::bus::Bus;
use crate::jobs::Jobs;
use crate::quotas::Shares;
use crate::runner::JobRunner;
use crate::wall_clock::wall_clock;

/// What handlers share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct ApiState {
    pub(super) jobs: Jobs,
    pub(super) bus: Bus,
    pub(super) shutdown: CancellationToken,
    pub(super) started_at: Arc<str>,
    pub(super) hypervisors: Arc<Hypervisors>,
    /// Streams of events that are followed.
    pub(super) followers: Shares,
}

impl ApiState {
    pub(crate) fn new(
        jobs: Jobs,
        bus: Bus,
        runner: Arc<dyn JobRunner>,
        shutdown: CancellationToken,
        followers: Shares,
    ) -> Self {
        let started_at = wall_clock().into();
        let hypervisors = Arc::new(Hypervisors::new(runner, jobs.clone()));
        Self { jobs, bus, shutdown, started_at, hypervisors, followers }
    }
}
