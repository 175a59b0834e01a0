//! The suite of promises finds what breaks them: fake communicators with one fault each.

use std::sync::Arc;
use std::time::Instant;

use super::tests::willing;
use super::{FakeCommunicator, FakeConnector};
use crate::communicator::{
    BoxFuture, CommandOutput, CommandStreams, Communicator, Exit, NoProgress, Transfer, TransferProgress,
};
use crate::config::ConnectConfig;
use crate::conformance::{self, ENDLESS, Guest};
use crate::connect_error::ConnectError;
use crate::connector::Connector;
use crate::error::CommunicatorError;
use crate::observer::ConnectObserver;
use crate::output::DiscardedOutput;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    TellsNoStatus,
    LosesOutput,
    LosesInput,
    EndsTooSoon,
    LosesTheConnection,
    FailsATransfer,
    TellsNoProgress,
    TellsNoProgressOfDownloads,
    TellsNoProgressOfDirectories,
    ChangesFiles,
    MakesUpFiles,
    LeavesAPiece,
    CallsWhatIsMissingALostConnection,
    NestsDirectories,
    WorksWhenClosed,
    IsOneConnection,
}

/// Each fault with words of the complaint.
const FAULTS: [(Fault, &str); 16] = [
    (Fault::TellsNoStatus, "a command's status is told"),
    (Fault::LosesOutput, "each stream is told as it is"),
    (Fault::LosesInput, "what goes to a command comes back"),
    (Fault::EndsTooSoon, "a command that runs has not ended"),
    (Fault::LosesTheConnection, "a connection that is there is not lost"),
    (Fault::FailsATransfer, "a file is uploaded"),
    (Fault::TellsNoProgress, "a transfer tells its files"),
    (Fault::TellsNoProgressOfDownloads, "a transfer tells its files"),
    (Fault::TellsNoProgressOfDirectories, "a transfer tells its files"),
    (Fault::ChangesFiles, "has come back changed"),
    (Fault::MakesUpFiles, "what is not there cannot be downloaded"),
    (Fault::LeavesAPiece, "a failed download leaves nothing"),
    (Fault::CallsWhatIsMissingALostConnection, "was lost during download"),
    (Fault::NestsDirectories, "a of /srv/beside"),
    (Fault::WorksWhenClosed, "a closed communicator stays closed"),
    (Fault::IsOneConnection, "a command that fails is no failure of the communicator"),
];

#[tokio::test]
async fn every_fault_is_found() {
    for (fault, words) in FAULTS {
        let guest = willing();
        match fault {
            Fault::EndsTooSoon => guest.state().scripts.retain(|(part, _)| part != ENDLESS),
            Fault::FailsATransfer => {
                guest.fail_transfers(1);
            }
            _ => {}
        }
        let checked = tokio::spawn(async move {
            let local = tempfile::tempdir().unwrap();
            let (connector, config) = (&BrokenConnector { guest, fault }, &ConnectConfig::None);
            let (directory, local) = ("/srv", local.path());
            conformance::check(&Guest { connector, config, directory, local, overlapping_commands: true }).await;
        });
        let complaint = checked.await.expect_err("the suite finds it").into_panic();
        let complaint = complaint.downcast::<String>().map_or_else(
            |other| other.downcast_ref::<&str>().map_or_else(String::new, ToString::to_string),
            |text| *text,
        );
        assert!(complaint.contains(words), "{fault:?}: {complaint}");
    }
}

struct BrokenConnector {
    guest: FakeCommunicator,
    fault: Fault,
}

impl Connector for BrokenConnector {
    fn connect<'a>(
        &'a self,
        config: &'a ConnectConfig,
        observer: Arc<dyn ConnectObserver>,
    ) -> BoxFuture<'a, Result<Arc<dyn Communicator>, ConnectError>> {
        Box::pin(async move {
            let whole: Arc<dyn Communicator> = match self.fault {
                Fault::IsOneConnection => Arc::new(self.guest.clone()),
                _ => FakeConnector(self.guest.clone()).connect(config, observer).await?,
            };
            Ok(Arc::new(Broken { whole, fault: self.fault }) as Arc<dyn Communicator>)
        })
    }
}

