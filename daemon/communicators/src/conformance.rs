//! The promises of [`Communicator`] and [`Connector`] as one suite, which every backend's tests call. Panics with the promise that was
//! broken.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::communicator::{CommandStreams, Communicator, Exit, NoProgress, TransferProgress};
use crate::config::ConnectConfig;
use crate::connector::Connector;
use crate::error::CommunicatorError;
use crate::observer::SilentObserver;
use crate::output::{CollectedOutput, DiscardedOutput};

/// A command that writes `out` and `err`, a line on each stream, and ends with status 3.
pub const BOTH_STREAMS: &str = "echo out; echo err >&2; exit 3";

/// A command that writes back what it reads.
pub const ECHO: &str = "exec cat";

/// A command that does not end by itself.
pub const ENDLESS: &str = "exec sleep 1000";

/// Longest wait for anything, generous because test machines are slow and shared.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long something that should not happen is waited for.
const NEVER: Duration = Duration::from_millis(200);

/// More than one packet of any protocol, and no whole number of them.
const LARGE: usize = 300_001;

/// A guest to try a communicator on.
pub struct Guest<'a> {
    /// Makes the connections.
    pub connector: &'a dyn Connector,
    /// How it is connected to.
    pub config: &'a ConnectConfig,
    /// A directory in the guest, without a slash behind it: there and empty.
    pub directory: &'a str,
    /// A directory here: there and empty.
    pub local: &'a Path,
    /// Whether it runs commands at the same time without the end of one disturbing the start of another. Not so on dropbear, up to
    /// 2022.83 at least: when a command ends, it closes a session that has none yet. To let calls take turns from opening a session to its
    /// command would not help, for it is the end of what runs already that disturbs, and whether a command was begun cannot be told, so it is
    /// not started again. Builds run one command after the other.
    pub overlapping_commands: bool,
}

/// Counts what a transfer tells.
#[derive(Default)]
struct Counted {
    files: AtomicU64,
    announced: AtomicU64,
    moved: AtomicU64,
}

impl TransferProgress for Counted {
    fn file_started(&self, _name: &str, bytes: u64) {
        self.files.fetch_add(1, Ordering::Relaxed);
        self.announced.fetch_add(bytes, Ordering::Relaxed);
    }

