//! What happens when a guest goes away, refuses, or ends a command early.

use std::time::Duration;

use kiln_communicators::{
    CollectedOutput, CommandStreams, Communicator as _, CommunicatorError, DiscardedOutput, Exit, NoProgress,
};

use super::stand_in_or_return;

const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it comes to an end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_restarts_is_found_again() {
    let stand_in = stand_in_or_return!(&[]);
    let guest = stand_in.connect().await;
    let (gone, other) = (guest.clone(), guest.clone());
    let gone = tokio::spawn(async move { gone.disconnected().await });
    let endless = tokio::spawn(async move { other.execute("sleep 1000", &DiscardedOutput).await });
    let exit = within(guest.execute("shutdown /r /f /t 0", &DiscardedOutput)).await;
    assert!(matches!(exit, Ok(Exit::Code(0) | Exit::Disconnected)), "{exit:?}");
    assert_eq!(within(endless).await.unwrap().unwrap(), Exit::Disconnected);
    within(gone).await.unwrap();
    let output = CollectedOutput::new(100);
    assert_eq!(within(guest.execute("echo again", &output)).await.unwrap(), Exit::Code(0));
    assert_eq!(output.stdout_text(), "again\n");
    assert!(stand_in.said().contains("restarted"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_lost_ends_no_command() {
    // Letting us in takes half a dozen questions; what is lost is one that the command needs.
    let stand_in = stand_in_or_return!(&["--misbehave", "drop:11"]);
    let guest = stand_in.connect().await;
    let output = CollectedOutput::new(100);
    let exit = within(guest.execute("sleep 1; echo late; exit 5", &output)).await;
    match exit {
        Ok(exit) => assert_eq!((exit, output.stdout_text().as_str()), (Exit::Code(5), "late\n")),
        // The question that was lost was the one for the command.
        Err(error) => assert!(error.is_loss(), "{error}"),
    }
    assert_eq!(within(guest.execute("exit 6", &DiscardedOutput)).await.unwrap(), Exit::Code(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_output_comes_whole() {
    let stand_in = stand_in_or_return!(&[]);
    let guest = stand_in.connect().await;
    let output = CollectedOutput::new(20 << 20);
    let exit = within(guest.execute("head -c 10000000 /dev/zero | tr '\\0' x; printf '\\377\\033[31m'", &output)).await;
    assert_eq!(exit.unwrap(), Exit::Code(0));
    let bytes = output.stdout_bytes();
    assert_eq!(bytes.len(), 10_000_006);
    assert!(bytes.ends_with(b"x\xff\x1b[31m"), "bytes are passed on as they are");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_reads_nothing_ends_a_conversation() {
    let stand_in = stand_in_or_return!(&[]);
    let guest = stand_in.connect().await;
    let (mut heard, mut errors) = (Vec::new(), Vec::new());
    let input = Box::pin(tokio::io::repeat(b'x'));
    let streams = CommandStreams { input, output: Box::pin(&mut heard), errors: Box::pin(&mut errors) };
    let exit = within(guest.converse("echo done; exit 2", streams)).await;
    assert_eq!(exit.unwrap(), Exit::Code(2));
    assert_eq!(heard, b"done\n");
    // A command alone reads nothing, and ends.
    assert_eq!(within(guest.execute("cat; exit 3", &DiscardedOutput)).await.unwrap(), Exit::Code(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_guest_cannot_do_with_files_is_told() {
    let stand_in = stand_in_or_return!(&[]);
    let guest = stand_in.connect().await;
    let remote = |result: Result<(), CommunicatorError>| match result {
        Err(CommunicatorError::Remote { message, .. }) => message,
        other => panic!("{other:?}"),
    };
    let local = tempfile::tempdir().unwrap();
    let there = local.path().join("there");
    assert_eq!(remote(within(guest.upload_bytes(b"x", "c:/Windows/Temp", 0o644)).await), "it is a directory");
    assert_eq!(remote(within(guest.download_file("c:/Windows/Temp", &there, &NoProgress)).await), "it is a directory");
    assert_eq!(
        remote(within(guest.download_directory("c:/Windows/*.log", local.path(), &NoProgress)).await),
        "nothing matches"
    );
    let full = within(guest.upload_bytes(b"x", "/dev/full/x", 0o644)).await;
    assert!(!remote(full).is_empty());
    assert!(matches!(
        within(guest.upload_bytes(b"x", "", 0o644)).await,
        Err(CommunicatorError::InvalidDestination { .. })
    ));
    // Variables of the guest are expanded, as templates rely on; all else is as it is.
    within(guest.upload_bytes(b"it's", "$env:TEMP/it's $HOME.txt", 0o644)).await.unwrap();
    within(guest.download_file("%TEMP%/it's $HOME.txt", &there, &NoProgress)).await.unwrap();
    assert_eq!(std::fs::read(&there).unwrap(), b"it's");
    assert!(stand_in.root.path().join("c:/Windows/Temp/it's $HOME.txt").is_file());
}
