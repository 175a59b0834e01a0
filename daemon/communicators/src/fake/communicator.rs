//! What a communicator can do, on the fake guest.

use std::sync::Arc;
use std::time::Instant;

use tokio::io::AsyncWriteExt as _;

use super::files::local;
use super::guest::{FakeCommunicator, HOST};
use super::script::{Answer, Call};
use crate::communicator::{BoxFuture, CommandOutput, CommandStreams, Communicator, Exit, Transfer, TransferProgress};
use crate::error::CommunicatorError;

impl Communicator for FakeCommunicator {
    fn execute<'a>(
        &'a self,
        command: &'a str,
        output: &'a dyn CommandOutput,
    ) -> BoxFuture<'a, Result<Exit, CommunicatorError>> {
        Box::pin(async move {
            self.begin(Call::Execute(command.to_owned())).await?;
            match self.answer(command) {
                Answer::Exit { stdout, stderr, exit } => {
                    output.stdout(&stdout);
                    output.stderr(&stderr);
                    Ok(exit)
                }
                // Its input is empty.
                Answer::Echo => Ok(Exit::Code(0)),
                other => self.end_with(other).await,
            }
        })
    }

    fn converse<'a>(
        &'a self,
        command: &'a str,
        mut streams: CommandStreams<'a>,
    ) -> BoxFuture<'a, Result<Exit, CommunicatorError>> {
        Box::pin(async move {
            self.begin(Call::Execute(command.to_owned())).await?;
            match self.answer(command) {
                Answer::Exit { stdout, stderr, exit } => {
                    let told = streams.output.write_all(&stdout).await.is_ok();
                    let told = told && streams.errors.write_all(&stderr).await.is_ok();
                    Ok(if told { exit } else { Exit::Disconnected })
                }
                Answer::Echo => {
                    let copied = tokio::io::copy(&mut streams.input, &mut streams.output).await;
                    Ok(copied.map_or(Exit::Disconnected, |_| Exit::Code(0)))
                }
                other => self.end_with(other).await,
            }
        })
    }

    fn transfer<'a>(
        &'a self,
        transfer: Transfer<'a>,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(async move {
            match transfer {
                Transfer::UploadFile { source, destination, mode } => {
                    let content = std::fs::read(source).map_err(local("read", source))?;
                    let name = source.file_name().unwrap_or_default().to_string_lossy();
                    let named = match destination.ends_with('/') {
                        true => format!("{destination}{name}"),
                        false => destination.to_owned(),
                    };
                    self.upload(content, &named, mode, progress).await
                }
                Transfer::UploadBytes { content, destination, mode } => {
                    self.upload(content.to_vec(), destination, Some(mode), progress).await
                }
                Transfer::UploadDirectory { source, destination } => {
                    self.upload_tree(source, destination, progress).await
                }
                Transfer::DownloadFile { source, destination } => self.download(source, destination, progress).await,
                Transfer::DownloadDirectory { source, destination } => {
                    self.download_tree(source, destination, progress).await
                }
            }
        })
    }

    fn until(&self, deadline: Instant) -> Arc<dyn Communicator> {
        Arc::new(Self { until: Some(deadline), ..self.clone() })
    }

    fn disconnected(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.lost())
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move { self.end() })
    }
}

impl FakeCommunicator {
    /// Ends a command that says nothing.
    async fn end_with(&self, answer: Answer) -> Result<Exit, CommunicatorError> {
        match answer {
            Answer::Exit { exit, .. } => Ok(exit),
            Answer::Echo => Ok(Exit::Code(0)),
            Answer::LastWord(code) => {
                self.disconnect();
                Ok(Exit::Code(code))
            }
            Answer::Hang => {
                self.lost().await;
                Ok(Exit::Disconnected)
            }
            Answer::Disconnect => {
                self.disconnect();
                Ok(Exit::Disconnected)
            }
            Answer::GoAway => {
                self.state().gone = true;
                self.disconnect();
                Ok(Exit::Disconnected)
            }
            Answer::Refuse => Err(CommunicatorError::Refused {
                host: HOST.to_owned(),
                operation: "a session".into(),
                reason: "scripted".into(),
            }),
        }
    }
}
