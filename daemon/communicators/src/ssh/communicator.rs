//! The SSH backend of [`Communicator`].

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::communicator::{BoxFuture, CommandOutput, Communicator, Exit, NoProgress, TransferProgress};
use crate::error::CommunicatorError;
use crate::ssh::channel::SessionChannel;
use crate::ssh::config::TransferMethod;
use crate::ssh::connect::ConnectPlan;
use crate::ssh::connection::Connection;
use crate::ssh::observer::ConnectEvent;
use crate::ssh::progress::AttemptFailure;
use crate::ssh::transfer::{Job, Transfer, TransferFailure};
use crate::ssh::{execute, scp, sftp, tunnels};

/// How long the guest may take to open a session. An emulated guest starts a process for it.
const SESSION_TIMEOUT: Duration = Duration::from_secs(30);

/// A guest reached by SSH. Dropping it closes the connection and the tunnels.
pub struct SshCommunicator {
    shared: Arc<Shared>,
    /// Local tunnels; the tasks end with the handles.
    _tunnels: Vec<AbortOnDropHandle<()>>,
}

pub(crate) struct Shared {
    plan: Arc<ConnectPlan>,
    current: Mutex<Arc<Connection>>,
    /// Held while connecting again, so that several calls make one connection.
    reconnecting: tokio::sync::Mutex<()>,
    closed: AtomicBool,
    /// The transfer method that worked, once the configured one did not.
    fallback: Mutex<Option<TransferMethod>>,
}

impl std::fmt::Debug for SshCommunicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SshCommunicator").field("address", &self.shared.address()).finish_non_exhaustive()
    }
}

impl SshCommunicator {
    pub(crate) async fn start(plan: Arc<ConnectPlan>, connection: Arc<Connection>) -> Result<Self, AttemptFailure> {
        let shared = Arc::new(Shared {
            plan,
            current: Mutex::new(connection),
            reconnecting: tokio::sync::Mutex::default(),
            closed: AtomicBool::new(false),
            fallback: Mutex::default(),
        });
        let mut listening = Vec::new();
        for tunnel in &shared.plan.config.local_tunnels {
            listening.push(tunnels::listen(tunnel.clone(), Arc::downgrade(&shared)).await?);
        }
        Ok(Self { shared, _tunnels: listening })
    }

    /// Returns the guest as `host:port`.
    #[must_use]
    pub fn address(&self) -> String {
        self.shared.address()
    }

    /// Returns the server's banner, such as `SSH-2.0-OpenSSH_9.2p1`.
    #[must_use]
    pub fn server(&self) -> String {
        self.shared.present().banner().to_owned()
    }

    /// Returns the fingerprint of the host key the guest showed last.
    #[must_use]
    pub fn host_key_fingerprint(&self) -> Option<String> {
        self.shared.plan.config.host_keys.fingerprint(&self.address())
    }

    async fn transfer(&self, transfer: Transfer<'_>, progress: &dyn TransferProgress) -> Result<(), CommunicatorError> {
        let job = Job { transfer, progress };
        let fallback = *self.shared.fallback.lock().unwrap_or_else(PoisonError::into_inner);
        let first = fallback.unwrap_or(self.shared.plan.config.transfer);
        let first_why = match self.transfer_by(first, job).await {
            Ok(()) => return Ok(()),
            Err(TransferFailure::Failed(error)) => return Err(error),
            Err(TransferFailure::Missing(why)) => why,
        };
        let second = first.other();
        match self.transfer_by(second, job).await {
            Err(TransferFailure::Missing(second_why)) => {
                let (scp, sftp) = match first {
                    TransferMethod::Scp => (first_why, second_why),
                    TransferMethod::Sftp => (second_why, first_why),
                };
                return Err(CommunicatorError::NoTransferProgram { scp, sftp });
            }
            Err(TransferFailure::Failed(error)) => return Err(error),
            Ok(()) => {}
        }
        *self.shared.fallback.lock().unwrap_or_else(PoisonError::into_inner) = Some(second);
        let note = format!("the guest has no {} ({first_why}): files go by {}", first.name(), second.name());
        self.shared.plan.observer.event(&ConnectEvent::Note(note));
        Ok(())
    }

