//! The WinRM backend of [`Communicator`].

use std::path::Path;
use std::sync::Arc;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::config::WinRmConfig;
use super::connect::establish;
use super::endpoint::{Endpoint, new_id};
use super::error::Attempt;
use super::execute;
use super::link::Link;
use super::shell::Shell;
use super::soap::request::{Input, Request};
use super::transfer::{Upload, download, failed, upload};
use crate::communicator::{BoxFuture, CommandOutput, CommandStreams, Communicator, Exit, Transfer, TransferProgress};
use crate::connect_error::ConnectError;
use crate::error::CommunicatorError;
use crate::observer::ConnectObserver;

/// The largest request of a guest that does not say what it takes: that of Windows 7 and Server 2008 R2.
const SMALLEST_ENVELOPE: usize = 150 << 10;

/// The largest request that is made whatever the guest takes.
const LARGEST_ENVELOPE: usize = 1 << 20;

/// How long the guest may take to say what it takes.
const CONFIGURATION_PATIENCE: std::time::Duration = std::time::Duration::from_secs(20);

/// Connects, trying again until the guest runs commands, time is up or trying is pointless.
///
/// Rejected logins are tried again, for a guest may still be setting up its users. Dropping the future leaves nothing behind.
///
/// # Errors
///
/// Settings that cannot work fail at once, as does a certificate that is not trusted; everything else when `timeout` is used up.
pub async fn connect(
    config: &WinRmConfig,
    observer: Arc<dyn ConnectObserver>,
) -> Result<WinRmCommunicator, ConnectError> {
    let started = Instant::now();
    let untried = |attempt: Attempt| attempt.into_error(config.address(), 0, started.elapsed());
    let endpoint = Arc::new(Endpoint::prepare(config).await.map_err(untried)?);
    let mark = format!("kiln-{}", &new_id().map_err(untried)?[..8]).into();
    establish(&endpoint, &*observer, config.timeout.map(|limit| started + limit)).await?;
    Ok(WinRmCommunicator { link: Arc::new(Link::new(endpoint, observer)), until: None, envelope: Arc::default(), mark })
}

/// A guest reached by WinRM.
#[derive(Clone)]
pub struct WinRmCommunicator {
    link: Arc<Link>,
    /// How long a lost guest is waited for, where it is not as the settings say.
    until: Option<Instant>,
    /// The largest request that the guest takes, once it was asked.
    envelope: Arc<OnceCell<usize>>,
    /// Ends the names of files that are not whole yet.
    mark: Arc<str>,
}

impl std::fmt::Debug for WinRmCommunicator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WinRmCommunicator").field("address", &self.link.address()).finish_non_exhaustive()
    }
}

impl WinRmCommunicator {
    async fn start(&self, command: &str, input: Input) -> Result<Shell, CommunicatorError> {
        let mut shell = self.link.open_shell(self.until).await?;
        match shell.start(command, input).await {
            Ok(()) => Ok(shell),
            Err(attempt) => {
                let host = self.link.address();
                self.link.note(Err(match attempt.fault().filter(|fault| !fault.is_loss()) {
                    Some(fault) => CommunicatorError::Refused {
                        host,
                        operation: "the command".to_owned(),
                        reason: fault.to_string(),
                    },
                    None => failed(&host, "the start of a command", attempt),
                }))
            }
        }
    }

    fn ended(&self, exit: Result<Exit, Attempt>) -> Result<Exit, CommunicatorError> {
        if matches!(exit, Ok(Exit::Disconnected)) {
            self.link.lost();
        }
        self.link.note(exit.map_err(|attempt| failed(&self.link.address(), "the command", attempt)))
    }

    async fn upload(
        &self,
        what: Upload<'_>,
        destination: &str,
        progress: &dyn TransferProgress,
    ) -> Result<(), CommunicatorError> {
        if destination.is_empty() || destination.contains('\0') {
            return Err(CommunicatorError::InvalidDestination { destination: destination.to_owned() });
        }
        let shell = self.link.open_shell(self.until).await?;
        let envelope = self.envelope().await;
        self.link.note(upload(shell, &self.link.address(), what, destination, envelope, &self.mark, progress).await)
    }

    async fn download(
        &self,
        source: &str,
        destination: &Path,
        is_file: bool,
        progress: &dyn TransferProgress,
    ) -> Result<(), CommunicatorError> {
        let shell = self.link.open_shell(self.until).await?;
        self.link.note(download(shell, &self.link.address(), source, destination, is_file, progress).await)
    }

    /// The largest request that the guest takes.
    async fn envelope(&self) -> usize {
        let asking = || async {
            let asked = self.link.endpoint().ask(&Request::Configuration, CONFIGURATION_PATIENCE).await;
            let root = asked.inspect_err(|attempt| tracing::debug!(stage = %attempt.stage, "no configuration")).ok();
            let said = root.as_ref().and_then(|root| root.find("MaxEnvelopeSizekb"));
            let kilobytes = said.and_then(|said| said.trimmed().parse::<usize>().ok());
            kilobytes.map_or(SMALLEST_ENVELOPE, |kilobytes| {
                kilobytes.saturating_mul(1 << 10).clamp(32 << 10, LARGEST_ENVELOPE)
            })
        };
        *self.envelope.get_or_init(asking).await
    }
}

impl Communicator for WinRmCommunicator {
    fn execute<'a>(
        &'a self,
        command: &'a str,
        output: &'a dyn CommandOutput,
    ) -> BoxFuture<'a, Result<Exit, CommunicatorError>> {
        Box::pin(async move {
            let shell = self.start(command, Input::Console).await?;
            self.ended(execute::run(&shell, &self.link, output).await)
        })
    }

    fn converse<'a>(
        &'a self,
        command: &'a str,
        streams: CommandStreams<'a>,
    ) -> BoxFuture<'a, Result<Exit, CommunicatorError>> {
        Box::pin(async move {
            let shell = self.start(command, Input::Pipe).await?;
            self.ended(execute::converse(&shell, &self.link, streams).await)
        })
    }

    fn transfer<'a>(
        &'a self,
        transfer: Transfer<'a>,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(async move {
            match transfer {
                // Windows knows no such modes.
                Transfer::UploadFile { source, destination, mode: _ } => {
                    let destination = file_destination(source, destination)?;
                    self.upload(Upload::File(source), &destination, progress).await
                }
                Transfer::UploadBytes { content, destination, mode: _ } => {
                    self.upload(Upload::Bytes(content), destination, progress).await
                }
                Transfer::UploadDirectory { source, destination } => {
                    self.upload(Upload::Directory(source), destination, progress).await
                }
                Transfer::DownloadFile { source, destination } => {
                    self.download(source, destination, true, progress).await
                }
                Transfer::DownloadDirectory { source, destination } => {
                    self.download(source, destination, false, progress).await
                }
            }
        })
    }

    fn until(&self, deadline: std::time::Instant) -> Arc<dyn Communicator> {
        Arc::new(Self { until: Some(deadline.into()), ..self.clone() })
    }

    fn disconnected(&self) -> BoxFuture<'_, ()> {
        Box::pin(Arc::clone(&self.link).gone())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.link.close())
    }
}

/// The destination of a file: one that ends in a slash gets the name of the source.
fn file_destination(source: &Path, destination: &str) -> Result<String, CommunicatorError> {
    if !destination.ends_with(['/', '\\']) {
        return Ok(destination.to_owned());
    }
    match source.file_name().and_then(|name| name.to_str()) {
        Some(name) => Ok(format!("{destination}{name}")),
        None => Err(CommunicatorError::InvalidDestination { destination: destination.to_owned() }),
    }
}
