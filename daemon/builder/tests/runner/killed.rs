//! Workers that are killed, and jobs that are cancelled, while a service works for them: what they have asked for is given back.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use kiln_builder::{Sweep, forget_credentials, still_held, sweep};

use super::amazon_import::{at, make_disk};
use super::aws_service::AwsService;
use super::box_registry::{BOX, hcp};
use super::box_service::BoxService;
use super::world::World;
use super::{amazon_import, box_registry};

/// Has the URL of the service in the environment of a worker that is going to be killed.
const AWS: &str = "KILN_TEST_KILLED_AWS";
const BOXES: &str = "KILN_TEST_KILLED_BOXES";

/// How long something may take to come about on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// The worker of the tests below, a process of its own; in any other process it does nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_worker_that_is_killed() {
    if let Ok(url) = std::env::var(AWS) {
        let world = World::new();
        make_disk(&world);
        world.run(&amazon_import::template(&world, "disk.raw", &at(&url, "ami_name = \"killed\""))).await;
    }
    if let Ok(url) = std::env::var(BOXES) {
        let world = box_registry::world();
        let service = BoxService::elsewhere(&url);
        world.run(&box_registry::template(&world, "vagrant-registry", &hcp(&service, ""))).await;
    }
}

struct Worker {
    process: Child,
    /// Everything that it makes lies here.
    directory: tempfile::TempDir,
}

impl Worker {
    fn start(variable: &str, url: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "killed::the_worker_that_is_killed"]).env(variable, url);
        command.env("TMPDIR", directory.path()).stdout(Stdio::null()).stderr(Stdio::null());
        Self { process: command.spawn().unwrap(), directory }
    }

    /// Kills it as soon as `is_seen`; returns its job's directory.
    fn killed_when(&mut self, what: &str, is_seen: impl Fn() -> bool) -> PathBuf {
        let until = Instant::now() + PATIENCE;
        while !is_seen() {
            assert!(self.process.try_wait().unwrap().is_none(), "{what}: the worker has ended");
            assert!(Instant::now() < until, "{what}: it is never asked for");
            std::thread::sleep(Duration::from_millis(5));
        }
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let below = std::fs::read_dir(self.directory.path()).unwrap();
        let job = below.map(|entry| entry.unwrap().path().join("job")).find(|path| path.is_dir());
        job.unwrap_or_else(|| panic!("{what}: there is no job"))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It is dead already unless the test has failed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn notes(job: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(job).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("remote-")).collect()
}

#[test]
fn a_killed_import_leaves_neither_snapshot_nor_image() {
    for (silent, there) in [
        // AWS has begun it, and nobody has heard its id.
        ("POST /snapshots", vec!["snap-77"]),
        ("PUT /snapshots/snap-77/blocks/0", vec!["snap-77"]),
        ("RegisterImage", vec!["snap-77", "ami-1234"]),
        ("DescribeImages", vec!["snap-77", "ami-1234"]),
    ] {
        let service = AwsService::start();
        service.silence(silent);
        let mut worker = Worker::start(AWS, &service.url);
        let job = worker.killed_when(silent, || service.has_seen(silent));
        service.speak();
        assert_eq!(service.there(), there, "{silent}");
        let held = still_held(&job).unwrap();
        assert!(held.iter().any(|held| held.contains("the snapshot of killed in eu-north-1")), "{silent}: {held:?}");
        assert!(!format!("{held:?}").contains("the-secret-key"));
        let swept = sweep(&job).unwrap();
        assert_eq!(swept.failed, Vec::<String>::new(), "{silent}");
        assert!(swept.removed.iter().any(|line| line.contains("removed the snapshot snap-77")), "{silent}: {swept:?}");
        assert_eq!(service.there(), Vec::<&str>::new(), "{silent}");
        assert_eq!(notes(&job), Vec::<PathBuf>::new(), "{silent}: the credentials are gone, too");
        assert_eq!(sweep(&job).unwrap(), Sweep::default(), "{silent}");
    }
}

