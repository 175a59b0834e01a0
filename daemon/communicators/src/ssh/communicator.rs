//! The SSH backend of [`Communicator`].

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use crate::communicator::{BoxFuture, CommandOutput, CommandStreams, Communicator, Exit, Transfer, TransferProgress};
use crate::error::CommunicatorError;
use crate::observer::{ConnectEvent, ConnectObserver};
use crate::ssh::config::{SshConfig, TransferMethod};
use crate::ssh::connect::ConnectPlan;
use crate::ssh::connection::Connection;
use crate::ssh::converse::converse;
use crate::ssh::error::{SshConnectError, Stage};
use crate::ssh::link::Link;
use crate::ssh::progress::{AttemptFailure, Progress};
use crate::ssh::transfer::{Job, TransferFailure};
use crate::ssh::{execute, scp, sftp, tunnels};

/// What to do where the guest has neither scp nor sftp.
const NO_TRANSFER_HINT: &str =
    "install an scp client or the sftp server in the guest (Debian: openssh-client, openssh-sftp-server)";

/// Connects and logs in, trying again until it works, time is up or trying is pointless.
///
/// Rejected logins are tried again, for a guest may still be setting up its users; see
/// [`SshConfig::handshake_attempts`]. Dropping the future leaves nothing behind.
///
/// # Errors
///
/// Settings that cannot work fail at once; everything else when `timeout` or `handshake_attempts` is used up.
pub async fn connect(
    config: &SshConfig,
    observer: Arc<dyn ConnectObserver>,
) -> Result<SshCommunicator, SshConnectError> {
    let progress = Progress::new(Arc::clone(&observer), config.address());
    let configured = |failure| progress.final_error(AttemptFailure::final_at(Stage::Configuration, failure));
    let plan = Arc::new(ConnectPlan::prepare(config, observer).await.map_err(configured)?);
    let deadline = plan.config.timeout.map(|limit| Instant::now() + limit);
    let connection = plan.establish(deadline, false).await?;
    SshCommunicator::start(plan, connection).await.map_err(|failure| progress.final_error(failure))
}

/// A guest reached by SSH. Dropping the last clone closes the connection and the tunnels.
#[derive(Clone)]
pub struct SshCommunicator {
    link: Arc<Link>,
    /// How long a lost connection is waited for, where it is not as the settings say.
    until: Option<Instant>,
    /// The transfer method that worked, once the configured one did not.
    fallback: Arc<Mutex<Option<TransferMethod>>>,
    /// Local tunnels; the tasks end with the handles.
    _tunnels: Arc<[AbortOnDropHandle<()>]>,
}

impl std::fmt::Debug for SshCommunicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshCommunicator").field("address", &self.link.address()).finish_non_exhaustive()
    }
}

impl SshCommunicator {
    async fn start(plan: Arc<ConnectPlan>, connection: Arc<Connection>) -> Result<Self, AttemptFailure> {
        let link = Arc::new(Link::new(plan, connection));
        let mut listening = Vec::new();
        for tunnel in &link.config().local_tunnels {
            listening.push(tunnels::listen(tunnel.clone(), Arc::downgrade(&link)).await?);
        }
        Ok(Self { link, until: None, fallback: Arc::default(), _tunnels: listening.into() })
    }

    /// Returns the guest as `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.link.address()
    }

    /// Returns the server's banner, such as `SSH-2.0-OpenSSH_9.2p1`.
    #[must_use]
    pub fn server(&self) -> String {
        self.link.present().banner().to_owned()
    }

    /// Returns the fingerprint of the host key the guest showed last.
    #[must_use]
    pub fn host_key_fingerprint(&self) -> Option<String> {
        self.link.config().host_keys.fingerprint(&self.address())
    }

    /// Moves files by the program that is configured, or by the other where the guest lacks that.
    async fn transfer_by_either(
        &self,
        transfer: Transfer<'_>,
        progress: &dyn TransferProgress,
    ) -> Result<(), CommunicatorError> {
        let job = Job { transfer, progress };
        let fallback = *self.fallback.lock().unwrap_or_else(PoisonError::into_inner);
        let first = fallback.unwrap_or(self.link.config().transfer);
        let first_why = match self.transfer_by(first, job).await {
            Ok(()) => return Ok(()),
            Err(TransferFailure::Failed(error)) => return Err(error),
            Err(TransferFailure::Missing(why)) => why,
        };
        let second = first.other();
        match self.transfer_by(second, job).await {
            Err(TransferFailure::Missing(second_why)) => {
                let mut tried = vec![(first.name(), first_why), (second.name(), second_why)];
                tried.sort_unstable();
                return Err(CommunicatorError::NoTransferProgram { tried, hint: NO_TRANSFER_HINT });
            }
            Err(TransferFailure::Failed(error)) => return Err(error),
            Ok(()) => {}
        }
        *self.fallback.lock().unwrap_or_else(PoisonError::into_inner) = Some(second);
        let note = format!("the guest has no {} ({first_why}): files go by {}", first.name(), second.name());
        self.link.tell(&ConnectEvent::Note(note));
        Ok(())
    }

    async fn transfer_by(&self, method: TransferMethod, job: Job<'_>) -> Result<(), TransferFailure> {
        let channel = self.link.open_session(self.until).await?;
        match method {
            TransferMethod::Scp => scp::perform(channel, self.link.config(), job).await,
            TransferMethod::Sftp => sftp::perform(channel, job).await,
        }
    }
}

impl Communicator for SshCommunicator {
    fn execute<'a>(
        &'a self,
        command: &'a str,
        output: &'a dyn CommandOutput,
    ) -> BoxFuture<'a, Result<Exit, CommunicatorError>> {
        Box::pin(async move {
            let mut channel = self.link.open_session(self.until).await?;
            execute::start(&mut channel, self.link.config(), command, true).await?;
            Ok(execute::run(&mut channel, output, self.link.config().talking).await)
        })
    }

    fn converse<'a>(
        &'a self,
        command: &'a str,
        streams: CommandStreams<'a>,
    ) -> BoxFuture<'a, Result<Exit, CommunicatorError>> {
        Box::pin(async move {
            let mut channel = self.link.open_session(self.until).await?;
            execute::start(&mut channel, self.link.config(), command, false).await?;
            Ok(converse(&mut channel, streams, self.link.config().talking).await)
        })
    }

    fn transfer<'a>(
        &'a self,
        transfer: Transfer<'a>,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(self.transfer_by_either(transfer, progress))
    }

    fn until(&self, deadline: std::time::Instant) -> Arc<dyn Communicator> {
        Arc::new(Self { until: Some(deadline.into()), ..self.clone() })
    }

    fn disconnected(&self) -> BoxFuture<'_, ()> {
        let present = self.link.present();
        Box::pin(async move { present.ended().await })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.link.close())
    }
}
