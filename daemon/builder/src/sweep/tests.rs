//! What a dead worker left is given back; what cannot be is said and kept.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::process::Command;
use std::sync::Arc;

use kiln_hypervisors::fake::{FakeHypervisor, FakeScript};
use kiln_hypervisors::{Hypervisor, registry};

use super::*;
use crate::ledger::FILE_NAME;

#[test]
fn sweeps_what_is_held_and_nothing_else() {
    let job = tempfile::tempdir().unwrap();
    let (kept, left) = (job.path().join("kept"), job.path().join("left"));
    let tree = job.path().join("tree");
    std::fs::write(&kept, "").unwrap();
    std::fs::write(&left, "").unwrap();
    std::fs::create_dir_all(tree.join("deep")).unwrap();
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    {
        let ledger = Ledger::open(job.path()).unwrap();
        for path in [&kept, &left] {
            ledger.acquired(&Resource::File { path: path.clone() });
        }
        ledger.released(&Resource::File { path: kept.clone() });
        ledger.acquired(&Resource::Directory { path: tree.clone() });
        ledger.acquired(&Resource::process(child.id()).unwrap());
    }
    // A line cut short by the crash does not hide the others.
    let mut file = OpenOptions::new().append(true).open(job.path().join(FILE_NAME)).unwrap();
    file.write_all(b"{\"held\":tr").unwrap();

    let swept = std::thread::scope(|scope| {
        // The child is ours, so somebody has to reap it for its pidfd to become readable as gone.
        let sweeping = scope.spawn(|| sweep(job.path()).unwrap());
        let status = child.wait().unwrap();
        assert!(!status.success());
        sweeping.join().unwrap()
    });
    assert_eq!(swept.failed, Vec::<String>::new());
    assert_eq!(swept.removed.len(), 3, "{swept:?}");
    assert!(kept.exists() && !left.exists() && !tree.exists());
    assert_eq!(sweep(job.path()).unwrap(), Sweep::default(), "a second sweep finds nothing");
}

