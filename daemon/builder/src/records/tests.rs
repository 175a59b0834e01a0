//! What is written is read back; what a crash, another version or damage leaves is healed or refused, and said.

use std::io::Write as _;
use std::path::Path;

use super::*;

fn header(build: &str) -> Header {
    Header { version: VERSION, build: build.to_owned(), plan: "aa".to_owned(), run_uuid: "u".to_owned() }
}

fn step(number: u32, state: State) -> StepRecord {
    StepRecord {
        build: "qemu.web".to_owned(),
        number,
        phase: Phase::Prepare,
        name: format!("step {number}"),
        state,
        at: "2026-01-02T03:04:05Z".to_owned(),
        elapsed_ms: (state != State::Intent).then_some(7),
        outputs: (state == State::Done).then_some(Output::HttpServer { port: 8080 }),
        error: (state == State::Failed).then(|| "no".to_owned()),
    }
}

async fn written(directory: &Path) -> String {
    let file = RecordFile::open(directory).unwrap();
    file.begin(&header("qemu.web")).await.unwrap();
    for record in [step(1, State::Intent), step(1, State::Failed), step(1, State::Intent), step(1, State::Done)] {
        file.note(&record).await.unwrap();
    }
    file.begin(&header("qemu.db")).await.unwrap();
    file.note(&step(2, State::Intent)).await.unwrap();
    std::fs::read_to_string(file.path()).unwrap()
}