    fn advanced(&self, bytes: u64) {
        self.moved.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Counted {
    fn assert(&self, files: u64, bytes: u64) {
        let told = [&self.files, &self.announced, &self.moved].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(told, [files, bytes, bytes], "a transfer tells its files, their length and what has moved");
    }
}

/// Runs the suite on a communicator that works in a guest.
pub async fn check(guest: &Guest<'_>) {
    let communicator = connect(guest).await;
    commands_tell_output_and_status(guest, &*communicator).await;
    a_conversation_goes_both_ways(&*communicator).await;
    a_dropped_command_leaves_the_connection_usable(&*communicator).await;
    files_come_back_as_they_went(guest, &*communicator).await;
    missing_files_are_told(guest, &*communicator).await;
    directories_land_where_they_should(guest, &*communicator).await;
    closing_is_final(guest, &*communicator).await;
}

/// Runs the suite on a communicator that refuses everything because there is none.
pub async fn check_absent(connector: &dyn Connector, config: &ConnectConfig, local: &Path) {
    let made = within("connect", connector.connect(config, Arc::new(SilentObserver))).await;
    let communicator = made.expect("where nobody is spoken to, nothing can fail");
    let here = local.join("here");
    let refusals = [
        within("execute", communicator.execute("true", &DiscardedOutput)).await.map(drop),
        within("execute", communicator.until(Instant::now()).execute("true", &DiscardedOutput)).await.map(drop),
        within("upload", communicator.upload_file(&here, "/x", None, &NoProgress)).await,
        within("upload", communicator.upload_bytes(b"x", "/x", 0o600)).await,
        within("upload", communicator.upload_directory(local, "/x", &NoProgress)).await,
        within("download", communicator.download_file("/x", &here, &NoProgress)).await,
        within("download", communicator.download_directory("/x", local, &NoProgress)).await,
    ];
    for refusal in refusals {
        let error = refusal.expect_err("nothing can be done without a communicator");
        assert!(matches!(error, CommunicatorError::NoCommunicator { .. }), "{error}");
        assert!(!error.is_transport() && error.hint().is_some(), "trying again is no use: {error}");
    }
    assert!(std::fs::read_dir(local).expect("a directory").next().is_none(), "a refused download leaves nothing");
    within("disconnected", communicator.disconnected()).await;
    within("close", communicator.close()).await;
    within("close", communicator.close()).await;
}

async fn connect(guest: &Guest<'_>) -> Arc<dyn Communicator> {
    let connecting = guest.connector.connect(guest.config, Arc::new(SilentObserver));
    match within("connect", connecting).await {
        Ok(communicator) => communicator,
        Err(error) => panic!("the suite needs a guest that lets us in: {error}: {:?}", error.source),
    }
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, future).await {
        Ok(value) => value,
        Err(_) => panic!("{what} did not come to an end within {} s", PATIENCE.as_secs()),
    }
}

async fn a_conversation_goes_both_ways(communicator: &dyn Communicator) {
    let said: Vec<u8> = (0..LARGE).map(|at| (at % 251) as u8).collect();
    let (mut heard, mut wrong) = (Vec::new(), Vec::new());
    let streams =
        CommandStreams { input: Box::pin(&said[..]), output: Box::pin(&mut heard), errors: Box::pin(&mut wrong) };
    let exit = within("converse", communicator.converse(ECHO, streams)).await;
    assert_eq!(exit.expect("a conversation"), Exit::Code(0), "a command whose input ends comes to its end");
    assert!(heard == said && wrong.is_empty(), "what goes to a command comes back: {} bytes did", heard.len());
}

async fn both_streams(communicator: &dyn Communicator) {
    let output = CollectedOutput::new(1000);
    let exit = within("execute", communicator.execute(BOTH_STREAMS, &output)).await;
    let exit = exit.expect("a command that fails is no failure of the communicator");
    assert_eq!(exit, Exit::Code(3), "a command's status is told");
    let told = (output.stdout_text(), output.stderr_text());
    assert_eq!((told.0.as_str(), told.1.as_str()), ("out\n", "err\n"), "each stream is told as it is");
}

async fn commands_tell_output_and_status(guest: &Guest<'_>, communicator: &dyn Communicator) {
    both_streams(communicator).await;
    // Calls may overlap.
    if guest.overlapping_commands {
        tokio::join!(both_streams(communicator), both_streams(communicator));
    }
    // A connection that is there is used whatever the time is.
    both_streams(&*communicator.until(Instant::now())).await;
}

async fn a_dropped_command_leaves_the_connection_usable(communicator: &dyn Communicator) {
    let early = tokio::time::timeout(NEVER, communicator.execute(ENDLESS, &DiscardedOutput)).await;
    assert!(early.is_err(), "a command that runs has not ended: {early:?}");
    both_streams(communicator).await;
    let early = tokio::time::timeout(NEVER, communicator.disconnected()).await;
    assert!(early.is_err(), "a connection that is there is not lost");
}

async fn files_come_back_as_they_went(guest: &Guest<'_>, communicator: &dyn Communicator) {
    let content: Vec<u8> = (0..LARGE).map(|index| (index % 251) as u8).collect();
    let source = guest.local.join("large file");
    std::fs::write(&source, &content).expect("the local directory can be written");
    let progress = Counted::default();
    // A destination with a slash behind it is a directory.
    let directory = format!("{}/", guest.directory);
    let uploading = communicator.upload_file(&source, &directory, Some(0o640), &progress);
    within("upload", uploading).await.expect("a file is uploaded");
    progress.assert(1, LARGE as u64);
    let small = format!("{}/small", guest.directory);
    within("upload", communicator.upload_bytes(b"small", &small, 0o600)).await.expect("bytes are uploaded");
    for (path, expected) in [(format!("{}/large file", guest.directory), &content[..]), (small, b"small")] {
        let (back, progress) = (guest.local.join("back"), Counted::default());
        let downloading = communicator.download_file(&path, &back, &progress);
        within("download", downloading).await.expect("what was uploaded can be downloaded");
        progress.assert(1, expected.len() as u64);
        assert!(std::fs::read(&back).expect("the file is there") == expected, "{path} has come back changed");
        std::fs::remove_file(&back).expect("the file is there");
    }
    std::fs::remove_file(&source).expect("the file is there");
}

async fn missing_files_are_told(guest: &Guest<'_>, communicator: &dyn Communicator) {
    let here = guest.local.join("missing");
    let there = format!("{}/missing", guest.directory);
    let downloaded = within("download", communicator.download_file(&there, &here, &NoProgress)).await;
    let error = downloaded.expect_err("what is not there cannot be downloaded");
    assert!(matches!(error, CommunicatorError::Remote { .. }) && !error.is_transport(), "{error}");
    assert!(!here.exists(), "a failed download leaves nothing");
    let uploaded = within("upload", communicator.upload_file(&here, &there, None, &NoProgress)).await;
    let error = uploaded.expect_err("what is not here cannot be uploaded");
    assert!(matches!(&error, CommunicatorError::Local { path, .. } if *path == here), "{error}");
    both_streams(communicator).await;
}

async fn directories_land_where_they_should(guest: &Guest<'_>, communicator: &dyn Communicator) {
    let tree = guest.local.join("tree");
    std::fs::create_dir_all(tree.join("sub")).expect("the local directory can be written");
    for (name, content) in [("a", "A"), ("sub/b", "B")] {
        std::fs::write(tree.join(name), content).expect("the local directory can be written");
    }
    let (beside, merged) = (format!("{}/beside", guest.directory), format!("{}/merged", guest.directory));
    // The directory becomes a destination that is missing, and goes into one that is there; its contents do the latter always.
    for (source, destination) in
        [(&tree, &beside), (&tree, &beside), (&tree.join(""), &merged), (&tree.join(""), &merged)]
    {
        let progress = Counted::default();
        let uploading = communicator.upload_directory(source, destination, &progress);
        within("upload", uploading).await.expect("a directory is uploaded");
        progress.assert(2, 2);
    }
    for (what, target, files) in [
        (beside.clone(), "beside", 4),
        (format!("{beside}/tree"), "tree", 2),
        (merged.clone(), "merged", 2),
        (format!("{merged}/*"), ".", 2),
    ] {
        let (back, progress) = (guest.local.join("back"), Counted::default());
        let downloading = communicator.download_directory(&what, &back, &progress);
        within("download", downloading).await.expect("what was uploaded can be downloaded");
        progress.assert(files, files);
        for (name, content) in [("a", "A"), ("sub/b", "B")] {
            let read = std::fs::read_to_string(back.join(target).join(name));
            assert_eq!(read.ok().as_deref(), Some(content), "{name} of {what}");
        }
        std::fs::remove_dir_all(&back).expect("the directory is there");
    }
    std::fs::remove_dir_all(&tree).expect("the directory is there");
}

async fn closing_is_final(guest: &Guest<'_>, communicator: &dyn Communicator) {
    tokio::join!(within("disconnected", communicator.disconnected()), within("close", communicator.close()));
    within("close", communicator.close()).await;
    within("disconnected", communicator.disconnected()).await;
    let late = within("execute", communicator.execute(BOTH_STREAMS, &DiscardedOutput)).await;
    assert!(matches!(late, Err(CommunicatorError::Closed { .. })), "a closed communicator stays closed: {late:?}");
    let another = connect(guest).await;
    both_streams(&*another).await;
    another.close().await;
}
