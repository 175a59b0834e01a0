//! What is written is read back, whatever a crash or another version has made of it.

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

#[test]
fn every_kind_is_read_back_as_earlier_versions_wrote_it() {
    let lines = [
        r#"{"held":true,"kind":"process","pid":7,"start_time":8,"boot_id":"b"}"#,
        r#"{"held":true,"kind":"local_processes","mark":"m","session":0,"boot_id":"b"}"#,
        r#"{"held":true,"kind":"registered","hypervisor":"virtualbox","id":"web"}"#,
        r#"{"held":true,"kind":"lock_file","path":"/l"}"#,
        r#"{"held":true,"kind":"file","path":"/f"}"#,
        r#"{"held":true,"kind":"directory","path":"/d"}"#,
        r#"{"held":true,"kind":"output_directory","path":"/o","id":"i"}"#,
    ];
    let job = ledger_with(&(lines.join("\n") + "\n"));
    let resources = held(&job);
    assert_eq!(resources.len(), lines.len());
    assert_eq!(resources.iter().filter(|one| one.outlives_power_loss()).count(), lines.len() - 2);
    // In the order of giving back, and written as it was read.
    for (resource, line) in resources.iter().zip(lines) {
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
    assert!(read.not_understood[0].contains("larger than 16 MiB"), "{:?}", read.not_understood);
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