#[tokio::test]
async fn what_is_written_is_read_back() {
    use std::os::unix::fs::PermissionsExt as _;
    let job = tempfile::tempdir().unwrap();
    assert_eq!(read(job.path()).unwrap(), Records::default(), "a job that has not begun");
    let text = written(job.path()).await;
    assert!(text.starts_with("{\"version\":1,\"build\":\"qemu.web\",\"plan\":\"aa\",\"run_uuid\":\"u\"}\n"), "{text}");
    let records = read(job.path()).unwrap();
    assert!(!records.cut_short);
    assert_eq!(records.builds.iter().map(|build| build.build.as_str()).collect::<Vec<_>>(), ["qemu.web", "qemu.db"]);
    let web = records.build("qemu.web").unwrap();
    assert_eq!(web.steps.len(), 5);
    assert_eq!(web.latest(), [&step(1, State::Done), &step(2, State::Intent)]);
    assert_eq!(web.done(1), Some(&step(1, State::Done)), "the second try counts");
    assert_eq!(web.done(2), None);
    let mode = std::fs::metadata(job.path().join(FILE_NAME)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// Wherever a power loss cuts the file, the whole lines before are read, and the next worker writes on behind them.
#[tokio::test]
async fn a_cut_at_any_byte_loses_only_the_line_it_is_in() {
    let job = tempfile::tempdir().unwrap();
    let text = written(job.path()).await;
    let path = job.path().join(FILE_NAME);
    for at in 0..text.len() {
        std::fs::write(&path, &text[..at]).unwrap();
        let whole = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let lines = text[..whole].lines().filter(|line| !line.contains("version")).count();
        let records = read(job.path()).unwrap();
        assert_eq!(records.cut_short, whole < at, "cut at {at}");
        assert_eq!(records.builds.iter().map(|build| build.steps.len()).sum::<usize>(), lines, "cut at {at}");
    }
    std::fs::write(&path, &text[..text.len() - 3]).unwrap();
    let file = RecordFile::open(job.path()).unwrap();
    file.note(&step(2, State::Done)).await.unwrap();
    let records = read(job.path()).unwrap();
    assert!(!records.cut_short);
    assert_eq!(records.build("qemu.web").unwrap().done(2), Some(&step(2, State::Done)));
}

/// What stands at the end of a file after a power loss can be anything, also zeros.
#[tokio::test]
async fn anything_at_the_end_is_a_cut_and_anywhere_else_is_damage() {
    let job = tempfile::tempdir().unwrap();
    let text = written(job.path()).await;
    let path = job.path().join(FILE_NAME);
    for end in ["\0\0\0\0", "\0\0\n", "{}\n", "\u{fffd}", "{\"build\":\"qemu.other\",\"number\":1}\n"] {
        std::fs::write(&path, format!("{text}{end}")).unwrap();
        let records = read(job.path()).unwrap();
        assert!(records.cut_short, "{end:?}");
        assert_eq!(records.build("qemu.web").unwrap().steps.len(), 5, "{end:?}");
        // The next worker writes on behind the last record, or its first line would make damage of what was none.
        RecordFile::open(job.path()).unwrap().note(&step(3, State::Intent)).await.unwrap();
        let records = read(job.path()).unwrap();
        assert!(!records.cut_short, "{end:?}");
        assert_eq!(records.build("qemu.web").unwrap().steps[5..], [step(3, State::Intent)], "{end:?}");
    }
    let (first, rest) = text.split_once('\n').unwrap();
    for damage in ["\0\0", "[]", "{\"version\":\"x\"}", "{\"build\":\"qemu.web\",\"number\":-1}"] {
        std::fs::write(&path, format!("{first}\n{damage}\n{rest}")).unwrap();
        let error = read(job.path()).unwrap_err();
        assert!(matches!(error, RecordsError::Damaged { line: 2, .. }), "{damage:?}: {error}");
        assert!(error.to_string().contains("steps.ndjson") && error.hint().contains("build again"), "{error}");
        let before = std::fs::read(&path).unwrap();
        let refused = RecordFile::open(job.path()).unwrap_err();
        assert!(refused.to_string().contains("line 2 of "), "nothing is written behind damage: {refused}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
    // A step before its build's header: the header has been lost.
    std::fs::write(&path, rest).unwrap();
    let error = read(job.path()).unwrap_err();
    assert!(error.to_string().contains("line 1 of ") && error.to_string().contains("has not begun"), "{error}");
}

#[tokio::test]
async fn a_newer_version_is_refused_and_left_alone() {
    let job = tempfile::tempdir().unwrap();
    let text = written(job.path()).await;
    let path = job.path().join(FILE_NAME);
    let newer = text.replace("\"version\":1,\"build\":\"qemu.web\",\"plan\"", "\"version\":2,\"name\":[1],\"plan\"");
    std::fs::write(&path, &newer).unwrap();
    let error = read(job.path()).unwrap_err();
    assert!(matches!(error, RecordsError::Newer { found: 2, .. }), "{error}");
    assert!(error.to_string().contains("a newer Kiln (format 2; this one reads up to 1)"), "{error}");
    assert!(error.hint().contains("the version of Kiln that has run the job"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), newer);
}

#[test]
fn what_is_no_file_is_refused_and_nothing_waits() {
    let job = tempfile::tempdir().unwrap();
    let fifo = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mkfifoat(rustix::fs::CWD, job.path().join(FILE_NAME), fifo).unwrap();
    let error = read(job.path()).unwrap_err();
    assert!(matches!(&error, RecordsError::Read { source, .. } if source.to_string().contains("a fifo")), "{error:?}");
    assert!(RecordFile::open(job.path()).unwrap_err().to_string().contains("a fifo"));
}

#[tokio::test]
async fn fields_of_a_later_kiln_are_passed_over() {
    let job = tempfile::tempdir().unwrap();
    let text = written(job.path()).await;
    let more = text.replace("\"number\":", "\"more\":{\"x\":1},\"number\":");
    std::fs::write(job.path().join(FILE_NAME), more).unwrap();
    assert_eq!(read(job.path()).unwrap().build("qemu.web").unwrap().steps.len(), 5);
}

#[test]
fn another_plan_of_the_same_build_begins_anew() {
    let job = tempfile::tempdir().unwrap();
    let mut file = std::fs::File::create(job.path().join(FILE_NAME)).unwrap();
    let line = |value: serde_json::Value| format!("{value}\n");
    let begin = |plan: &str| line(serde_json::json!({"version": 1, "build": "qemu.web", "plan": plan}));
    let record = line(serde_json::to_value(step(1, State::Done)).unwrap());
    for text in [begin("aa"), record.clone(), begin("aa"), record.clone(), begin("bb"), record] {
        file.write_all(text.as_bytes()).unwrap();
    }
    let records = read(job.path()).unwrap();
    assert_eq!((records.builds.len(), records.builds[0].plan.as_str(), records.builds[0].steps.len()), (1, "bb", 1));
}

/// A process numbers its steps one by one; the one that goes on with its build begins with a header.
#[tokio::test]
async fn a_number_that_comes_to_be_of_another_step_is_damage() {
    let job = tempfile::tempdir().unwrap();
    let text = written(job.path()).await;
    let path = job.path().join(FILE_NAME);
    let line = |step: &StepRecord| format!("{}\n", serde_json::to_string(step).unwrap());
    let other_name = StepRecord { name: "bogus".to_owned(), ..step(1, State::Done) };
    let other_phase = StepRecord { phase: Phase::Finish, ..step(1, State::Done) };
    for bogus in [&other_name, &other_phase] {
        std::fs::write(&path, format!("{text}{}{}", line(bogus), line(&step(3, State::Intent)))).unwrap();
        let error = read(job.path()).unwrap_err();
        assert!(matches!(error, RecordsError::Damaged { line: 8, .. }), "{error}");
        // At the end it may be what a power loss has left.
        std::fs::write(&path, format!("{text}{}", line(bogus))).unwrap();
        let records = read(job.path()).unwrap();
        assert!(records.cut_short);
        assert_eq!(records.build("qemu.web").unwrap().latest()[0].name, "step 1");
        let begun = format!("{}\n", serde_json::to_string(&header("qemu.web")).unwrap());
        std::fs::write(&path, format!("{text}{begun}{}", line(bogus))).unwrap();
        assert!(!read(job.path()).unwrap().cut_short);
    }
}

#[test]
fn phases_are_in_order_and_spelt_as_in_the_file() {
    let phases = [Phase::Prepare, Phase::BringUp, Phase::Provision, Phase::Finish, Phase::PostProcess];
    assert!(phases.is_sorted());
    for phase in phases {
        assert_eq!(serde_json::to_value(phase).unwrap(), phase.as_str());
    }
    for state in [State::Intent, State::Done, State::Failed] {
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
}
