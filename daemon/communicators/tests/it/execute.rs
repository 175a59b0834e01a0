//! Commands: output, status, terminal, environment, cancelling, lost connections.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use kiln_communicators::{
    CollectedOutput, CommandOutput, CommandStreams, Communicator, ConnectEvent, DiscardedOutput, Exit,
};

use crate::servers::{Events, Server, connect, descendants, run, server_or_return, user};

async fn basics(server: &Server) {
    let guest = server.connect().await;
    let (exit, stdout, stderr) = run(&guest, "echo out; echo err >&2; exit 3").await;
    assert_eq!((exit, stdout.as_str(), stderr.as_str()), (Exit::Code(3), "out\n", "err\n"));

    let (exit, _, _) = run(&guest, "kill -TERM $$").await;
    assert_eq!(exit, Exit::Signal("TERM".into()), "{}", server.log());

    // A command that reads its input finds none, and ends.
    let (exit, stdout, _) = run(&guest, "cat; echo done").await;
    assert_eq!((exit, stdout.as_str()), (Exit::Code(0), "done\n"));

    let output = CollectedOutput::new(64 << 20);
    let exit = guest.execute("head -c 20000000 /dev/zero | tr '\\0' x; echo e >&2", &output).await.unwrap();
    assert!(exit.is_success());
    assert_eq!(output.stdout_bytes().len(), 20_000_000);
    assert_eq!(output.stderr_text(), "e\n");

    for number in 0..20 {
        let (exit, stdout, _) = run(&guest, &format!("echo {number}")).await;
        assert_eq!((exit, stdout), (Exit::Code(0), format!("{number}\n")));
    }
    guest.close().await;
    guest.disconnected().await;
    assert!(guest.execute("true", &DiscardedOutput).await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_run_on_openssh() {
    basics(&server_or_return!(Server::openssh(), "sshd")).await;
}

/// What a command has started goes on talking, for ever: nobody waits for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_on_talking_after_its_command_is_listened_to_for_a_while() {
    const LEFT: &str = "while echo talks; do sleep 0.1; done & echo done; exit 3";
    let limit = Duration::from_mins(3);
    // Dropbear closes with the command's end, whatever goes on: it is not to be waited for either, and may have passed on nothing more.
    for (server, goes_on) in [(Server::openssh(), "talks\n"), (Server::dropbear(), "\n")] {
        let server = server_or_return!(server, "sshd, dropbear, dropbearconvert and cc");
        let mut config = server.config();
        // Shorter than a silence that would end it, too.
        config.talking = Duration::from_secs(2);
        let guest = connect(&config).await;
        let (exit, output, _) = tokio::time::timeout(limit, run(&guest, LEFT)).await.expect("execute ends");
        assert!(exit == Exit::Code(3) && output.contains("done\n") && output.ends_with(goes_on), "{exit:?} {output:?}");
        let (mut output, mut errors) = (Vec::new(), Vec::new());
        let streams = CommandStreams {
            input: Box::pin(tokio::io::empty()),
            output: Box::pin(&mut output),
            errors: Box::pin(&mut errors),
        };
        let exit = tokio::time::timeout(limit, guest.converse(LEFT, streams)).await.expect("converse ends");
        assert!(exit.unwrap() == Exit::Code(3) && output.ends_with(goes_on.as_bytes()), "{output:?}");
    }
}

/// Not on dropbear: up to 2022.83 at least, when a command ends it closes every other session of the connection that has
/// no command yet (`check_close` counts a session without a process as one whose process has ended). A build runs one
/// command after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_at_the_same_time_do_not_disturb_each_other() {
    let server = server_or_return!(Server::openssh(), "sshd");
    let guest = server.connect().await;
    let (a, b, c) = tokio::join!(run(&guest, "echo a"), run(&guest, "sleep 0.2; echo b"), run(&guest, "echo c"));
    assert_eq!((a.1.as_str(), b.1.as_str(), c.1.as_str()), ("a\n", "b\n", "c\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_run_on_dropbear() {
    basics(&server_or_return!(Server::dropbear(), "dropbear, dropbearconvert and cc")).await;
}

#[tokio::test]
async fn a_terminal_is_packers_and_does_not_echo() {
    let server = server_or_return!(Server::openssh(), "sshd");
    let mut config = server.config();
    config.pty = true;
    let guest = connect(&config).await;
    let (exit, stdout, _) = run(&guest, "stty size; stty -a | grep -o -- '-echo '; echo $TERM").await;
    assert_eq!((exit, stdout.as_str()), (Exit::Code(0), "40 80\r\n-echo \r\nxterm\r\n"));
}

#[tokio::test]
async fn environment_is_offered() {
    let server = server_or_return!(Server::openssh(), "sshd");
    let mut config = server.config();
    config.environment = vec![("KILN_TEST".into(), "a b".into()), ("REFUSED".into(), "x".into())];
    let guest = connect(&config).await;
    assert_eq!(run(&guest, "echo \"$KILN_TEST,$REFUSED\"").await.1, "a b,\n");
}

#[tokio::test]
async fn something_left_running_does_not_hold_the_command() {
    let server = server_or_return!(Server::openssh(), "sshd");
    let guest = server.connect().await;
    let started = Instant::now();
    let (exit, stdout, _) = run(&guest, "sleep 30 & echo started").await;
    assert_eq!((exit, stdout.as_str()), (Exit::Code(0), "started\n"));
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

/// As in Packer, a command that says nothing for so long is lost too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_takes_too_long_ends_the_connection_where_that_is_wanted() {
    let server = server_or_return!(Server::openssh(), "sshd");
    let mut config = server.config();
    (config.keep_alive_interval, config.read_write_timeout) = (None, Some(Duration::from_secs(10)));
    let guest = connect(&config).await;
    let silent = run(&guest, "exec sleep 600");
    let (exit, _, _) = tokio::time::timeout(Duration::from_mins(2), silent).await.expect("the read is given up");
    assert_eq!(exit, Exit::Disconnected);
}

/// Waits for a file with a line in it, and tells the line.
async fn written(file: &Path) -> String {
    let started = Instant::now();
    loop {
        if let Ok(text) = fs::read_to_string(file)
            && let Some(line) = text.strip_suffix('\n')
        {
            return line.to_owned();
        }
        assert!(started.elapsed() < Duration::from_secs(20), "nothing is written to {}", file.display());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn cancelling_ends_the_command(server: &Server, is_openssh: bool) {
    let guest = server.connect().await;
    let pid_file = server.path("pid");
    let command = format!("echo $$ > {}; exec sleep 1000", pid_file.display());
    // The command is dropped once it runs.
    let pid = tokio::select! {
        exit = guest.execute(&command, &DiscardedOutput) => panic!("the command has ended by itself: {exit:?}"),
        pid = written(&pid_file) => pid,
    };
    // The session can be used at once, and the command is gone.
    assert_eq!(run(&guest, "echo next").await.1, "next\n");
    if is_openssh && user() == "root" {
        // OpenSSH passes signals on to other users' commands only; root's ends when it next writes.
        Command::new("kill").arg(&pid).status().unwrap();
    }
    let started = Instant::now();
    while fs::exists(format!("/proc/{pid}")).unwrap() {
        assert!(started.elapsed() < Duration::from_secs(20), "the command still runs");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn cancelling_ends_the_command_on_openssh() {
    cancelling_ends_the_command(&server_or_return!(Server::openssh(), "sshd"), true).await;
}

#[tokio::test]
async fn cancelling_ends_the_command_on_dropbear() {
    let server = server_or_return!(Server::dropbear(), "dropbear, dropbearconvert and cc");
    cancelling_ends_the_command(&server, false).await;
}

#[tokio::test]
async fn a_lost_connection_ends_the_command_and_the_next_call_reconnects() {
    let server = server_or_return!(Server::openssh(), "sshd");
    let events = Events::default();
    let guest = kiln_communicators::ssh::connect(&server.config(), std::sync::Arc::new(events.clone())).await.unwrap();
    let (exit, _, _) = run(&guest, "kill -KILL $PPID; sleep 5").await;
    assert_eq!(exit, Exit::Disconnected);
    tokio::time::timeout(Duration::from_secs(20), guest.disconnected()).await.unwrap();
    assert_eq!(run(&guest, "echo again").await.1, "again\n");
    let events = events.all();
    let begun: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            ConnectEvent::Reconnecting { limit, .. } => Some(*limit),
            _ => None,
        })
        .collect();
    let [Some(limit)] = begun[..] else { panic!("{events:?}") };
    assert!((29..=30).contains(&limit.as_secs()), "{limit:?}");
    assert_eq!(events.iter().filter(|event| **event == ConnectEvent::ReconnectEnded).count(), 1, "{events:?}");
}

/// Stops the server's processes on the first output.
struct StopOnOutput(u32);

impl CommandOutput for StopOnOutput {
    fn stdout(&self, _bytes: &[u8]) {
        for pid in descendants(self.0) {
            Command::new("kill").args(["-STOP", &pid.to_string()]).status().unwrap();
        }
    }
    fn stderr(&self, _bytes: &[u8]) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_that_stands_still_is_noticed() {
    let server = server_or_return!(Server::openssh(), "sshd");
    let mut config = server.config();
    config.keep_alive_interval = Some(Duration::from_secs(1));
    config.keep_alive_count_max = 3;
    let guest = connect(&config).await;
    let started = Instant::now();
    let exit = guest.execute("echo up; sleep 100", &StopOnOutput(server.pid())).await.unwrap();
    assert_eq!(exit, Exit::Disconnected);
    // The keep-alives that are the default would take 30 s.
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}
