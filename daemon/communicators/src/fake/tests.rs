//! The fake keeps the promises of the real ones, and follows its script.

use futures_util::FutureExt as _;

use super::*;
use crate::communicator::{Communicator as _, Exit, NoProgress};
use crate::config::ConnectConfig;
use crate::conformance::{self, BOTH_STREAMS, ECHO, ENDLESS, Guest};
use crate::error::CommunicatorError;
use crate::output::{CollectedOutput, DiscardedOutput};

/// A guest that answers the suite.
pub(super) fn willing() -> FakeCommunicator {
    let guest = FakeCommunicator::new();
    let told = |code| Answer::Exit { stdout: b"out\n".to_vec(), stderr: b"err\n".to_vec(), exit: Exit::Code(code) };
    for _ in 0..7 {
        guest.on_command(BOTH_STREAMS, told(3));
    }
    guest.on_command(ECHO, Answer::Echo);
    guest.on_command(ENDLESS, Answer::Hang);
    guest
}

#[tokio::test]
async fn the_fake_keeps_the_promises_of_a_communicator() {
    let local = tempfile::tempdir().unwrap();
    let (connector, config) = (&FakeConnector(willing()), &ConnectConfig::None);
    let (directory, local) = ("/srv", local.path());
    conformance::check(&Guest { connector, config, directory, local, overlapping_commands: true }).await;
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

#[tokio::test]
async fn a_connection_that_is_closed_takes_no_other_with_it() {
    let first = FakeCommunicator::new();
    let second = first.connect_again();
    let mut lost = second.disconnected();
    first.close().await;
    assert_eq!((&mut lost).now_or_never(), None);
    first.disconnected().await;
    second.disconnect();
    lost.await;
    assert_eq!(second.disconnected().now_or_never(), Some(()), "there is no connection until the next call");
    assert_eq!(second.execute("true", &DiscardedOutput).await.unwrap(), Exit::Code(0));
    assert_eq!(second.disconnected().now_or_never(), None);
}