#[test]
fn never_kills_a_process_that_reused_the_pid() {
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    let Resource::Process { pid, start_time, boot_id } = Resource::process(child.id()).unwrap() else { unreachable!() };
    assert_eq!(kill(pid, start_time + 1, &boot_id).unwrap(), None);
    assert_eq!(kill(pid, start_time, "another boot").unwrap(), None);
    assert!(child.try_wait().unwrap().is_none(), "still running");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_lock_file_is_removed_unless_somebody_has_the_lock() {
    let job = tempfile::tempdir().unwrap();
    let (left, held) = (job.path().join("left.lock"), job.path().join("held.lock"));
    let ledger = Ledger::open(job.path()).unwrap();
    for path in [&left, &held] {
        File::create(path).unwrap();
        ledger.acquired(&Resource::LockFile { path: path.clone() });
    }
    let other = File::open(&held).unwrap();
    rustix::fs::flock(&other, rustix::fs::FlockOperation::LockExclusive).unwrap();
    assert_eq!(sweep(job.path()).unwrap().removed.len(), 1);
    assert!(!left.exists() && held.exists());
}

#[test]
fn a_socket_is_removed_unless_somebody_listens_there() {
    use std::os::unix::net::{UnixListener, UnixStream};
    let job = tempfile::tempdir().unwrap();
    let [left, living, file] = ["left", "living", "file"].map(|name| job.path().join(name));
    let ledger = Ledger::open(job.path()).unwrap();
    for path in [&left, &living, &file] {
        ledger.acquired(&Resource::Socket { path: path.clone() });
    }
    drop(UnixListener::bind(&left).unwrap());
    let _listener = UnixListener::bind(&living).unwrap();
    std::fs::write(&file, "precious").unwrap();
    let swept = sweep(job.path()).unwrap();
    assert_eq!(swept.removed, [format!("removed the socket {}", left.display())]);
    assert_eq!(swept.failed, Vec::<String>::new());
    assert!(!left.exists() && file.exists());
    UnixStream::connect(&living).expect("another machine's socket stays");
    assert_eq!(sweep(job.path()).unwrap(), Sweep::default(), "nothing of it is ours any more");
}

#[test]
fn a_job_without_a_ledger_holds_nothing() {
    let job = tempfile::tempdir().unwrap();
    assert_eq!(sweep(job.path()).unwrap(), Sweep::default());
}

fn registered(hypervisor: &str, id: &str) -> Resource {
    Resource::Registered { hypervisor: hypervisor.to_owned(), id: id.to_owned() }
}

#[test]
fn a_registered_machine_is_given_back_by_its_hypervisor() {
    let job = tempfile::tempdir().unwrap();
    let fake = FakeHypervisor::default();
    let hypervisors = registry::by_name([Arc::new(fake.clone()) as Arc<dyn Hypervisor>]);
    fake.register("web");
    let ledger = Ledger::open(job.path()).unwrap();
    for id in ["web", "removed-by-hand"] {
        ledger.acquired(&registered("fake", id));
    }
    let directory = job.path().join("machine");
    std::fs::create_dir(&directory).unwrap();
    ledger.acquired(&Resource::Directory { path: directory.clone() });
    fake.change(|script| script.give_back_error = Some("it is locked".to_owned()));
    let swept = sweep_with(job.path(), &hypervisors).unwrap();
    assert_eq!(swept.removed, Vec::<String>::new());
    assert!(
        swept.failed.iter().any(|line| line.contains("web from fake") && line.contains("it is locked")),
        "{swept:?}"
    );
    assert!(directory.exists(), "what the machine may use stays with it");

    fake.change(|script| *script = FakeScript::default());
    let swept = sweep_with(job.path(), &hypervisors).unwrap();
    let expected = [
        "the machine removed-by-hand is not registered with fake any more".to_owned(),
        "removed the machine web from fake".to_owned(),
        format!("removed the directory {}", directory.display()),
    ];
    assert_eq!(swept.removed, expected);
    assert_eq!(swept.failed, Vec::<String>::new());
    assert_eq!(fake.registered(), Vec::<String>::new());
    assert_eq!(sweep_with(job.path(), &hypervisors).unwrap(), Sweep::default(), "the ledger is healed");
}

#[tokio::test]
async fn what_another_version_has_noted_is_said_and_kept() {
    let job = tempfile::tempdir().unwrap();
    let left = job.path().join("left");
    std::fs::write(&left, "").unwrap();
    let ledger = Ledger::open(job.path()).unwrap();
    ledger.acquired(&registered("parallels", "vm 7"));
    ledger.acquired(&Resource::File { path: left.clone() });
    let mut file = OpenOptions::new().append(true).open(job.path().join(FILE_NAME)).unwrap();
    file.write_all(b"{\"held\":true,\"kind\":\"loop_device\",\"number\":3}\n").unwrap();
    let before = std::fs::read(job.path().join(FILE_NAME)).unwrap();
    // Swept from inside a runtime too.
    for _ in 0..2 {
        let swept = sweep(job.path()).unwrap();
        assert_eq!(swept.failed.len(), 2, "{swept:?}");
        assert!(swept.failed[0].contains("loop_device") && swept.failed[0].contains(FILE_NAME), "{swept:?}");
        assert!(swept.failed[1].contains("vm 7") && swept.failed[1].contains("parallels"), "{swept:?}");
    }
    assert!(!left.exists(), "the others are given back");
    assert!(std::fs::read(job.path().join(FILE_NAME)).unwrap().starts_with(&before), "no record is lost");
}

#[test]
fn an_ended_jobs_leftovers_are_given_back_but_nothing_that_came_later() {
    let jobs = tempfile::tempdir().unwrap();
    let place = |name: &str| jobs.path().join(name);
    for name in ["old", "new", "tree", "newer tree"] {
        std::fs::create_dir(place(name)).unwrap();
    }
    std::fs::write(place("file"), "old").unwrap();
    std::fs::write(place("rewritten"), "old").unwrap();
    let fake = FakeHypervisor::default();
    let hypervisors = registry::by_name([Arc::new(fake.clone()) as Arc<dyn Hypervisor>]);
    fake.register("web");
    fake.register("shared");
    let ledger = Ledger::open(&place("old")).unwrap();
    for name in ["file", "rewritten"] {
        ledger.acquired(&Resource::File { path: place(name) });
    }
    for name in ["tree", "newer tree"] {
        ledger.acquired(&Resource::Directory { path: place(name) });
    }
    ledger.acquired(&registered("fake", "web"));
    ledger.acquired(&registered("fake", "shared"));
    assert_eq!(still_held(&place("old")).unwrap().len(), 6);
    let ended = std::fs::metadata(place("old").join(FILE_NAME)).unwrap().modified().unwrap();

    // Since then somebody has written the file anew, and another build has come to the same machine and the same directory.
    let later = ended + Duration::from_secs(60);
    File::options().write(true).open(place("rewritten")).unwrap().set_modified(later).unwrap();
    Ledger::open(&place("new")).unwrap().acquired(&registered("fake", "shared"));
    Ledger::open(&place("new")).unwrap().acquired(&Resource::Directory { path: place("newer tree") });
    File::options().append(true).open(place("new").join(FILE_NAME)).unwrap().set_modified(later).unwrap();

    let swept = sweep_ended_with(&place("old"), ended, &hypervisors).unwrap();
    assert_eq!(swept.failed, Vec::<String>::new());
    let text = swept.removed.join("\n");
    for said in [
        "the machine shared of fake is job new's by now and stays".to_owned(),
        format!("the directory {} is job new's by now and stays", place("newer tree").display()),
        format!("the file {} is another's by now and stays", place("rewritten").display()),
    ] {
        assert!(text.contains(&said), "{said}: {text}");
    }
    assert_eq!(fake.registered(), ["shared"]);
    assert!(!place("file").exists() && !place("tree").exists());
    assert!(place("rewritten").exists() && place("newer tree").exists());
    assert_eq!(still_held(&place("old")).unwrap(), Vec::<String>::new());
    assert_eq!(still_held(&place("new")).unwrap().len(), 2);
}

/// A service that takes connections and never answers: all that a job has there get one time together.
#[test]
fn services_that_never_answer_take_one_time_together_and_what_is_left_is_told() {
    let job = tempfile::tempdir().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let ledger = Ledger::open(job.path()).unwrap();
    for name in ["one", "two"] {
        let note = job.path().join(format!("remote-{name}.json"));
        let text = format!(
            "{{\"service\":\"vagrant\",\"base\":\"{base}\",\"insecure\":false,\"login\":\"nobody\",\"registry\":\"hcp\",\
             \"version\":\"v\",\"checksum\":null,\"releasing\":false,\"parts\":[]}}"
        );
        std::fs::write(&note, text).unwrap();
        ledger.note(&Resource::Remote { what: format!("box {name}"), note }).unwrap();
    }
    let swept = sweep_all(
        job.path(),
        None,
        &registry::all(&Settings { cache_dir: job.path().to_owned(), libvirt: None }),
        Duration::from_secs(1),
    )
    .unwrap();
    assert_eq!(swept.removed, Vec::<String>::new());
    assert!(
        swept.failed[0].contains("give back box one: the service did not answer in what was left of the 1 s"),
        "{swept:?}"
    );
    assert!(swept.failed[1].contains("box two: the services before it have taken all of the 1 s"), "{swept:?}");
    assert_eq!(still_held(job.path()).unwrap().len(), 2, "both are tried again");
}
