//! The thread that starts child processes.
//!
//! The kernel's parent-death signal belongs to the *thread* that forked, not to the process: a child started from a tokio worker
//! thread would be killed when that thread is retired. So one thread, which lives as long as the process, forks them all.
#![expect(
    unsafe_code,
    reason = "setting the death signal and letting descriptors through happen between fork and exec"
)]

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError, mpsc};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, getpid, getppid, set_parent_process_death_signal};
use tokio::sync::oneshot;

use super::command::ChildCommand;

struct Job {
    command: ChildCommand,
    reply: oneshot::Sender<io::Result<Unclaimed>>,
}

/// A child on its way to who asked for it. One that does not arrive is killed and waited for: a `Child` that is dropped runs on.
struct Unclaimed(Option<Child>);

impl Unclaimed {
    fn claim(mut self) -> io::Result<Child> {
        self.0.take().ok_or_else(|| io::Error::other("the child has been claimed"))
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(mut orphan) = self.0.take() {
            let _ = orphan.kill();
            let _ = orphan.wait();
        }
    }
}

static QUEUE: Mutex<Option<mpsc::Sender<Job>>> = Mutex::new(None);

/// Starts `command`. If the future is dropped, a child that was or will be started is killed.
pub(super) async fn spawn(command: ChildCommand) -> io::Result<Child> {
    let (reply, answer) = oneshot::channel();
    queue()?.send(Job { command, reply }).map_err(|_| io::Error::other("the thread that starts programs is gone"))?;
    answer.await.map_err(|_| io::Error::other("the thread that starts programs is gone"))??.claim()
}

fn queue() -> io::Result<mpsc::Sender<Job>> {
    let mut queue = QUEUE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(sender) = queue.as_ref() {
        return Ok(sender.clone());
    }
    let (sender, jobs) = mpsc::channel();
    std::thread::Builder::new().name("kiln-spawner".to_owned()).spawn(move || run(&jobs))?;
    *queue = Some(sender.clone());
    Ok(sender)
}

fn run(jobs: &mpsc::Receiver<Job>) {
    while let Ok(Job { command, reply }) = jobs.recv() {
        drop(reply.send(spawn_here(command).map(|child| Unclaimed(Some(child)))));
    }
}

fn spawn_here(command: ChildCommand) -> io::Result<Child> {
    let parent = getpid();
    let inherited: Vec<RawFd> = command.inherited.iter().map(OwnedFd::as_raw_fd).collect();
    let mut process = Command::new(&command.program);
    let stdout = if command.hear_stdout { Stdio::piped() } else { Stdio::null() };
    process.args(&command.arguments).envs(command.environment.iter().copied());
    process.stdin(Stdio::null()).stdout(stdout).stderr(Stdio::piped()).process_group(0);
    // SAFETY: the closure only makes system calls; it neither allocates nor locks, and `inherited` was moved in before the fork.
    unsafe {
        process.pre_exec(move || prepare_child(parent, &inherited));
    }
    process.spawn()
    // `command.inherited` is dropped here: the child has its own copies.
}

fn prepare_child(parent: Pid, inherited: &[RawFd]) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the line above.
    if getppid() != Some(parent) {
        return Err(io::ErrorKind::Interrupted.into());
    }
    for &descriptor in inherited {
        // SAFETY: the parent holds these open until spawn returns, and fork copied them.
        let descriptor = unsafe { BorrowedFd::borrow_raw(descriptor) };
        fcntl_setfd(descriptor, FdFlags::empty())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Resource;

    #[test]
    fn a_child_that_nobody_claims_is_killed() {
        let command = ChildCommand {
            program: crate::process::find_program("sleep").unwrap(),
            arguments: vec!["1000".into()],
            environment: Vec::new(),
            inherited: Vec::new(),
            hear_stdout: false,
        };
        let (reply, answer) = oneshot::channel();
        let child = spawn_here(command).unwrap();
        let process = Resource::process(child.id()).unwrap();
        assert!(reply.send(Unclaimed(Some(child))).is_ok());
        assert!(process.is_running());
        drop(answer);
        assert!(!process.is_running());
    }
}
