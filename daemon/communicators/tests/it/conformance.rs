//! The SSH communicator keeps the promises of all communicators, and fails as all do.

use std::sync::Arc;
use std::time::{Duration, Instant};

use kiln_communicators::conformance::{self, Guest};
use kiln_communicators::ssh::{SshConfig, TransferMethod};
use kiln_communicators::{
    CommunicatorError, ConnectConfig, ConnectStage, Connector as _, DiscardedOutput, GuestConnector, SilentObserver,
};

use crate::servers::{Server, free_port, server_or_return};

async fn promises(server: &Server, transfer: TransferMethod, overlapping_commands: bool) {
    let mut ssh = server.config();
    ssh.transfer = transfer;
    let config = ConnectConfig::Ssh(Box::new(ssh));
    let (local, directory) = (tempfile::tempdir().unwrap(), server.path("guest"));
    std::fs::create_dir(&directory).unwrap();
    let directory = directory.to_str().unwrap();
    let (connector, local) = (&GuestConnector, local.path());
    let guest = Guest { connector, config: &config, directory, local, overlapping_commands };
    conformance::check(&guest).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssh_by_scp() {
    promises(&server_or_return!(Server::openssh(), "sshd"), TransferMethod::Scp, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openssh_by_sftp() {
    promises(&server_or_return!(Server::openssh(), "sshd"), TransferMethod::Sftp, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropbear_by_scp() {
    let server = server_or_return!(Server::dropbear(), "dropbear, dropbearconvert and cc");
    // It closes a session that has no command yet when the command of another one ends.
    promises(&server, TransferMethod::Scp, false).await;
}

#[tokio::test]
async fn a_guest_that_cannot_be_reached_is_told_in_neutral_words() {
    let mut ssh = SshConfig::new("127.0.0.1", "someone");
    (ssh.port, ssh.password, ssh.timeout) = (free_port(), Some("x".into()), Some(Duration::from_millis(300)));
    let config = ConnectConfig::Ssh(Box::new(ssh));
    let connecting = GuestConnector.connect(&config, Arc::new(SilentObserver));
    let Err(error) = connecting.await else { panic!("nothing listens there") };
    assert_eq!(error.kind, ConnectStage::Refused);
    assert!(error.kind.is_unanswered() && error.attempts > 0 && error.elapsed >= Duration::from_millis(300));
    assert_eq!(error.address, format!("127.0.0.1:{}", config.endpoint().unwrap().1));
    assert!(error.to_string().ends_with(": the port is closed"), "{error}");
    assert!(error.hint.as_deref().unwrap().contains("ssh_port"), "{error:?}");
}

#[tokio::test]
async fn a_guest_that_stays_away_ends_the_call_with_the_reason() {
    let server = server_or_return!(Server::openssh(), "sshd");
    let mut ssh = server.config();
    ssh.timeout = Some(Duration::from_secs(10));
    let config = ConnectConfig::Ssh(Box::new(ssh));
    let connecting = GuestConnector.connect(&config, Arc::new(SilentObserver));
    let Ok(guest) = connecting.await else { panic!("the server lets us in") };
    drop(server);
    guest.disconnected().await;
    // One after the other: each waits as long as it is to.
    for (guest, least, most) in
        [(guest.until(Instant::now() + Duration::from_millis(1500)), 0.0, 5.0), (Arc::clone(&guest), 10.0, 25.0)]
    {
        let started = Instant::now();
        let error = guest.execute("true", &DiscardedOutput).await.unwrap_err();
        let took = started.elapsed().as_secs_f64();
        assert!((least..most).contains(&took), "{took} s");
        assert_stays_away(error);
    }
}

fn assert_stays_away(error: CommunicatorError) {
    assert!(error.is_transport() && error.hint().is_some(), "{error}");
    let CommunicatorError::Reconnect { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind, ConnectStage::Refused);
}
