//! Children, their ends, and what becomes of them when their parent goes.

use std::ffi::OsString;

use super::*;
use crate::conformance::RecordingLedger;
use crate::process::find_program;

fn command(program: &str, arguments: &[&str]) -> ChildCommand {
    let program = find_program(program).unwrap();
    ChildCommand {
        program,
        arguments: arguments.iter().map(OsString::from).collect(),
        environment: Vec::new(),
        inherited: Vec::new(),
        hear_stdout: false,
    }
}

#[tokio::test]
async fn tells_how_it_ended_and_what_it_said() {
    let ledger = Arc::new(RecordingLedger::default());
    let process = ChildProcess::spawn(command("sh", &["-c", "echo oh >&2; exit 3"]), ledger.clone()).await.unwrap();
    assert_eq!(process.ended().await, ExitState::Exited(3));
    assert_eq!(process.stderr_tail(), "oh");
    assert_eq!(ledger.held(), []);
    assert_eq!(ledger.ever().len(), 1);
}

#[tokio::test]
async fn killing_and_dropping_end_it() {
    let ledger = Arc::new(RecordingLedger::default());
    let process = ChildProcess::spawn(command("sleep", &["1000"]), ledger.clone()).await.unwrap();
    process.kill();
    assert_eq!(process.ended().await, ExitState::Signalled(9));
    process.kill();

    let process = ChildProcess::spawn(command("sleep", &["1000"]), ledger.clone()).await.unwrap();
    let mut ended = process.ended.clone();
    drop(process);
    ended.wait_for(Option::is_some).await.unwrap();
    assert_eq!(ledger.held(), []);
}

#[tokio::test]
async fn a_grandchild_that_keeps_stderr_does_not_hold_up_the_end() {
    let script = "sleep 300 & echo $! done >&2";
    let process = ChildProcess::spawn(command("sh", &["-c", script]), Arc::new(crate::ledger::NoLedger)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(60), process.ended()).await.unwrap();
    let said = process.stderr_tail();
    let grandchild = said.strip_suffix(" done").unwrap();
    assert!(std::process::Command::new("kill").arg(grandchild).status().unwrap().success(), "it was still there");
}

#[tokio::test]
async fn inherits_what_it_is_given() {
    use std::io::Read as _;
    use std::os::fd::AsRawFd as _;
    let (mut ours, theirs) = io::pipe().unwrap();
    let number = theirs.as_raw_fd();
    let mut command = command("sh", &["-c", &format!("printf through > /proc/self/fd/{number}")]);
    command.inherited.push(theirs.into());
    let process = ChildProcess::spawn(command, Arc::new(crate::ledger::NoLedger)).await.unwrap();
    assert_eq!(process.ended().await, ExitState::Exited(0), "{}", process.stderr_tail());
    let mut text = String::new();
    ours.read_to_string(&mut text).unwrap();
    assert_eq!(text, "through");
}

#[tokio::test]
async fn a_missing_program_is_an_error() {
    let command = ChildCommand {
        program: "/nonexistent".into(),
        arguments: Vec::new(),
        environment: Vec::new(),
        inherited: Vec::new(),
        hear_stdout: false,
    };
    let error = ChildProcess::spawn(command, Arc::new(crate::ledger::NoLedger)).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
    assert_eq!(find_program("no-such-program-here"), None);
}

/// The death signal: a process killed with -9 takes its children with it, whichever thread started them.
#[test]
fn children_die_with_a_parent_that_is_killed() {
    const MARK: &str = "KILN_TEST_PARENT";
    if std::env::var_os(MARK).is_some() {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let child = runtime.block_on(async {
            // From a thread that is gone when the parent is killed.
            let spawned = std::thread::spawn(|| {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap()
                    .block_on(ChildProcess::spawn(command("sleep", &["1000"]), Arc::new(crate::ledger::NoLedger)))
                    .unwrap()
            });
            spawned.join().unwrap()
        });
        println!("child={}", child.pid());
        loop {
            std::thread::park();
        }
    }
    use std::io::BufRead as _;
    let mut parent = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "process::child::tests::children_die_with_a_parent_that_is_killed", "--nocapture"])
        .env(MARK, "1")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let lines = io::BufReader::new(parent.stdout.take().unwrap()).lines();
    let pid: u32 = lines.map(Result::unwrap).find_map(|line| line.split_once("child=")?.1.parse().ok()).unwrap();
    let child = open_pidfd(pid).unwrap();
    parent.kill().unwrap();
    parent.wait().unwrap();
    let timeout = rustix::event::Timespec { tv_sec: 10, tv_nsec: 0 };
    let mut descriptors = [rustix::event::PollFd::new(&child, rustix::event::PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut descriptors, Some(&timeout)).unwrap(), 1, "the child outlived its parent");
}

/// Waits until `ledger` has seen one process, and that it went.
async fn came_and_went(ledger: &RecordingLedger) {
    let gone = async {
        while ledger.ever().is_empty() || !ledger.held().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    assert_eq!(ledger.mistakes(), Vec::<String>::new());
}

#[tokio::test]
async fn a_start_that_is_dropped_leaves_no_process() {
    // Before the thread that forks has heard of it, and at several moments after.
    for polls in 0..20 {
        let ledger = Arc::new(RecordingLedger::default());
        let mut start = Box::pin(ChildProcess::spawn(command("sleep", &["1000"]), ledger.clone()));
        let mut polled = 0;
        let dropped = std::future::poll_fn(|context| {
            let ready = start.as_mut().poll(context).is_ready();
            polled += 1;
            if ready || polled > polls {
                return std::task::Poll::Ready(());
            }
            context.waker().wake_by_ref();
            std::task::Poll::Pending
        });
        dropped.await;
        drop(start);
        came_and_went(&ledger).await;
    }
}

#[tokio::test]
async fn a_start_that_is_given_up_has_ended_its_process() {
    let ledger = Arc::new(RecordingLedger::default());
    ChildProcess::begin(command("sleep", &["1000"]), ledger.clone()).give_up().await;
    assert_eq!((ledger.ever().len(), ledger.held()), (1, vec![]));
}
