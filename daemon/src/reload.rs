//! Reads the configuration anew at each hangup, and says what came of it: in the log, to the service manager, and from then on in the line of
//! status, until the next time.

use kiln_systemd::{Manager, State};
use tokio::signal::unix::Signal;
use tokio::sync::watch;

use crate::config::Config;
use crate::config_changes::waiting_for_restart;
use crate::failure::Failure;

/// What the last reload has come to.
#[derive(Clone, Debug)]
pub struct Reloaded {
    /// What is in force, as far as it can change while jobs run.
    pub config: Config,
    /// What people should know of it, where it has not done all that they may expect.
    pub note: Option<String>,
}

impl Reloaded {
    /// What a daemon begins with.
    #[must_use]
    pub fn at_start(config: Config) -> Self {
        Self { config, note: None }
    }
}

/// Reads at each hangup. What is wrong then changes nothing, and what can change with a start only is named.
pub(crate) async fn on_hangup(
    mut hangups: Signal,
    started: Config,
    read: impl Fn() -> Result<Config, Failure> + Clone + Send + 'static,
    reloaded: watch::Sender<Reloaded>,
) {
    let manager = started.manager;
    while hangups.recv().await.is_some() {
        tell(manager, &[State::Reloading]);
        let read = tokio::task::spawn_blocking(read.clone()).await;
        let mut now = reloaded.borrow().clone();
        now.note = match read {
            Ok(Ok(config)) => {
                let later = waiting_for_restart(&started, &config).join(", ");
                tracing::info!(
                    max_jobs = config.max_running_jobs,
                    after_a_restart = later,
                    "the configuration was read anew"
                );
                now.config = config;
                (!later.is_empty()).then(|| format!("a restart is needed for {later}"))
            }
            Ok(Err(failure)) => {
                tracing::error!(error = failure.error, "the configuration stays as it was");
                Some(format!("configuration not read, the older one is in force: {}", failure.error))
            }
            Err(error) => {
                tracing::error!(%error, "the configuration cannot be read");
                Some("configuration not read, the older one is in force: kilnd's log says why".to_owned())
            }
        };
        let note = now.note.clone();
        // Nobody listens any more when the daemon stops.
        let _ = reloaded.send(now);
        // In the same message, so that who waits for the end of the reload sees it at once.
        match &note {
            Some(note) => tell(manager, &[State::Ready, State::Status(note)]),
            None => tell(manager, &[State::Ready]),
        }
    }
}

/// Tells the service manager, if there is one.
pub(crate) fn tell(manager: Option<Manager>, states: &[State<'_>]) {
    if let Some(Err(error)) = manager.map(|manager| manager.tell(states)) {
        tracing::warn!(%error, "the service manager does not hear");
    }
}
