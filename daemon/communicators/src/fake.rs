//! A communicator without a guest, for the tests of other crates.
//!
//! Commands get scripted answers; uploads land in a map, downloads come from it. It can refuse, hang and lose its
//! connection. Commands no script matches succeed silently.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::communicator::{BoxFuture, CommandOutput, Communicator, Exit, TransferProgress};
use crate::error::CommunicatorError;

/// Records everything it is asked to do. Clones share one state.
#[derive(Debug, Clone)]
pub struct FakeCommunicator {
    state: Arc<Mutex<State>>,
    connected: watch::Sender<bool>,
}

/// What the fake does with one command.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Writes this output, then ends so.
    Exit {
        /// Bytes for standard output.
        stdout: Vec<u8>,
        /// Bytes for standard error.
        stderr: Vec<u8>,
        /// How the command ends.
        exit: Exit,
    },
    /// Never ends, until the connection is lost or the future is dropped.
    Hang,
    /// Loses the connection: the command ends with [`Exit::Disconnected`].
    Disconnect,
    /// Fails as a refused session.
    Refuse,
}

impl Answer {
    /// Ends with this status and no output.
    #[must_use]
    pub fn code(code: i32) -> Self {
        Self::Exit { stdout: Vec::new(), stderr: Vec::new(), exit: Exit::Code(code) }
    }

    /// Succeeds with this output.
    #[must_use]
    pub fn stdout(text: &str) -> Self {
        Self::Exit { stdout: text.as_bytes().to_vec(), stderr: Vec::new(), exit: Exit::Code(0) }
    }
}

/// One thing the fake was asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// `execute`.
    Execute(String),
    /// `upload_file` or `upload_bytes`.
    Upload {
        /// The path in the guest.
        destination: String,
        /// What was uploaded.
        content: Vec<u8>,
        /// The mode asked for.
        mode: Option<u32>,
    },
    /// `upload_directory`, with the source as given.
    UploadDirectory {
        /// The local directory.
        source: String,
        /// The path in the guest.
        destination: String,
    },
    /// `download_file` or `download_directory`.
    Download {
        /// The path in the guest.
        source: String,
        /// The local path.
        destination: String,
    },
    /// `close`.
    Close,
}

#[derive(Debug, Default)]
struct State {
    calls: Vec<Call>,
    scripts: Vec<(String, VecDeque<Answer>)>,
    files: BTreeMap<String, Vec<u8>>,
    failing_transfers: u32,
}

impl Default for FakeCommunicator {
    fn default() -> Self {
        Self::new()
    }
}

