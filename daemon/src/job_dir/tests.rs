//! What lies in a job's directory, also when somebody else put it there.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn acceptance() -> Acceptance {
    Acceptance { created_at: "2026-01-02T03:04:05.678Z".to_owned(), owner: 7, key: None, digest: "d".to_owned() }
}

fn job(scratch: &Path) -> (JobDir, JobSubmission) {
    let submission = serde_json::from_str(
        r#"{"kind":"build","template":"-","template_text":"hunter2","working_directory":"/w",
            "environment":{"TOKEN":"hunter2"},"options":{"variables":[{"name":"password","value":"hunter2"}]}}"#,
    );
    let id = JobId::from_random_bits(1);
    (JobDir::of(&scratch.join("state"), &scratch.join("run"), &id), submission.unwrap())
}

#[test]
fn secrets_are_for_the_owner_and_go_when_the_job_is_over() {
    let scratch = tempfile::tempdir().unwrap();
    let (directory, submission) = job(scratch.path());
    directory.create(&submission, &acceptance(), None).unwrap();
    assert!(directory.read_request().unwrap() == submission);
    assert_eq!(directory.read_acceptance(), Some(acceptance()));
    // Left by a process that was killed while it wrote.
    let unfinished = directory.root.join(".new-x1Y2z3");
    std::fs::write(&unfinished, "hunter2").unwrap();
    assert_eq!(directory.request().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(directory.root.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    // Of a worker of an earlier version.
    let template = directory.root.join("template.json");
    std::fs::write(&template, "hunter2").unwrap();
    directory.scrub_request().unwrap();
    assert!(!template.exists() && !unfinished.exists());
    assert!(!std::fs::read_to_string(directory.request()).unwrap().contains("hunter2"));
    assert_eq!(directory.read_request().unwrap().options.variables[0].name, "password");
    std::fs::write(directory.request(), "{\"hunter2").unwrap();
    directory.scrub_request().unwrap();
    assert!(!directory.request().exists());
    directory.scrub_request().unwrap();
    directory.remove();
    assert!(!directory.root.exists() && !directory.runtime.exists());
}

#[test]
fn the_way_to_what_a_job_still_has_is_kept_and_nothing_else() {
    let scratch = tempfile::tempdir().unwrap();
    let noted = |name: &str, text: &str| {
        let note = scratch.path().join(name);
        std::fs::write(&note, text).unwrap();
        format!(r#"{{"held":true,"kind":"remote","what":"a box","note":{note:?}}}"#)
    };
    let remote = noted("remote.json", r#"{"service":"vagrant","credentials_removed":false}"#);
    let by_hand = noted("by-hand.json", r#"{"service":"vagrant","credentials_removed":true}"#);
    let never_asked = r#"{"held":true,"kind":"remote","what":"a box","note":"/nonexistent"}"#;
    let file = r#"{"held":true,"kind":"file","path":"/nonexistent"}"#;
    let way_out = ["HOME", "HTTPS_PROXY", "SSL_CERT_FILE"].as_slice();
    let cases = [(&*remote, way_out), (&*by_hand, &["HOME"]), (never_asked, &["HOME"]), (file, &["HOME"]), ("", &[])];
    for (held, kept) in cases {
        let scratch = tempfile::tempdir().unwrap();
        let (directory, mut submission) = job(scratch.path());
        for name in ["HOME", "HTTPS_PROXY", "SSL_CERT_FILE", "AWS_SECRET_ACCESS_KEY"] {
            submission.environment.insert(name.to_owned(), "/x".to_owned());
        }
        directory.create(&submission, &acceptance(), None).unwrap();
        std::fs::write(directory.ledger(), format!("{held}\n")).unwrap();
        directory.scrub_request().unwrap();
        let environment = directory.read_request().unwrap().environment;
        assert_eq!(environment.into_keys().collect::<Vec<_>>(), kept, "{held}");
    }
}

#[test]
fn with_the_credentials_for_a_service_those_of_the_proxy_on_the_way_go() {
    let scratch = tempfile::tempdir().unwrap();
    let (directory, mut submission) = job(scratch.path());
    let proxy = "http://me:hunter2@proxy:3128";
    submission.environment.extend([("HTTPS_PROXY".to_owned(), proxy.to_owned())]);
    directory.create(&submission, &acceptance(), None).unwrap();
    let note = directory.root.join("remote-1.json");
    let text = r#"{"service":"vagrant","credentials_removed":false,"base":"http://127.0.0.1:1","insecure":false,
        "login":{"token":"t0ken"},"registry":"hcp","version":"v","checksum":null,"releasing":false,"parts":[]}"#;
    std::fs::write(&note, text).unwrap();
    let held = format!("{{\"held\":true,\"kind\":\"remote\",\"what\":\"a box\",\"note\":{note:?}}}\n");
    std::fs::write(directory.ledger(), held).unwrap();
    directory.scrub_request().unwrap();
    let all = || [note.clone(), directory.request()].map(|path| std::fs::read_to_string(path).unwrap()).concat();
    assert!(all().contains(proxy) && all().contains("t0ken"), "{}", all());
    directory.forget_credentials().unwrap();
    assert!(!all().contains("hunter2") && !all().contains("t0ken"), "{}", all());
    assert_eq!(directory.still_held(), ["a box"], "what to do by hand stays");
}

#[test]
fn one_worker_at_a_time() {
    let scratch = tempfile::tempdir().unwrap();
    let (directory, submission) = job(scratch.path());
    directory.create(&submission, &acceptance(), None).unwrap();
    let lock = directory.lock().unwrap();
    assert!(lock.is_some());
    assert!(directory.lock().unwrap().is_none() && directory.is_locked());
    drop(lock);
    assert!(!directory.is_locked());
    assert!(directory.lock().unwrap().is_some());
}

#[test]
fn fifos_in_the_place_of_files_are_refused_at_once() {
    let scratch = tempfile::tempdir().unwrap();
    let (directory, submission) = job(scratch.path());
    directory.create(&submission, &acceptance(), None).unwrap();
    for name in ["request.json", "accepted.json", "worker.json", "worker.lock", "worker.log", "reserve"] {
        let path = directory.root.join(name);
        let _ = std::fs::remove_file(&path);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::from_raw_mode(0o600)).unwrap();
    }
    let refused = |error: JobDirError| assert!(error.source.to_string().starts_with("it is a fifo"), "{error:?}");
    refused(directory.read_request().map(drop).unwrap_err());
    refused(directory.lock().map(drop).unwrap_err());
    refused(directory.open_log().map(drop).unwrap_err());
    refused(make_reserve(&directory.reserve()).unwrap_err());
    assert!(directory.read_acceptance().is_none() && directory.read_identity().is_none());
    assert!(!directory.is_locked() && directory.has_trace_of_worker());
    directory.scrub_request().unwrap();
    assert!(!directory.has_request());
}

#[test]
fn a_full_disk_leaves_no_half_a_job() {
    let scratch = tempfile::tempdir().unwrap();
    let (mut directory, submission) = job(scratch.path());
    let file = scratch.path().join("file");
    std::fs::write(&file, "").unwrap();
    directory.runtime = file.join("below");
    let error = directory.create(&submission, &acceptance(), None).unwrap_err();
    assert!(error.to_string().starts_with("cannot make "), "{error}");
    assert!(!directory.root.exists());
}

#[test]
fn nothing_is_done_where_another_file_system_is_mounted() {
    // As a user can mount one on the directory of a job.
    let directory = JobDir { root: "/proc".into(), runtime: "/proc".into() };
    let (root, request) = directory.as_owner_now(|directory| (directory.root.clone(), directory.read_request()));
    assert_eq!(root, PathBuf::from(NOWHERE));
    let error = request.unwrap_err();
    assert_eq!(error.source.kind(), io::ErrorKind::NotADirectory, "which is not taken for a file that was never there");
    assert!(!directory.as_owner_now(JobDir::still_held).is_empty(), "what it holds is not known, and not nothing");
}
