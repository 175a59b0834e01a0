//! What handlers share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::hypervisors::Hypervisors;
use crate::bus::Bus;
use crate::jobs::Jobs;
use crate::quotas::Shares;
use crate::runner::JobRunner;
use crate::turns::Turns;
use crate::wall_clock::wall_clock;

/// Lists of jobs on their way to one user.
pub(super) const LISTS_OF_EACH_USER: usize = 4;

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
    /// Lists of jobs that are made or sent.
    pub(super) lists: Turns,
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
        Self { jobs, bus, shutdown, started_at, hypervisors, followers, lists: Turns::new(LISTS_OF_EACH_USER) }
    }
}
