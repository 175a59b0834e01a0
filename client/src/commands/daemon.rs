//! `kiln daemon status` and `kiln daemon stop`.

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt as _;
use std::time::{Duration, Instant};

use kiln_protocol::places::{self, FailedStart, Holder};
use kiln_protocol::{Info, ShutdownReport};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::context::Context;
use super::note::note;
use crate::api::{Client, ClientError, Starting, read_holder, read_note};
use crate::arguments::DaemonCommand;
use crate::error::CommandError;
use crate::terminal;

/// Time for the daemon to look at all hypervisors.
const SEARCH_TIMEOUT: Duration = Duration::from_secs(30);

/// Time for a stopping daemon to end.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) async fn daemon(context: Context, command: DaemonCommand) -> Result<u8, CommandError> {
    let client = context.client.starting(Starting::Never);
    let info = match client.info().await {
        Ok(info) => info,
        Err(ClientError::Connect { socket, source }) if source.kind() != std::io::ErrorKind::PermissionDenied => {
            note(&format!("kilnd does not run (nobody answers at {})", socket.display()));
            if let Some(holder) = elsewhere().await {
                let socket = holder.socket.display();
                note(&format!("one of yours runs at {socket} (process {}): unset KILN_SOCKET to use it", holder.pid));
            }
            // Nothing to stop is what was wanted; nothing to show is not.
            let status = matches!(command, DaemonCommand::Status { .. });
            if status && let Some(start) = failed_start() {
                note(&format!("its last start failed ({}): {}", start.at, start.error));
                start.hint.iter().for_each(|hint| note(&format!("hint: {hint}")));
            }
            return Ok(u8::from(status));
        }
        Err(error) => return Err(error.into()),
    };
    match command {
        DaemonCommand::Status { json } => {
            let info = with_hypervisors(&client, info).await?;
            if json {
                terminal::print_json(&info)?;
            } else {
                write!(terminal::stdout(), "{}", describe(&info))?;
            }
        }
        DaemonCommand::Stop => {
            // Opened while it runs, so that it cannot mean another process.
            let process = watch(info.pid);
            let report = client.shut_down().await?;
            if let Some(process) = process
                && !ends(&process)
            {
                return Err(CommandError::new(format!("kilnd (process {}) does not end", info.pid)));
            }
            note("kilnd has stopped");
            left_to_the_next(&report).iter().for_each(|text| note(text));
        }
    }
    Ok(0)
}

/// Tells of the jobs that a daemon which has stopped leaves to the next one.
fn left_to_the_next(report: &ShutdownReport) -> Vec<String> {
    let running = match report.running_jobs {
        0 => None,
        1 => Some("1 running job goes on; the next kilnd takes it up".to_owned()),
        jobs => Some(format!("{jobs} running jobs go on; the next kilnd takes them up")),
    };
    let queued = match report.queued_jobs {
        0 => None,
        1 => Some("1 queued job waits for the next kilnd".to_owned()),
        jobs => Some(format!("{jobs} queued jobs wait for the next kilnd")),
    };
    running.into_iter().chain(queued).collect()
}

/// Returns why the last daemon of this person's state directory did not come up, when none has since.
fn failed_start() -> Option<FailedStart> {
    read_note(&places::state_directory(terminal::variable)?.join(places::FAILED_START_NAME))
}

/// Returns the daemon that has the lock of this person's state directory, if it answers.
async fn elsewhere() -> Option<Holder> {
    let lock = places::state_directory(terminal::variable)?.join(places::LOCK_NAME);
    let holder = read_holder(&lock)?;
    Client::new(holder.socket.clone(), Starting::Never).info().await.ok().map(|_| holder)
}

/// Asks again until the daemon has looked at all hypervisors; it takes a second each time, so there is no pause.
async fn with_hypervisors(client: &Client, mut info: Info) -> Result<Info, CommandError> {
    let start = Instant::now();
    if info.looking_for_hypervisors {
        note("kilnd is looking for hypervisors; the first time this takes some seconds");
    }
    while info.looking_for_hypervisors && start.elapsed() < SEARCH_TIMEOUT {
        info = client.info().await?;
    }
    Ok(info)
}

fn watch(pid: u32) -> Option<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

fn ends(process: &OwnedFd) -> bool {
    let timeout = Timespec { tv_sec: STOP_TIMEOUT.as_secs() as i64, tv_nsec: 0 };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout)).is_ok_and(|ready| ready > 0)
}

/// Says that a running daemon is not the program that would be started now, as after an upgrade.
fn replaced(pid: u32) -> Option<&'static str> {
    // The kernel says it so of a file that has lost its name.
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).ok()?;
    program.as_os_str().as_bytes().ends_with(b" (deleted)").then_some(
        "its program was replaced since it started, or removed: after `kiln daemon stop` the next command starts the one that is there now; \
         jobs go on",
    )
}

fn describe(info: &Info) -> String {
    let mut lines = vec![
        format!("kilnd {} runs ({} mode, process {}, since {})", info.version, info.mode, info.pid, info.started_at),
        format!("socket: {}", info.socket),
        format!("jobs: {} running (at most {}), {} queued", info.running_jobs, info.max_running_jobs, info.queued_jobs),
        format!("state: {}", info.state_directory),
        format!("log: {}/kilnd.log", info.state_directory),
    ];
    if !info.dbus.is_empty() {
        lines.push(format!("D-Bus: {}", info.dbus));
    }
    for hypervisor in &info.hypervisors {
        let version = hypervisor.version.as_deref().map_or_else(String::new, |version| format!(" {version}"));
        let available = if hypervisor.available { "available" } else { "not available" };
        let reason = hypervisor.reason.as_deref().map_or_else(String::new, |reason| format!(" ({reason})"));
        lines.push(format!("{}{version}: {available}{reason}", hypervisor.name));
    }
    lines.extend(replaced(info.pid).map(|note| format!("note: {note}")));
    lines.extend(info.notices.iter().map(|notice| format!("note: {notice}")));
    if info.looking_for_hypervisors {
        lines.push("hypervisors: still being looked for".to_owned());
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_job_is_told_of_as_one() {
        let left = |running_jobs, queued_jobs| left_to_the_next(&ShutdownReport { pid: 1, running_jobs, queued_jobs });
        assert_eq!(left(0, 0), Vec::<String>::new());
        let one = ["1 running job goes on; the next kilnd takes it up", "1 queued job waits for the next kilnd"];
        assert_eq!(left(1, 1), one);
        let two = ["2 running jobs go on; the next kilnd takes them up", "3 queued jobs wait for the next kilnd"];
        assert_eq!(left(2, 3), two);
    }
}
