//! A communicator without a guest, for the tests of other crates.
//!
//! Commands get scripted answers; uploads land in a map, downloads come from it. It can refuse, hang and lose its
//! connection. Commands no script matches succeed silently. Otherwise it keeps the promises of the real ones (see
//! [`conformance`](crate::conformance)).

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::{Component, Path};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::communicator::{BoxFuture, CommandOutput, Communicator, Exit, TransferProgress};
use crate::config::ConnectConfig;
use crate::connect_error::ConnectError;
use crate::connector::Connector;
use crate::error::CommunicatorError;
use crate::observer::ConnectObserver;

/// The guest's address in errors.
const HOST: &str = "fake:22";

/// Records everything it is asked to do. Clones share one state and one connection.
#[derive(Debug, Clone)]
pub struct FakeCommunicator {
    state: Arc<Mutex<State>>,
    connected: watch::Sender<bool>,
    /// Of this connection only.
    closed: Arc<AtomicBool>,
}

/// Connects to one fake guest at once, whatever the settings say.
#[derive(Debug, Clone)]
pub struct FakeConnector(pub FakeCommunicator);

impl Connector for FakeConnector {
    fn connect<'a>(
        &'a self,
        _config: &'a ConnectConfig,
        _observer: Arc<dyn ConnectObserver>,
    ) -> BoxFuture<'a, Result<Arc<dyn Communicator>, ConnectError>> {
        Box::pin(async { Ok(Arc::new(self.0.connect_again()) as Arc<dyn Communicator>) })
    }
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
    /// The same, and the guest never comes back: all that is asked of it from then on waits for it.
    GoAway,
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
    gone: bool,
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
        Self { state: Arc::default(), connected: watch::Sender::new(true), closed: Arc::default() }
    }

    /// Makes another connection to the same guest, which is open whatever became of this one.
    #[must_use]
    pub fn connect_again(&self) -> Self {
        self.connected.send_replace(true);
        Self { closed: Arc::default(), ..self.clone() }
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

    async fn begin(&self, call: Call) -> Result<(), CommunicatorError> {
        if self.state().gone {
            std::future::pending::<()>().await;
        }
        if self.closed.load(Ordering::Acquire) {
            return Err(CommunicatorError::Closed { host: HOST.to_owned() });
        }
        self.connected.send_if_modified(|connected| !std::mem::replace(connected, true));
        self.state().calls.push(call);
        Ok(())
    }

    fn transfer(&self, operation: &str) -> Result<(), CommunicatorError> {
        let mut state = self.state();
        if state.failing_transfers > 0 {
            state.failing_transfers -= 1;
            return Err(CommunicatorError::Disconnected { host: HOST.to_owned(), operation: operation.into() });
        }
        Ok(())
    }

    async fn upload(&self, content: Vec<u8>, destination: &str, mode: Option<u32>) -> Result<(), CommunicatorError> {
        self.begin(Call::Upload { destination: destination.to_owned(), content: content.clone(), mode }).await?;
        self.transfer("upload")?;
        self.state().files.insert(destination.to_owned(), content);
        Ok(())
    }

    /// Puts the files below `directory` below `destination`, with their names from there on.
    fn upload_tree(&self, directory: &Path, destination: &str) -> Result<(), CommunicatorError> {
        for entry in std::fs::read_dir(directory).map_err(local("read", directory))? {
            let path = entry.map_err(local("read", directory))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let target = format!("{}/{name}", destination.trim_end_matches('/'));
            if path.is_dir() {
                self.upload_tree(&path, &target)?;
            } else {
                let content = std::fs::read(&path).map_err(local("read", &path))?;
                self.state().files.insert(target, content);
            }
        }
        Ok(())
    }

    async fn download(&self, source: &str, destination: &Path) -> Result<(), CommunicatorError> {
        self.begin(Call::Download { source: source.to_owned(), destination: destination.display().to_string() })
            .await?;
        self.transfer("download")?;
        let content = self.file(source).ok_or_else(|| not_there(source))?;
        std::fs::write(destination, content).map_err(local("write", destination))
    }

    /// Puts the files below `source` into `destination`: with the directory's own name, unless `source` ends in `/*`.
    async fn download_tree(&self, source: &str, destination: &Path) -> Result<(), CommunicatorError> {
        self.begin(Call::Download { source: source.to_owned(), destination: destination.display().to_string() })
            .await?;
        self.transfer("download")?;
        let (directory, target) = match source.strip_suffix("/*") {
            Some(directory) => (directory, destination.to_owned()),
            None => {
                let directory = source.trim_end_matches('/');
                (directory, destination.join(directory.rsplit('/').next().unwrap_or(directory)))
            }
        };
        let below = |(path, content): (&String, &Vec<u8>)| {
            let name = path.strip_prefix(directory)?.strip_prefix('/')?;
            Some((name.to_owned(), content.clone()))
        };
        let found: Vec<(String, Vec<u8>)> = self.state().files.iter().filter_map(below).collect();
        if found.is_empty() {
            return Err(not_there(source));
        }
        for (name, content) in found {
            let path = target.join(&name);
            if Path::new(&name).components().any(|part| !matches!(part, Component::Normal(_))) {
                return Err(CommunicatorError::HostileName { name, why: "leaves the directory" });
            }
            let parent = path.parent().unwrap_or(&target);
            std::fs::create_dir_all(parent).map_err(local("create", parent))?;
            std::fs::write(&path, content).map_err(local("write", &path))?;
        }
        Ok(())
    }

    fn answer(&self, command: &str) -> Answer {
        let mut state = self.state();
        let answers = state.scripts.iter_mut().find(|(part, left)| !left.is_empty() && command.contains(part.as_str()));
        answers.and_then(|(_, left)| left.pop_front()).unwrap_or_else(|| Answer::code(0))
    }
}