    async fn transfer_by(&self, method: TransferMethod, job: Job<'_>) -> Result<(), TransferFailure> {
        let channel = self.shared.open_session().await?;
        match method {
            TransferMethod::Scp => scp::perform(channel, &self.shared.plan.config, job).await,
            TransferMethod::Sftp => sftp::perform(channel, job).await,
        }
    }
}

impl Shared {
    fn address(&self) -> String {
        self.plan.config.address()
    }

    fn present(&self) -> Arc<Connection> {
        Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns the connection if it lives.
    pub(crate) fn live_connection(&self) -> Option<Arc<Connection>> {
        Some(self.present()).filter(|connection| !connection.is_closed())
    }

    fn check_open(&self) -> Result<(), CommunicatorError> {
        if self.closed.load(Ordering::Acquire) {
            return Err(CommunicatorError::Closed { host: self.address() });
        }
        Ok(())
    }

    /// Returns the connection, made anew if it is lost.
    async fn connection(&self) -> Result<Arc<Connection>, CommunicatorError> {
        self.check_open()?;
        if let Some(connection) = self.live_connection() {
            return Ok(connection);
        }
        let _one_at_a_time = self.reconnecting.lock().await;
        self.check_open()?;
        if let Some(connection) = self.live_connection() {
            return Ok(connection);
        }
        self.plan.observer.event(&ConnectEvent::Reconnecting { address: self.address() });
        let deadline = Instant::now() + self.plan.config.reconnect_timeout;
        let made = self.plan.establish(Some(deadline)).await;
        let connection =
            made.map_err(|source| CommunicatorError::Reconnect { host: self.address(), source: Box::new(source) })?;
        *self.current.lock().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&connection);
        Ok(connection)
    }

    /// Opens a session; a connection that turns out to be lost is made anew once.
    async fn open_session(&self) -> Result<SessionChannel, CommunicatorError> {
        let mut last = None;
        for _ in 0..2 {
            let connection = self.connection().await?;
            match timeout(SESSION_TIMEOUT, connection.open_session()).await {
                Ok(Ok(channel)) => return Ok(SessionChannel::new(connection, channel)),
                Ok(Err(russh::Error::ChannelOpenFailure(reason))) => {
                    return Err(CommunicatorError::Refused {
                        host: self.address(),
                        operation: "a session".to_owned(),
                        reason: reason.description().to_lowercase(),
                    });
                }
                Ok(Err(_)) => {
                    connection.sever();
                    last = Some(CommunicatorError::Disconnected {
                        host: self.address(),
                        operation: "the opening of a session".to_owned(),
                    });
                }
                Err(_) => {
                    connection.sever();
                    last = Some(CommunicatorError::TimedOut {
                        host: self.address(),
                        operation: "the opening of a session".to_owned(),
                        after: SESSION_TIMEOUT,
                    });
                }
            }
        }
        Err(last.expect("the loop ran"))
    }
}

impl Communicator for SshCommunicator {
    fn execute<'a>(
        &'a self,
        command: &'a str,
        output: &'a dyn CommandOutput,
    ) -> BoxFuture<'a, Result<Exit, CommunicatorError>> {
        Box::pin(async move {
            let mut channel = self.shared.open_session().await?;
            execute::start(&mut channel, &self.shared.plan.config, command, true).await?;
            Ok(execute::run(&mut channel, output).await)
        })
    }

    fn upload_file<'a>(
        &'a self,
        source: &'a Path,
        destination: &'a str,
        mode: Option<u32>,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(self.transfer(Transfer::UploadFile { source, destination, mode }, progress))
    }

    fn upload_bytes<'a>(
        &'a self,
        content: &'a [u8],
        destination: &'a str,
        mode: u32,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(self.transfer(Transfer::UploadBytes { content, destination, mode }, &NoProgress))
    }

    fn upload_directory<'a>(
        &'a self,
        source: &'a Path,
        destination: &'a str,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(self.transfer(Transfer::UploadDirectory { source, destination }, progress))
    }

    fn download_file<'a>(
        &'a self,
        source: &'a str,
        destination: &'a Path,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(self.transfer(Transfer::DownloadFile { source, destination }, progress))
    }

    fn download_directory<'a>(
        &'a self,
        source: &'a str,
        destination: &'a Path,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(self.transfer(Transfer::DownloadDirectory { source, destination }, progress))
    }

    fn disconnected(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.shared.present().ended().await })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            if !self.shared.closed.swap(true, Ordering::AcqRel) {
                self.shared.present().close().await;
            }
        })
    }
}
