//! The guest agent's communicator on Debian's real qemu-ga, which listens at a socket here as it does at a serial port in a guest.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use kiln_communicators::conformance::{self, Guest};
use kiln_communicators::guest_agent::{GuestAgentCommunicator, GuestAgentConfig, connect};
use kiln_communicators::{
    CollectedOutput, CommandOutput, Communicator, CommunicatorError, ConnectConfig, DiscardedOutput, Exit,
    GuestConnector, NoProgress, SilentObserver, TransferProgress,
};
use tempfile::TempDir;
use tokio::sync::Notify;

use crate::servers::{server_or_return, tool};

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running qemu-ga; ended when dropped.
struct Agent {
    child: Child,
    directory: TempDir,
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(directory: &Path) -> Option<Child> {
    let socket = directory.join("agent.sock");
    let _ = fs::remove_file(&socket);
    let mut command = Command::new(tool("qemu-ga")?);
    command.args(["-m", "unix-listen", "-p"]).arg(&socket);
    command.arg("-t").arg(directory).arg("-f").arg(directory.join("pid"));
    let child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let started = Instant::now();
    while !socket.exists() {
        assert!(started.elapsed() < PATIENCE, "qemu-ga does not listen");
        std::thread::sleep(Duration::from_millis(10));
    }
    Some(child)
}

impl Agent {
    fn start() -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        Some(Self { child: spawn(directory.path())?, directory })
    }

    fn restart(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.child = spawn(self.directory.path()).unwrap();
    }

    fn config(&self) -> GuestAgentConfig {
        GuestAgentConfig { timeout: Some(PATIENCE), ..GuestAgentConfig::new(self.directory.path().join("agent.sock")) }
    }

    async fn connect(&self) -> GuestAgentCommunicator {
        connect(&self.config(), Arc::new(SilentObserver)).await.unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }
}

async fn run(guest: &dyn Communicator, command: &str) -> (Exit, String, String) {
    let output = CollectedOutput::new(1 << 20);
    let exit = tokio::time::timeout(PATIENCE, guest.execute(command, &output)).await.unwrap().unwrap();
    (exit, output.stdout_text(), output.stderr_text())
}