fn local<'a>(action: &'static str, path: &'a Path) -> impl Fn(io::Error) -> CommunicatorError + 'a {
    move |source| CommunicatorError::Local { action, path: path.to_owned(), source }
}

fn not_there(path: &str) -> CommunicatorError {
    let message = "no such file or directory".to_owned();
    CommunicatorError::Remote { action: "send", path: path.to_owned(), message }
}

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
                Answer::Hang => {
                    self.disconnected().await;
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
            let content = std::fs::read(source).map_err(local("read", source))?;
            progress.file_started(destination, content.len() as u64);
            progress.advanced(content.len() as u64);
            let name = source.file_name().unwrap_or_default().to_string_lossy();
            let named =
                if destination.ends_with('/') { format!("{destination}{name}") } else { destination.to_owned() };
            self.upload(content, &named, mode).await
        })
    }

    fn upload_bytes<'a>(
        &'a self,
        content: &'a [u8],
        destination: &'a str,
        mode: u32,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(self.upload(content.to_vec(), destination, Some(mode)))
    }

    fn upload_directory<'a>(
        &'a self,
        source: &'a Path,
        destination: &'a str,
        _progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(async move {
            let call =
                Call::UploadDirectory { source: source.display().to_string(), destination: destination.to_owned() };
            self.begin(call).await?;
            self.transfer("upload")?;
            let target = destination.trim_end_matches('/');
            let is_there = self.state().files.keys().any(|path| path.starts_with(&format!("{target}/")));
            if source.as_os_str().as_encoded_bytes().ends_with(b"/") || !is_there {
                return self.upload_tree(source, target);
            }
            let name = source.file_name().unwrap_or_default().to_string_lossy();
            self.upload_tree(source, &format!("{target}/{name}"))
        })
    }

    fn download_file<'a>(
        &'a self,
        source: &'a str,
        destination: &'a Path,
        _progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(self.download(source, destination))
    }

    fn download_directory<'a>(
        &'a self,
        source: &'a str,
        destination: &'a Path,
        _progress: &'a dyn TransferProgress,
    ) -> BoxFuture<'a, Result<(), CommunicatorError>> {
        Box::pin(self.download_tree(source, destination))
    }

    fn disconnected(&self) -> BoxFuture<'_, ()> {
        let mut connected = self.connected.subscribe();
        Box::pin(async move {
            if self.closed.load(Ordering::Acquire) {
                return;
            }
            // An error means the sender is gone, which cannot be: self holds it.
            let _ = connected.wait_for(|connected| !connected).await;
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.state().calls.push(Call::Close);
            self.closed.store(true, Ordering::Release);
            self.disconnect();
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::communicator::NoProgress;
    use crate::conformance::{self, BOTH_STREAMS, ENDLESS, Guest};
    use crate::output::{CollectedOutput, DiscardedOutput};

    fn willing() -> FakeCommunicator {
        let guest = FakeCommunicator::new();
        let told = |code| Answer::Exit { stdout: b"out\n".to_vec(), stderr: b"err\n".to_vec(), exit: Exit::Code(code) };
        for _ in 0..6 {
            guest.on_command(BOTH_STREAMS, told(3));
        }
        guest.on_command(ENDLESS, Answer::Hang);
        guest
    }

    async fn check(connector: &dyn Connector) {
        let local = tempfile::tempdir().unwrap();
        let guest = Guest { connector, config: &ConnectConfig::None, directory: "/srv", local: local.path() };
        conformance::check(&guest).await;
    }

    #[tokio::test]
    async fn the_fake_keeps_the_promises_of_a_communicator() {
        check(&FakeConnector(willing())).await;
    }

    #[tokio::test]
    #[should_panic(expected = "a command that runs has not ended")]
    async fn a_command_that_ends_too_soon_is_found() {
        let guest = willing();
        guest.state().scripts.retain(|(part, _)| part != ENDLESS);
        check(&FakeConnector(guest)).await;
    }

    #[tokio::test]
    #[should_panic(expected = "a file is uploaded")]
    async fn a_transfer_that_fails_is_found() {
        let guest = willing();
        guest.fail_transfers(1);
        check(&FakeConnector(guest)).await;
    }

    #[tokio::test]
    #[should_panic(expected = "a command that fails is no failure of the communicator")]
    async fn a_connection_that_is_not_a_new_one_is_found() {
        struct OnlyOne(FakeCommunicator);
        impl Connector for OnlyOne {
            fn connect<'a>(
                &'a self,
                _config: &'a ConnectConfig,
                _observer: Arc<dyn ConnectObserver>,
            ) -> BoxFuture<'a, Result<Arc<dyn Communicator>, ConnectError>> {
                Box::pin(async { Ok(Arc::new(self.0.clone()) as Arc<dyn Communicator>) })
            }
        }
        check(&OnlyOne(willing())).await;
    }

    #[tokio::test]
    async fn names_that_leave_the_directory_are_not_written() {
        let guest = FakeCommunicator::new();
        guest.add_file("/srv/../evil", "x");
        let local = tempfile::tempdir().unwrap();
        let target = local.path().join("in");
        let error = guest.download_directory("/srv/*", &target, &NoProgress).await.unwrap_err();
        assert!(matches!(error, CommunicatorError::HostileName { .. }), "{error}");
        assert!(!local.path().join("evil").exists());
    }

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
        let (exit, ()) = tokio::join!(fake.execute("sleep 9", &DiscardedOutput), async {
            tokio::task::yield_now().await;
            other.disconnect();
        });
        assert_eq!(exit.unwrap(), Exit::Disconnected);
    }
}
