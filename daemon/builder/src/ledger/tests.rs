//! What is written is read back, whatever a crash or another version has made of it; and it is on the disk in time.

use std::os::fd::OwnedFd;
use std::process::Command;
use std::sync::Arc;

use kiln_hypervisors::fake::{FakeHypervisor, FakeSpec};
use kiln_hypervisors::{Hypervisor as _, MachineSpec, StartError};

use super::*;

fn file(name: &str) -> Resource {
    Resource::File { path: format!("/w/{name}").into() }
}

fn ledger_with(text: &str) -> tempfile::TempDir {
    let job = tempfile::tempdir().unwrap();
    std::fs::write(job.path().join(FILE_NAME), text).unwrap();
    job
}

fn held(job: &tempfile::TempDir) -> Vec<Resource> {
    let held = Held::read(job.path()).unwrap();
    assert_eq!(held.not_understood, Vec::<String>::new());
    held.resources.into_iter().collect()
}

/// A record of each kind, in the order of giving back.
const KINDS: [&str; 8] = [
    r#"{"held":true,"kind":"process","pid":7,"start_time":8,"boot_id":"b"}"#,
    r#"{"held":true,"kind":"local_processes","mark":"m","session":0,"boot_id":"b"}"#,
    r#"{"held":true,"kind":"registered","hypervisor":"virtualbox","id":"web"}"#,
    r#"{"held":true,"kind":"lock_file","path":"/l"}"#,
    r#"{"held":true,"kind":"socket","path":"/s"}"#,
    r#"{"held":true,"kind":"file","path":"/f"}"#,
    r#"{"held":true,"kind":"directory","path":"/d"}"#,
    r#"{"held":true,"kind":"output_directory","path":"/o","id":"i"}"#,
];

fn one_of_each_kind() -> Vec<Resource> {
    let job = ledger_with(&(KINDS.join("\n") + "\n"));
    held(&job)
}

#[test]
fn every_kind_is_read_back_as_earlier_versions_wrote_it() {
    let resources = one_of_each_kind();
    assert_eq!(resources.len(), KINDS.len());
    assert_eq!(resources.iter().filter(|one| one.outlives_power_loss()).count(), KINDS.len() - 2);
    // In the order of giving back, and written as it was read.
    for (resource, line) in resources.iter().zip(KINDS) {
        assert_eq!(serde_json::to_string(&Record { held: true, resource }).unwrap(), line);
    }
}

#[test]
fn a_record_cut_short_is_forgotten_and_hides_no_other() {
    let whole = serde_json::to_string(&Record { held: true, resource: &file("a") }).unwrap();
    for cut in 0..whole.len() {
        let job = ledger_with(&format!("{whole}\n{}", &whole.replace("/w/a", "/w/b")[..cut]));
        assert_eq!(held(&job), [file("a")], "{cut}");
        let ledger = Ledger::open(job.path()).unwrap();
        ledger.acquired(&file("c"));
        ledger.released(&file("a"));
        assert_eq!(held(&job), [file("c")], "{cut}");
    }
    // Only the newline is missing.
    let job = ledger_with(&whole);
    Ledger::open(job.path()).unwrap().acquired(&file("c"));
    assert_eq!(held(&job), [file("a"), file("c")]);
}