/// The fake communicator with a fault.
struct Broken {
    whole: Arc<dyn Communicator>,
    fault: Fault,
}

impl Broken {
    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Who hears of a transfer: nobody where that is the fault.
    fn unless<'a>(&self, fault: Fault, progress: &'a dyn TransferProgress) -> &'a dyn TransferProgress {
        if self.is(fault) { &NoProgress } else { progress }
    }
}

impl Communicator for Broken {
    fn execute<'a>(
        &'a self,
        command: &'a str,
        output: &'a dyn CommandOutput,
    ) -> BoxFuture<'a, Result<Exit, CommunicatorError>> {
        Box::pin(async move {
            let output: &dyn CommandOutput = if self.is(Fault::LosesOutput) { &DiscardedOutput } else { output };
            match self.whole.execute(command, output).await {
                Ok(Exit::Code(_)) if self.is(Fault::TellsNoStatus) => Ok(Exit::Code(0)),
                Err(CommunicatorError::Closed { .. }) if self.is(Fault::WorksWhenClosed) => Ok(Exit::Code(3)),
                told => told,
            }
        })
    }

    fn converse<'a>(
        &'a self,
        command: &'a str,
        mut streams: CommandStreams<'a>,
    ) -> BoxFuture<'a, Result<Exit, CommunicatorError>> {
        if self.is(Fault::LosesInput) {
            streams.input = Box::pin(tokio::io::empty());
        }
        self.whole.converse(command, streams)
    }

    fn transfer<'a>(
        &'a self,
        transfer: Transfer<'a>,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(async move {
            match transfer {
                Transfer::UploadFile { source, destination, mode } => {
                    let progress = self.unless(Fault::TellsNoProgress, progress);
                    self.whole.upload_file(source, destination, mode, progress).await
                }
                Transfer::UploadBytes { content, destination, mode } => {
                    let mut content = content.to_vec();
                    if self.is(Fault::ChangesFiles) {
                        content.reverse();
                    }
                    self.whole.upload_bytes(&content, destination, mode).await
                }
                Transfer::UploadDirectory { source, destination } => {
                    let mut target = destination.to_owned();
                    if self.is(Fault::NestsDirectories) {
                        target.push_str("/tree");
                    }
                    self.whole.upload_directory(source, &target, progress).await
                }
                Transfer::DownloadFile { source, destination } => {
                    let progress = self.unless(Fault::TellsNoProgressOfDownloads, progress);
                    let downloaded = self.whole.download_file(source, destination, progress).await;
                    match (self.fault, downloaded) {
                        (Fault::MakesUpFiles, Err(_)) => Ok(()),
                        (Fault::LeavesAPiece, Err(error)) => {
                            std::fs::write(destination, "piece").unwrap();
                            Err(error)
                        }
                        (Fault::CallsWhatIsMissingALostConnection, Err(_)) => Err(CommunicatorError::Disconnected {
                            host: "fake:22".to_owned(),
                            operation: "download".to_owned(),
                        }),
                        (_, downloaded) => downloaded,
                    }
                }
                Transfer::DownloadDirectory { source, destination } => {
                    let progress = self.unless(Fault::TellsNoProgressOfDirectories, progress);
                    self.whole.download_directory(source, destination, progress).await
                }
            }
        })
    }

    fn until(&self, deadline: Instant) -> Arc<dyn Communicator> {
        Arc::new(Self { whole: self.whole.until(deadline), fault: self.fault })
    }

    fn disconnected(&self) -> BoxFuture<'_, ()> {
        if self.is(Fault::LosesTheConnection) { Box::pin(std::future::ready(())) } else { self.whole.disconnected() }
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.whole.close()
    }
}