#[test]
fn what_cannot_be_given_back_is_told_exactly_and_tried_again() {
    let service = AwsService::start();
    service.silence("PUT /snapshots/snap-77/blocks/0");
    let mut worker = Worker::start(AWS, &service.url);
    let job = worker.killed_when("a block", || service.has_seen("PUT /snapshots/snap-77/blocks/0"));
    service.fail("DeleteSnapshot", 403, "UnauthorizedOperation", 1);
    let swept = sweep(&job).unwrap();
    let told = swept.failed.join("\n");
    for words in [
        "UnauthorizedOperation",
        "may cost money (access key AKIDEXAMPLE)",
        "`aws ec2 delete-snapshot --region eu-north-1 --snapshot-id snap-77`",
    ] {
        assert!(told.contains(words), "{words}: {swept:?}");
    }
    assert!(!told.contains("the-secret-key"), "{told}");
    assert_eq!(notes(&job).len(), 1);
    assert_eq!(std::fs::metadata(&notes(&job)[0]).unwrap().permissions().mode() & 0o077, 0, "nobody else reads it");
    assert_eq!(sweep(&job).unwrap().removed.len(), 1);
    assert_eq!((service.there(), notes(&job)), (Vec::new(), Vec::new()));
}

/// Credentials that are of no use are not kept; what they would have removed is told as long as it is there.
#[test]
fn credentials_that_let_nobody_in_go_and_what_is_there_is_told_on() {
    for (how, code) in [("refused", Some("ExpiredToken")), ("too late", None)] {
        let service = AwsService::start();
        service.silence("PUT /snapshots/snap-77/blocks/0");
        let mut worker = Worker::start(AWS, &service.url);
        let job = worker.killed_when(how, || service.has_seen("PUT /snapshots/snap-77/blocks/0"));
        let note = || std::fs::read_to_string(&notes(&job)[0]).unwrap();
        assert!(note().contains("the-secret-key"), "{how}");
        match code {
            Some(code) => {
                service.fail("DeleteSnapshot", 403, code, 1);
                assert!(sweep(&job).unwrap().failed[0].contains(code), "{how}");
            }
            None => forget_credentials(&job).unwrap(),
        }
        assert!(!note().contains("the-secret-key"), "{how}: {}", note());
        forget_credentials(&job).unwrap();
        let told = sweep(&job).unwrap().failed.join("\n");
        for words in
            ["credentials are not kept any more", "`aws ec2 delete-snapshot --region eu-north-1 --snapshot-id snap-77`"]
        {
            assert!(told.contains(words), "{how}: {told}");
        }
        assert_eq!((service.there(), still_held(&job).unwrap().len()), (vec!["snap-77"], 1), "{how}");
    }
}

#[test]
fn a_killed_publication_leaves_no_version() {
    let version = format!("{BOX}/version/1.2.3");
    for (silent, there) in [
        (format!("POST {BOX}/versions"), [BOX].as_slice()),
        (format!("POST {version}/provider/libvirt/architectures"), &[BOX]),
        ("PUT /storage/".to_owned(), &[BOX]),
        // What was there before stays.
        ("PUT /storage/".to_owned(), &[BOX, &version]),
    ] {
        let service = BoxService::start(there);
        service.silence(&silent);
        let mut worker = Worker::start(BOXES, &service.url);
        let job = worker.killed_when(&silent, || service.done().iter().any(|line| line.starts_with(&silent)));
        assert!(service.there().len() > there.len(), "{silent}");
        let swept = sweep(&job).unwrap();
        assert_eq!(swept.failed, Vec::<String>::new(), "{silent}");
        assert_eq!(service.there(), there, "{silent}: {swept:?}");
        assert_eq!(notes(&job), Vec::<PathBuf>::new(), "{silent}");
        assert_eq!(sweep(&job).unwrap(), Sweep::default(), "{silent}");
    }
}