async fn appears(path: &Path) -> String {
    let started = Instant::now();
    loop {
        if let Ok(text) = fs::read_to_string(path)
            && text.ends_with('\n')
        {
            return text.trim().to_owned();
        }
        assert!(started.elapsed() < PATIENCE, "{} does not appear", path.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn goes(path: &Path) {
    let started = Instant::now();
    while path.exists() {
        assert!(started.elapsed() < PATIENCE, "{} does not go", path.display());
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_keeps_the_promises_of_a_communicator() {
    let agent = server_or_return!(Agent::start(), "qemu-ga");
    let (directory, local) = (agent.path("guest"), tempfile::tempdir().unwrap());
    fs::create_dir(&directory).unwrap();
    let config = ConnectConfig::GuestAgent(agent.config());
    let (connector, directory, local) = (&GuestConnector, directory.to_str().unwrap(), local.path());
    conformance::check(&Guest { connector, config: &config, directory, local, overlapping_commands: true }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_have_what_they_have_by_ssh() {
    let agent = server_or_return!(Agent::start(), "qemu-ga");
    let guest = agent.connect().await;
    let (exit, out, err) =
        run(&guest, "echo \"it's $HOME `pwd`\"; cat; umask; printf 'no end'; printf '\\377' >&2; kill -9 $$").await;
    let home = std::env::var("HOME").unwrap_or_else(|_| "/root".to_owned());
    assert_eq!((exit, out), (Exit::Code(137), format!("it's {home} {home}\n0022\nno end")));
    assert_eq!(err, "\u{FFFD}");
    // What it leaves running does not hold it.
    let (exit, out, _) = run(&guest, "sleep 300 & echo $!").await;
    assert_eq!(exit, Exit::Code(0));
    Command::new("kill").arg(out.trim()).status().unwrap();
    assert_eq!(run(&guest, "no-such-command-here").await.0, Exit::Code(127));
}

/// Writes a file once something was said.
struct Answers(PathBuf, CollectedOutput);

impl CommandOutput for Answers {
    fn stdout(&self, bytes: &[u8]) {
        self.1.stdout(bytes);
        fs::write(&self.0, "go on\n").unwrap();
    }

    fn stderr(&self, bytes: &[u8]) {
        self.1.stderr(bytes);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn output_is_told_while_a_command_runs() {
    let agent = server_or_return!(Agent::start(), "qemu-ga");
    let guest = agent.connect().await;
    let answer = agent.path("answer");
    let command = format!("echo one; while [ ! -e {} ]; do sleep 0.05; done; echo two", answer.display());
    let output = Answers(answer, CollectedOutput::new(1000));
    let exit = tokio::time::timeout(PATIENCE, guest.execute(&command, &output)).await.expect("it was heard").unwrap();
    assert_eq!((exit, output.1.stdout_text().as_str()), (Exit::Code(0), "one\ntwo\n"));
}

/// Counts bytes, and looks at how many lie in the guest.
struct Weighs {
    /// The file that tells where they lie.
    whereabouts: PathBuf,
    sum: AtomicU64,
    wrong: AtomicU64,
    most: AtomicU64,
}

impl Weighs {
    fn directory(&self) -> PathBuf {
        PathBuf::from(fs::read_to_string(&self.whereabouts).unwrap().trim())
    }
}

impl CommandOutput for Weighs {
    fn stdout(&self, bytes: &[u8]) {
        let before = self.sum.fetch_add(bytes.len() as u64, Ordering::SeqCst);
        let expected = |at: u64| b"0123456789abcde\n"[(at % 16) as usize];
        let wrong = (before..).zip(bytes).filter(|(at, byte)| expected(*at) != **byte).count();
        self.wrong.fetch_add(wrong as u64, Ordering::SeqCst);
        let names = fs::read_dir(self.directory()).into_iter().flatten().flatten();
        let size = |entry: fs::DirEntry| entry.metadata().map_or(0, |metadata| metadata.len());
        self.most.fetch_max(names.map(size).sum(), Ordering::SeqCst);
    }

    fn stderr(&self, _bytes: &[u8]) {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn much_output_comes_whole_and_little_of_it_lies_in_the_guest() {
    let agent = server_or_return!(Agent::start(), "qemu-ga");
    let guest = agent.connect().await;
    let bytes: u64 = 40 << 20;
    let (sum, wrong, most) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let weighs = Weighs { whereabouts: agent.path("whereabouts"), sum, wrong, most };
    // Where the shell's own output goes.
    let command = format!(
        "d=$(readlink /proc/$$/fd/1); echo ${{d%/*}} >{}; yes 0123456789abcde | head -c {bytes}",
        weighs.whereabouts.display()
    );
    let exit = tokio::time::timeout(PATIENCE * 3, guest.execute(&command, &weighs)).await.expect("it ends").unwrap();
    assert_eq!(exit, Exit::Code(0));
    assert_eq!((weighs.sum.load(Ordering::SeqCst), weighs.wrong.load(Ordering::SeqCst)), (bytes, 0));
    let most = weighs.most.load(Ordering::SeqCst);
    assert!(most > 0 && most <= 6 << 20, "{most} bytes lay in {}", weighs.directory().display());
    goes(&weighs.directory()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_is_given_up_ends_with_all_it_has_started() {
    let agent = server_or_return!(Agent::start(), "qemu-ga");
    let guest = agent.connect().await;
    let pid = agent.path("pid-of-it");
    let command = format!("sleep 1000 & echo $! >{}; wait", pid.display());
    // Whatever of it does not come first is dropped.
    let process = tokio::select! {
        ended = guest.execute(&command, &DiscardedOutput) => panic!("{ended:?}"),
        process = appears(&pid) => process,
    };
    goes(&Path::new("/proc").join(process)).await;
    assert_eq!(run(&guest, "true").await.0, Exit::Code(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_agent_is_not_taken_for_the_first() {
    let mut agent = server_or_return!(Agent::start(), "qemu-ga");
    let guest = agent.connect().await;
    let (begun, process) = (agent.path("begun"), agent.path("process"));
    let command = format!("echo $$ >{}; echo yes >{}; exec sleep 1000", process.display(), begun.display());
    let running = tokio::spawn({
        let guest = guest.clone();
        async move { guest.execute(&command, &DiscardedOutput).await }
    });
    appears(&begun).await;
    agent.restart();
    let exit = tokio::time::timeout(PATIENCE, running).await.expect("its end is noticed").unwrap().unwrap();
    assert_eq!(exit, Exit::Disconnected);
    tokio::time::timeout(PATIENCE, guest.disconnected()).await.unwrap();
    assert_eq!(run(&guest, "echo again").await.1, "again\n");
    Command::new("kill").arg(appears(&process).await).status().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trees_and_odd_names_go_both_ways() {
    let agent = server_or_return!(Agent::start(), "qemu-ga");
    let guest = agent.connect().await;
    let here = tempfile::tempdir().unwrap();
    let tree = here.path().join("tree");
    fs::create_dir_all(tree.join("sub/deep er/empty")).unwrap();
    for name in ["it's \"odd\" & $(id) ; `x` \\ *?[a]", "ünï", "-rf", "line\nbreak", "sub/deep er/x"] {
        fs::write(tree.join(name), name).unwrap();
    }
    let there = agent.path("there").display().to_string();
    guest.upload_directory(&tree, &there, &NoProgress).await.unwrap();
    let back = here.path().join("back");
    guest.download_directory(&there, &back, &NoProgress).await.unwrap();
    let same = Command::new("diff").arg("-r").arg(&tree).arg(back.join("there")).status().unwrap();
    assert!(same.success());
    assert!(back.join("there/sub/deep er/empty").is_dir());
    let error = guest.upload_bytes(b"x", "/nonexistent/x", 0o600).await.unwrap_err();
    assert!(error.to_string().contains("No such file") && error.hint().is_some(), "{error}");
    let error = guest.upload_bytes(b"x", &there, 0o600).await.unwrap_err();
    assert!(matches!(&error, CommunicatorError::Remote { .. }), "{error}");
    // Nothing that waits for somebody is opened.
    Command::new("mkfifo").arg(agent.path("pipe")).status().unwrap();
    let pipe = agent.path("pipe").display().to_string();
    let error = guest.download_file(&pipe, &here.path().join("pipe"), &NoProgress).await.unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
    let other = guest.upload_bytes(b"x", "/dev/full", 0o666).await.unwrap_err();
    assert!(other.to_string().contains("not a regular file"), "{other}");
    let uploading = guest.upload_bytes(b"x", &pipe, 0o600);
    let error = tokio::time::timeout(PATIENCE, uploading).await.expect("nobody reads there").unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
    let inside = agent.path("around");
    fs::create_dir_all(inside.join("tree")).unwrap();
    Command::new("mkfifo").arg(inside.join("tree/-rf")).status().unwrap();
    let inside = inside.display().to_string();
    let uploading = guest.upload_directory(&tree, &inside, &NoProgress);
    let error = tokio::time::timeout(PATIENCE, uploading).await.expect("nobody reads there").unwrap_err();
    assert!(error.to_string().contains("not a regular file"), "{error}");
}

/// Looks at the place of a file whenever a piece of it was sent.
struct Looks {
    place: PathBuf,
    seen: Mutex<Vec<Vec<u8>>>,
    heard: Notify,
}

impl TransferProgress for Looks {
    fn file_started(&self, _path: &str, _size: u64) {}

    fn advanced(&self, _bytes: u64) {
        self.seen.lock().unwrap().push(fs::read(&self.place).unwrap());
        self.heard.notify_one();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_what_it_was_until_the_new_one_is_whole() {
    let agent = server_or_return!(Agent::start(), "qemu-ga");
    let guest = agent.connect().await;
    let here = tempfile::tempdir().unwrap();
    let source = here.path().join("source");
    fs::write(&source, vec![b'n'; 4 << 20]).unwrap();
    let there = agent.path("there");
    fs::create_dir(&there).unwrap();
    let (file, link) = (there.join("file"), agent.path("link"));
    fs::write(&file, "old").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    let (link, names) = (link.display().to_string(), || fs::read_dir(&there).unwrap().count());

    // Given up in the middle.
    let looks = Looks { place: file.clone(), seen: Mutex::default(), heard: Notify::new() };
    tokio::select! {
        biased;
        () = looks.heard.notified() => {}
        done = guest.upload_file(&source, &link, None, &looks) => panic!("nobody has given it up: {done:?}"),
    }
    let begun = Instant::now();
    while names() > 1 {
        assert!(begun.elapsed() < PATIENCE, "what was sent of it stays");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(fs::read(&file).unwrap(), b"old");

    guest.upload_file(&source, &link, Some(0o640), &looks).await.unwrap();
    let seen = std::mem::take(&mut *looks.seen.lock().unwrap());
    assert!(seen.len() > 10 && seen.iter().all(|content| content == b"old"));
    assert!(fs::read(&file).unwrap() == fs::read(&source).unwrap());
    assert_eq!((fs::metadata(&file).unwrap().mode() & 0o7777, names()), (0o640, 1));

    // A tree, too.
    fs::write(&file, "old").unwrap();
    let tree = here.path().join("there");
    fs::create_dir(&tree).unwrap();
    fs::copy(&source, tree.join("file")).unwrap();
    guest.upload_directory(&tree, &agent.path("").display().to_string(), &looks).await.unwrap();
    let seen = std::mem::take(&mut *looks.seen.lock().unwrap());
    assert!(seen.len() > 10 && seen.iter().all(|content| content == b"old"));
    assert!(fs::read(&file).unwrap() == fs::read(&source).unwrap());
    assert_eq!(names(), 1);
}