impl FakeCommunicator {
    /// Makes a connected fake with no scripts and no files.
    #[must_use]
    pub fn new() -> Self {
        Self { state: Arc::default(), connected: watch::Sender::new(true) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Queues an answer for the next command that contains `part`. Scripts are tried in the order they were added.
    pub fn on_command(&self, part: &str, answer: Answer) -> &Self {
        let mut state = self.state();
        match state.scripts.iter_mut().find(|(known, _)| known == part) {
            Some((_, answers)) => answers.push_back(answer),
            None => state.scripts.push((part.to_owned(), VecDeque::from([answer]))),
        }
        drop(state);
        self
    }

    /// Puts a file into the guest, to be downloaded.
    pub fn add_file(&self, path: &str, content: impl Into<Vec<u8>>) -> &Self {
        self.state().files.insert(path.to_owned(), content.into());
        self
    }

    /// Makes the next `count` transfers fail as a lost connection.
    pub fn fail_transfers(&self, count: u32) -> &Self {
        self.state().failing_transfers = count;
        self
    }

    /// Loses the connection: what hangs ends, `disconnected` resolves. The next call connects again.
    pub fn disconnect(&self) {
        self.connected.send_replace(false);
    }

    /// Returns everything asked for so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// Returns the commands asked for so far.
    #[must_use]
    pub fn commands(&self) -> Vec<String> {
        let state = self.state();
        state.calls.iter().filter_map(|call| if let Call::Execute(c) = call { Some(c.clone()) } else { None }).collect()
    }

    /// Returns what was last uploaded to `path`.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.state().files.get(path).cloned()
    }

    fn begin(&self, call: Call) {
        self.connected.send_if_modified(|connected| !std::mem::replace(connected, true));
        self.state().calls.push(call);
    }

    fn transfer(&self, operation: &str) -> Result<(), CommunicatorError> {
        let mut state = self.state();
        if state.failing_transfers > 0 {
            state.failing_transfers -= 1;
            return Err(CommunicatorError::Disconnected { host: "fake:22".into(), operation: operation.into() });
        }
        Ok(())
    }

    fn upload(&self, content: Vec<u8>, destination: &str, mode: Option<u32>) -> Result<(), CommunicatorError> {
        self.begin(Call::Upload { destination: destination.to_owned(), content: content.clone(), mode });
        self.transfer("upload")?;
        self.state().files.insert(destination.to_owned(), content);
        Ok(())
    }

    fn download(&self, source: &str, destination: &Path) -> Result<(), CommunicatorError> {
        self.begin(Call::Download { source: source.to_owned(), destination: destination.display().to_string() });
        self.transfer("download")?;
        let Some(content) = self.file(source) else {
            return Err(CommunicatorError::Remote {
                action: "send",
                path: source.to_owned(),
                message: "no such file or directory".into(),
            });
        };
        std::fs::write(destination, content).map_err(|source| CommunicatorError::Local {
            action: "write",
            path: destination.to_owned(),
            source,
        })
    }

    fn answer(&self, command: &str) -> Answer {
        let mut state = self.state();
        let answers = state.scripts.iter_mut().find(|(part, left)| !left.is_empty() && command.contains(part.as_str()));
        answers.and_then(|(_, left)| left.pop_front()).unwrap_or_else(|| Answer::code(0))
    }
}

impl Communicator for FakeCommunicator {
    fn execute<'a>(
        &'a self,
        command: &'a str,
        output: &'a dyn CommandOutput,
    ) -> BoxFuture<'a, Result<Exit, CommunicatorError>> {
        Box::pin(async move {
            self.begin(Call::Execute(command.to_owned()));
            match self.answer(command) {
                Answer::Exit { stdout, stderr, exit } => {
                    output.stdout(&stdout);
                    output.stderr(&stderr);
                    Ok(exit)
                }
                Answer::Hang => {
                    self.disconnected().await;
                    Ok(Exit::Disconnected)
                }
                Answer::Disconnect => {
                    self.disconnect();
                    Ok(Exit::Disconnected)
                }
                Answer::Refuse => Err(CommunicatorError::Refused {
                    host: "fake:22".into(),
                    operation: "a session".into(),
                    reason: "scripted".into(),
                }),
            }
        })
    }

    fn upload_file<'a>(
        &'a self,
        source: &'a Path,
        destination: &'a str,
        mode: Option<u32>,
        progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(async move {
            let content = std::fs::read(source).map_err(|error| CommunicatorError::Local {
                action: "read",
                path: source.to_owned(),
                source: error,
            })?;
            progress.file_started(destination, content.len() as u64);
            progress.advanced(content.len() as u64);
            self.upload(content, destination, mode)
        })
    }

    fn upload_bytes<'a>(
        &'a self,
        content: &'a [u8],
        destination: &'a str,
        mode: u32,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(async move { self.upload(content.to_vec(), destination, Some(mode)) })
    }

    fn upload_directory<'a>(
        &'a self,
        source: &'a Path,
        destination: &'a str,
        _progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(async move {
            let (source, destination) = (source.display().to_string(), destination.to_owned());
            self.begin(Call::UploadDirectory { source, destination });
            self.transfer("upload")
        })
    }

    fn download_file<'a>(
        &'a self,
        source: &'a str,
        destination: &'a Path,
        _progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(async move { self.download(source, destination) })
    }

    fn download_directory<'a>(
        &'a self,
        source: &'a str,
        destination: &'a Path,
        _progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(async move { self.download(source, destination) })
    }

    fn disconnected(&self) -> BoxFuture<'_, ()> {
        let mut connected = self.connected.subscribe();
        Box::pin(async move {
            // An error means the sender is gone, which cannot be: self holds it.
            let _ = connected.wait_for(|connected| !connected).await;
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.state().calls.push(Call::Close);
            self.disconnect();
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::CollectedOutput;

    #[tokio::test]
    async fn scripts_answer_in_order_and_calls_are_recorded() {
        let fake = FakeCommunicator::new();
        fake.on_command("uname", Answer::stdout("Linux\n")).on_command("uname", Answer::code(3));
        let output = CollectedOutput::new(100);
        assert_eq!(fake.execute("uname -a", &output).await.unwrap(), Exit::Code(0));
        assert_eq!(fake.execute("uname -a", &output).await.unwrap(), Exit::Code(3));
        assert_eq!(fake.execute("uname -a", &output).await.unwrap(), Exit::Code(0));
        assert_eq!(output.stdout_text(), "Linux\n");
        assert_eq!(fake.commands().len(), 3);
    }

    #[tokio::test]
    async fn a_hanging_command_ends_when_the_connection_is_lost() {
        let fake = FakeCommunicator::new();
        fake.on_command("sleep", Answer::Hang);
        let other = fake.clone();
        let (exit, ()) = tokio::join!(fake.execute("sleep 9", &crate::DiscardedOutput), async {
            tokio::task::yield_now().await;
            other.disconnect();
        });
        assert_eq!(exit.unwrap(), Exit::Disconnected);
    }
}