/// Between the worker's death and the sweep others go on with what it has left.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_use_by_now_stays_and_is_told() {
    let version = format!("{BOX}/version/1.2.3");
    let (provider, of_others) = (format!("{version}/provider/libvirt"), format!("{version}/provider/virtualbox"));
    let architecture = format!("{provider}/architecture/arm64");
    let [box_, version_, provider_, architecture_, of_others_] = [BOX, &version, &provider, &architecture, &of_others];
    for (what, told, stays) in [
        ("released", "its version is released by now", vec![box_, version_, provider_, architecture_]),
        ("another box", "it has another box by now", vec![box_, version_, provider_, architecture_]),
        ("written again", "it was written again since", vec![box_, version_, provider_, architecture_]),
        ("another provider", "there are boxes of others below it", vec![box_, version_, of_others_]),
    ] {
        let service = BoxService::start(&[BOX]);
        service.silence("PUT /storage/");
        let mut worker = Worker::start(BOXES, &service.url);
        let is_sent = || service.done().iter().any(|line| line.starts_with("PUT /storage/"));
        let job = worker.killed_when(what, is_sent);
        service.speak();
        match what {
            "released" => {
                let world = box_registry::world();
                let template = box_registry::template(&world, "vagrant-registry", &hcp(&service, ""));
                assert_eq!(world.run(&template).await.exit_code, 0, "{}", world.text());
            }
            "another box" => service.replace(&architecture, Some("abc"), ""),
            "written again" => service.replace(&architecture, None, "2999-01-01T00:00:00Z"),
            _ => service.put(&of_others),
        }
        let swept = sweep(&job).unwrap();
        assert_eq!(swept.failed, Vec::<String>::new(), "{what}");
        let lines = swept.removed.join("\n");
        assert!(lines.contains(told) && lines.contains("DELETE http"), "{what}: {lines}");
        assert_eq!(service.there(), stays, "{what}: {lines}");
        assert_eq!((still_held(&job).unwrap(), notes(&job)), (Vec::new(), Vec::new()), "{what}");
    }
}

/// Cancels the job of `world` as soon as `is_seen`; it ends, and holds nothing.
async fn cancelled_when(world: &World, template: &str, what: &str, is_seen: impl Fn() -> bool) {
    let cancelling = async {
        let until = Instant::now() + PATIENCE;
        while !is_seen() {
            assert!(Instant::now() < until, "{what}: it is never asked for: {}", world.text());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.control.cancel();
    };
    let (outcome, ()) = tokio::join!(world.run(template), cancelling);
    assert!(outcome.cancelled, "{what}: {}", world.text());
    let job = world.path("job");
    assert_eq!((still_held(&job).unwrap(), notes(&job)), (Vec::new(), Vec::new()), "{what}: {}", world.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_is_cancelled_in_the_middle_leaves_nothing_and_ends() {
    for silent in ["POST /snapshots", "PUT /snapshots/snap-77/blocks/0", "POST /snapshots/completion", "RegisterImage"]
    {
        let (world, service) = (World::new(), AwsService::start());
        make_disk(&world);
        service.silence(silent);
        let template = amazon_import::template(&world, "disk.raw", &at(&service.url, "keep_input_artifact = true"));
        cancelled_when(&world, &template, silent, || service.has_seen(silent)).await;
        assert_eq!(service.there(), Vec::<&str>::new(), "{silent}: {}", world.text());
        assert!(world.path("disk.raw").exists());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_publication_that_is_cancelled_in_the_middle_leaves_nothing_and_ends() {
    for silent in [format!("POST {BOX}/versions"), "PUT /storage/".to_owned()] {
        let (world, service) = (box_registry::world(), BoxService::start(&[BOX]));
        service.silence(&silent);
        let template = box_registry::template(&world, "vagrant-registry", &hcp(&service, ""));
        let is_seen = || service.done().iter().any(|line| line.starts_with(&silent));
        cancelled_when(&world, &template, &silent, is_seen).await;
        assert_eq!(service.there(), [BOX], "{silent}: {}", world.text());
        assert!(world.text().contains("Cleaning up: removed version 1.2.3"), "{silent}: {}", world.text());
    }
}
