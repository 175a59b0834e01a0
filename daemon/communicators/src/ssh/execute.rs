//! Runs one command over a session channel.

use std::time::Duration;

use russh::Pty;
use tokio::time::{Instant, sleep_until, timeout};

use crate::communicator::{CommandOutput, Exit};
use crate::error::CommunicatorError;
use crate::ssh::channel::{Incoming, SessionChannel};
use crate::ssh::config::SshConfig;

/// How long the guest may take to start a command or refuse it.
const START_TIMEOUT: Duration = Duration::from_secs(60);

/// Once a command has returned, how long a silent channel is kept open for what it may have left running. OpenSSH keeps
/// a channel open as long as any background process holds the command's output; Packer then waits for ever.
pub(crate) const LINGER: Duration = Duration::from_secs(5);

/// Terminal of `ssh_pty`: Packer's xterm of 80 columns and 40 rows.
const COLUMNS: u32 = 80;
const ROWS: u32 = 40;

/// No echo; the speeds are Go's customary ones and mean nothing.
const TERMINAL_MODES: &[(Pty, u32)] = &[(Pty::ECHO, 0), (Pty::TTY_OP_ISPEED, 14400), (Pty::TTY_OP_OSPEED, 14400)];

/// Prepares the session as configured and starts the command in it.
pub(crate) async fn start(
    channel: &mut SessionChannel,
    config: &SshConfig,
    command: &str,
    with_terminal: bool,
) -> Result<(), CommunicatorError> {
    let requests = channel.requests();
    // Refusals of these are no reason to fail; sends fail only with the connection, which the last one notices.
    for (name, value) in &config.environment {
        let _ = requests.set_env(false, name.as_str(), value.as_str()).await;
    }
    if config.agent_forwarding && config.agent_socket.is_some() {
        let _ = requests.agent_forward(false).await;
    }
    if with_terminal && config.pty {
        let _ = requests.request_pty(true, "xterm", COLUMNS, ROWS, 0, 0, TERMINAL_MODES).await;
        wait_accepted(channel, "a terminal").await?;
    }
    if channel.requests().exec(true, command).await.is_err() {
        return Err(lost(channel, "the start of a command"));
    }
    wait_accepted(channel, "the command").await
}

/// Waits for the answer to the last request.
pub(crate) async fn wait_accepted(channel: &mut SessionChannel, what: &'static str) -> Result<(), CommunicatorError> {
    let answer = async {
        loop {
            match channel.next().await {
                Incoming::Accepted => return Ok(()),
                Incoming::Refused => {
                    return Err(CommunicatorError::Refused {
                        host: channel.connection().address().to_owned(),
                        operation: what.to_owned(),
                        reason: "the request was denied".to_owned(),
                    });
                }
                Incoming::End => return Err(lost(channel, what)),
                // Nothing runs yet that could say anything of worth.
                _ => {}
            }
        }
    };
    match timeout(START_TIMEOUT, answer).await {
        Ok(result) => result,
        Err(_) => Err(CommunicatorError::TimedOut {
            host: channel.connection().address().to_owned(),
            operation: format!("the request for {what}"),
            after: START_TIMEOUT,
        }),
    }
}

fn lost(channel: &SessionChannel, operation: &str) -> CommunicatorError {
    CommunicatorError::Disconnected { host: channel.connection().address().to_owned(), operation: operation.to_owned() }
}

/// Runs a started command to its end. There is no limit of time: commands may take hours, a dead guest is noticed by
/// keep-alives, and dropping the future ends the command.
///
/// `talking` is how long what the command has left running is listened to when it does not fall silent.
pub(crate) async fn run(channel: &mut SessionChannel, output: &dyn CommandOutput, talking: Duration) -> Exit {
    channel.finish_input().await;
    let mut exit: Option<Exit> = None;
    let mut linger_until = Instant::now();
    let mut ends_at = None;
    loop {
        let incoming = tokio::select! {
            () = sleep_until(linger_until), if exit.is_some() => {
                tracing::debug!("the command returned, but something it started holds its output open");
                break;
            }
            incoming = channel.next() => incoming,
        };
        match incoming {
            Incoming::Stdout(bytes) => output.stdout(&bytes),
            Incoming::Stderr(bytes) => output.stderr(&bytes),
            Incoming::Exit(status) => exit = Some(status),
            Incoming::End => break,
            Incoming::Eof | Incoming::Accepted | Incoming::Refused => {}
        }
        linger_until = Instant::now() + LINGER;
        if exit.is_some() {
            linger_until = linger_until.min(*ends_at.get_or_insert_with(|| Instant::now() + talking));
        }
    }
    exit.unwrap_or(Exit::Disconnected)
}