#[test]
fn damage_and_other_versions_are_said_and_stay() {
    let job = ledger_with(concat!(
        r#"{"held":true,"kind":"loop_device","number":3}"#,
        "\n",
        r#"{"held":true,"kind":"loop_device","number":4}"#,
        "\n",
        "\u{0}\u{0}\u{0}\n",
        r#"{"held":true,"kind":"file","path":"/f","version":2}"#,
        "\n",
        r#"{"held":true,"kind":"file"}"#,
        "\n",
        "[]\n",
        r#"{"held":false,"kind":"loop_device","number":3}"#,
        "\n",
        r#"{"held":true,"kind":"file","path":"/w/a","extra":1}"#,
        "\n",
    ));
    let before = std::fs::read(job.path().join(FILE_NAME)).unwrap();
    let read = Held::read(job.path()).unwrap();
    assert_eq!(read.resources.into_iter().collect::<Vec<_>>(), [file("a")]);
    let said = read.not_understood;
    assert_eq!(said.len(), 5, "{said:#?}");
    assert!(said[0].contains("line 3") && said[0].contains("damaged"), "{said:#?}");
    assert!(said[1].contains(r#""number":4"#) && said[2].contains(r#""version":2"#), "{said:#?}");
    drop(Ledger::open(job.path()).unwrap());
    assert_eq!(std::fs::read(job.path().join(FILE_NAME)).unwrap(), before);
}

#[test]
fn a_ledger_beyond_all_measure_is_not_read_to_its_end() {
    let job = tempfile::tempdir().unwrap();
    let file = File::create(job.path().join(FILE_NAME)).unwrap();
    file.set_len(1 << 40).unwrap();
    let read = Held::read(job.path()).unwrap();
    assert_eq!(read.resources.len(), 0);
    assert!(read.not_understood[0].contains("larger than 2 MiB"), "{:?}", read.not_understood);
}

#[test]
fn of_a_ledger_full_of_nonsense_only_the_beginning_is_named() {
    let foreign: String = (0..5_000).map(|number| format!("{{\"version\":9,\"number\":{number}}}\n")).collect();
    let job = ledger_with(&("x\n".repeat(100_000) + &foreign));
    let said = Held::read(job.path()).unwrap().not_understood;
    assert!(said.len() < 200, "{}", said.len());
    assert!(said.iter().any(|line| line.starts_with("99950 more lines of the ledger ")), "{said:#?}");
    assert!(said.last().unwrap().ends_with("has more records of another version of Kiln"), "{said:#?}");
    let many: String =
        (0..5_000).map(|number| format!("{{\"held\":true,\"kind\":\"file\",\"path\":\"/{number}\"}}\n")).collect();
    let named = crate::sweep::still_held(ledger_with(&many).path()).unwrap();
    assert_eq!((named.len(), named.last().unwrap().as_str()), (101, "4900 other things"));
}

#[test]
fn a_ledger_that_cannot_be_written_refuses_what_asks_first() {
    let full = OpenOptions::new().append(true).open("/dev/full").unwrap();
    let ledger = Ledger { file: Mutex::new(full) };
    assert!(kiln_hypervisors::ResourceLedger::acquired(&ledger, &file("a")).is_err());
    // These two log it and go on.
    Ledger::acquired(&ledger, &file("a"));
    ledger.released(&file("a"));
}

/// A ledger in a pipe, which takes every record and cannot be synced: it tells what waits for the disk.
fn in_a_pipe() -> (io::PipeReader, Ledger) {
    let (records, pipe) = io::pipe().unwrap();
    (records, Ledger { file: Mutex::new(File::from(OwnedFd::from(pipe))) })
}

#[test]
fn what_outlives_a_power_loss_is_synced_behind_its_record_and_nothing_else_is() {
    for (resource, line) in one_of_each_kind().iter().zip(KINDS) {
        let (mut records, ledger) = in_a_pipe();
        assert_eq!(ledger.note(resource).is_err(), resource.outlives_power_loss(), "{line}");
        ledger.write(false, resource).unwrap();
        drop(ledger);
        let mut written = String::new();
        records.read_to_string(&mut written).unwrap();
        let lines: Vec<&str> = written.lines().collect();
        assert_eq!(lines, [line, line.replace("true", "false").as_str()]);
    }
}

#[tokio::test]
async fn a_machine_is_registered_only_when_its_record_is_on_the_disk() {
    let runtime = tempfile::tempdir().unwrap();
    let spec = MachineSpec::new("web", runtime.path(), FakeSpec { registered: true });
    let hypervisor = FakeHypervisor::default();
    let (mut records, ledger) = in_a_pipe();
    let started = hypervisor.start(&spec, Arc::new(ledger)).await;
    assert!(matches!(started.err(), Some(StartError::Prepare { .. })));
    assert_eq!(hypervisor.registered(), Vec::<String>::new());
    let mut written = String::new();
    records.read_to_string(&mut written).unwrap();
    let record = r#"{"held":true,"kind":"registered","hypervisor":"fake","id":"web"}"#;
    assert_eq!(written.lines().next(), Some(record), "it was noted before");
}

/// In a process of its own, whose files cannot grow beyond half a KiB or a KiB, as the shell counts.
#[test]
fn a_record_for_which_the_disk_had_no_room_takes_no_other_with_it() {
    const MARK: &str = "KILN_TEST_FULL_LEDGER";
    if let Some(job) = std::env::var_os(MARK) {
        let ledger = Ledger::open(job.as_ref()).unwrap();
        // Lines of 150 bytes: neither 512 nor 1024 is a multiple, and what is left over is enough for the last record.
        let long = |number| file(&format!("{number:0>109}"));
        let noted = (0..100).take_while(|&number| ledger.note(&long(number)).is_ok()).count();
        assert!((3..=6).contains(&noted), "{noted}");
        ledger.note(&file("a")).unwrap();
        return;
    }
    let job = tempfile::tempdir().unwrap();
    let limited = r#"trap "" XFSZ; ulimit -f 1; exec "$0" "$@""#;
    let name = "ledger::tests::a_record_for_which_the_disk_had_no_room_takes_no_other_with_it";
    let mut child = Command::new("sh");
    child.args(["-c", limited]).arg(std::env::current_exe().unwrap()).args(["--exact", name]).env(MARK, job.path());
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(held(&job).contains(&file("a")));
}
