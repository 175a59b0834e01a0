//! What happens when a guest goes away, refuses, or ends a command early.

use kiln_communicators::{
    CollectedOutput, CommandStreams, Communicator as _, CommunicatorError, DiscardedOutput, Exit, NoProgress,
};

use super::launcher::PATIENCE;
use super::stand_in_or_return;

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
    let mut stand_in = stand_in_or_return!(&[]);
    let guest = stand_in.connect().await;
    // The end of the input is told a second time, and the output asked for.
    for (wrong, code) in [("drop@Receive:1", 5), ("drop@Send:1", 6), ("status-404@Receive:1", 7)] {
        stand_in.misbehave(wrong).await;
        let output = CollectedOutput::new(100);
        let exit = within(guest.execute(&format!("cat; echo late; exit {code}"), &output)).await;
        assert_eq!((exit.unwrap(), output.stdout_text().as_str()), (Exit::Code(code), "late\n"), "{wrong}");
        let name = wrong.split([':', '@']).next().unwrap();
        assert!(stand_in.said().contains(&format!("misbehaved {name}")), "{wrong}");
    }
}

/// An answer that nobody can believe ends a command as an error, not as one whose guest has gone; what is asked next is not harmed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_answers_wrongly_has_not_gone() {
    let mut stand_in = stand_in_or_return!(&[]);
    let guest = stand_in.connect().await;
    for wrong in ["bad-signature", "cut", "bad-base64", "huge", "no-status", "forged-fault"] {
        stand_in.misbehave(&format!("{wrong}@Receive")).await;
        let exit = within(guest.execute("echo x", &DiscardedOutput)).await;
        assert!(matches!(exit, Err(CommunicatorError::Protocol { .. })), "{wrong}: {exit:?}");
        stand_in.misbehave("").await;
        let output = CollectedOutput::new(100);
        assert_eq!(within(guest.execute("echo next", &output)).await.unwrap(), Exit::Code(0), "after {wrong}");
        assert_eq!(output.stdout_text(), "next\n", "after {wrong}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forged_end_of_a_login_runs_no_command_twice() {
    let mut stand_in = stand_in_or_return!(&[]);
    let guest = stand_in.connect().await;
    stand_in.misbehave("forged-401@Command:1").await;
    let exit = within(guest.execute("echo once", &DiscardedOutput)).await;
    assert!(matches!(exit, Err(CommunicatorError::Protocol { .. })), "{exit:?}");
    assert_eq!(stand_in.said().matches("command echo once").count(), 1);
    // What does no harm is asked again, over a connection that is logged in anew.
    stand_in.misbehave("forged-401@Create:1").await;
    assert_eq!(within(guest.execute("exit 4", &DiscardedOutput)).await.unwrap(), Exit::Code(4));
}

/// A part of the input of a conversation is lost: the command would wait for it for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn input_that_is_refused_or_lost_ends_a_conversation() {
    let mut stand_in = stand_in_or_return!(&[]);
    let guest = stand_in.connect().await;
    for (wrong, is_loss) in [("time-out@Send:1", false), ("drop@Send:1", true)] {
        stand_in.misbehave(wrong).await;
        let (mut heard, mut errors) = (Vec::new(), Vec::new());
        let input = Box::pin(&b"hello"[..]);
        let streams = CommandStreams { input, output: Box::pin(&mut heard), errors: Box::pin(&mut errors) };
        let error = within(guest.converse("head -c 5; cat", streams)).await.unwrap_err();
        assert_eq!(error.is_loss(), is_loss, "{wrong}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_refused_or_cut_off_ends_and_is_tried_again() {
    let mut stand_in = stand_in_or_return!(&["--max-envelope-kb", "150"]);
    let guest = stand_in.connect().await;
    let content = vec![b'x'; 300_000];
    for (wrong, is_loss) in [("time-out@Send:2", false), ("too-large@Send:2", false), ("drop@Send:2", true)] {
        stand_in.misbehave(wrong).await;
        let error = within(guest.upload_bytes(&content, "c:/up/a[1].txt", 0o644)).await.unwrap_err();
        assert_eq!(error.is_loss(), is_loss, "{wrong}: {error}");
        stand_in.until_all_is_given_back().await;
        stand_in.misbehave("").await;
        within(guest.upload_bytes(&content, "c:/up/a[1].txt", 0o644)).await.unwrap();
        let entries = std::fs::read_dir(stand_in.root.path().join("c:/up")).unwrap();
        let names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["a[1].txt"], "what was cut off leaves nothing, after {wrong}");
        assert!(std::fs::read(stand_in.root.path().join("c:/up/a[1].txt")).unwrap() == content);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shells_that_nobody_waits_for_are_given_back() {
    let mut stand_in = stand_in_or_return!(&[]);
    let guest = stand_in.connect().await;
    // A command that is given up, by a service that ends none of its commands when asked to.
    stand_in.misbehave("silent@Signal").await;
    let mut endless = guest.execute("sleep 1000", &DiscardedOutput);
    tokio::select! {
        ended = &mut endless => panic!("{ended:?}"),
        () = stand_in.until_it_said(|said| said.contains("command sleep 1000")) => {}
    }
    drop(endless);
    stand_in.until_all_is_given_back().await;
    // A shell that is given up while it is made.
    stand_in.misbehave("late@Create").await;
    let made = stand_in.said().lines().filter(|line| line.starts_with("shell ")).count();
    let mut unheard = guest.execute("true", &DiscardedOutput);
    tokio::select! {
        ended = &mut unheard => panic!("{ended:?}"),
        () = stand_in.until_it_said(|said| said.lines().filter(|line| line.starts_with("shell ")).count() > made) => {}
    }
    drop(unheard);
    stand_in.until_all_is_given_back().await;
    guest.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tree_is_downloaded_without_what_its_links_lead_to() {
    let stand_in = stand_in_or_return!(&[]);
    let guest = stand_in.connect().await;
    let tree = stand_in.root.path().join("c:/tree");
    std::fs::create_dir_all(&tree).unwrap();
    std::fs::write(tree.join("file"), "here").unwrap();
    std::os::unix::fs::symlink(&tree, tree.join("round")).unwrap();
    let local = tempfile::tempdir().unwrap();
    within(guest.download_directory("c:/tree", local.path(), &NoProgress)).await.unwrap();
    assert_eq!(std::fs::read(local.path().join("tree/file")).unwrap(), b"here");
    assert_eq!(std::fs::read_dir(local.path().join("tree")).unwrap().count(), 1);
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
    // A name that looks like a place of the script is none.
    within(guest.upload_bytes(b"x", "c:/<<NAME>>/<<MARK>>", 0o644)).await.unwrap();
    assert!(stand_in.root.path().join("c:/<<NAME>>/<<MARK>>").is_file());
}
