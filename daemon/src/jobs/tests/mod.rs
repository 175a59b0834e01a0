//! Jobs as every face of the daemon sees them, with workers that are no processes.

mod callers;
mod changes;
mod hostile;
mod leftovers;
mod lost_journal;
mod recovery;
mod submissions;
mod workers;

use std::sync::Arc;
use std::time::Duration;

use kiln_protocol::{Job, JobId, JobSubmission};
use tempfile::TempDir;

use super::fake_launcher::FakeLauncher;
use super::*;
use crate::caller::Caller;
use crate::config::{Config, Mode};
use crate::quotas::Quotas;

/// Longest wait for anything in these tests; far more than it takes.
const PATIENCE: Duration = Duration::from_secs(60);

/// The user who is served.
const OWNER: u32 = 1000;

/// The jobs of a daemon, with fake workers.
struct Rig {
    _scratch: TempDir,
    launcher: Arc<FakeLauncher>,
    jobs: Jobs,
    owner: Caller,
}

impl Rig {
    async fn new(max_running_jobs: usize) -> Self {
        Self::with(max_running_jobs, |_| ()).await
    }

    async fn with(max_running_jobs: usize, change: impl FnOnce(&mut Config)) -> Self {
        let scratch = tempfile::Builder::new().prefix("kj").tempdir().unwrap();
        let mut config = Config { owner: OWNER, max_running_jobs, ..Config::below(scratch.path()) };
        change(&mut config);
        std::fs::create_dir_all(&config.state_directory).unwrap();
        let launcher = Arc::new(FakeLauncher::default());
        let jobs = Jobs::start_with(config, Arc::clone(&launcher) as Arc<dyn Launcher>).await.unwrap();
        Self { _scratch: scratch, launcher, jobs, owner: Caller::with_uid(OWNER) }
    }

    async fn submit(&self, template: &str) -> JobId {
        self.jobs.submit(&self.owner, submission(template)).await.unwrap().0.id
    }

    async fn job(&self, id: &JobId) -> Job {
        self.jobs.job(&self.owner, id).await.unwrap()
    }

    /// Waits until the job is as wanted.
    async fn until(&self, id: &JobId, wanted: impl Fn(&Job) -> bool) -> Job {
        self.until_for(&self.owner, id, wanted).await
    }

    /// Waits until the caller sees the job as wanted. Nothing tells of every change of a job.
    async fn until_for(&self, caller: &Caller, id: &JobId, wanted: impl Fn(&Job) -> bool) -> Job {
        let found = async {
            loop {
                let job = self.jobs.job(caller, id).await.unwrap();
                if wanted(&job) {
                    return job;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("in time")
    }

    async fn until_over(&self, id: &JobId) -> Job {
        self.until(id, |job| job.state.is_over()).await
    }
}

fn request(template: &str) -> JobSubmission {
    let text = format!(r#"{{"kind":"build","template":"{template}","working_directory":"/"}}"#);
    serde_json::from_str(&text).unwrap()
}

fn submission(template: &str) -> Submission {
    Submission { request: request(template), key: None, digest: "d".to_owned() }
}
