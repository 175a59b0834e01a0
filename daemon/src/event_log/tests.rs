//! What readers see while a writer writes, dies and comes back.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::time::Duration;

use kiln_protocol::{Event, EventBody, JobState};

use super::*;

fn say(text: &str) -> EventBody {
    EventBody::Say { text: text.to_owned(), target: None }
}

fn texts(batch: &[EventLine]) -> Vec<(u64, String)> {
    batch
        .iter()
        .map(|line| {
            let event: Event = serde_json::from_slice(&line.text).unwrap();
            assert_eq!(event.seq, line.seq);
            match event.body {
                EventBody::Say { text, .. } | EventBody::Error { text, .. } => (event.seq, text),
                other => (event.seq, format!("{other:?}")),
            }
        })
        .collect()
}

#[test]
fn readers_start_at_any_number() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    let mut writer = EventWriter::open(&path).unwrap();
    for text in ["a", "b", "c"] {
        writer.append(Some("qemu.x".to_owned()), say(text)).unwrap();
    }
    let mut all = EventReader::open(&path, 0).unwrap();
    assert_eq!(texts(&all.read_batch().unwrap()), [(1, "a".into()), (2, "b".into()), (3, "c".into())]);
    assert_eq!(all.read_batch().unwrap(), []);
    let mut rest = EventReader::open(&path, 2).unwrap();
    assert_eq!(texts(&rest.read_batch().unwrap()), [(3, "c".into())]);
    let mut none = EventReader::open(&path, 99).unwrap();
    assert_eq!(none.read_batch().unwrap(), []);
    writer.append(None, say("d")).unwrap();
    assert_eq!(texts(&all.read_batch().unwrap()), [(4, "d".into())]);
}

#[test]
fn a_line_cut_by_a_crash_is_never_seen_and_numbers_go_on() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    EventWriter::open(&path).unwrap().append(None, say("whole")).unwrap();
    let mut file = OpenOptions::new().append(true).open(&path).unwrap();
    file.write_all(br#"{"seq":2,"time":"t","kind":"say","text":"ha"#).unwrap();
    let mut reader = EventReader::open(&path, 0).unwrap();
    assert_eq!(texts(&reader.read_batch().unwrap()), [(1, "whole".into())]);
    assert_eq!(reader.read_batch().unwrap(), []);

    let mut writer = EventWriter::open(&path).unwrap();
    assert_eq!(writer.last(), 1);
    writer.append(None, say("after")).unwrap();
    assert_eq!(texts(&reader.read_batch().unwrap()), [(2, "after".into())], "the old reader carries on");
}

#[test]
fn lines_longer_than_a_chunk_are_read_and_texts_are_cut() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    let mut writer = EventWriter::open(&path).unwrap();
    writer.append(None, say(&"ä".repeat(150 << 10))).unwrap();
    writer.append(None, say(&"\u{1}".repeat(2 << 20))).unwrap();
    let mut reader = EventReader::open(&path, 0).unwrap();
    let first = texts(&reader.read_batch().unwrap());
    assert_eq!(first[0].1.len(), 300 << 10);
    let second = texts(&reader.read_batch().unwrap());
    assert!(second[0].1.ends_with("(cut)") && second[0].1.len() < 600 << 10);
}

#[test]
fn nothing_follows_the_last_event() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    let last = EventBody::JobFinished { state: JobState::Failed, exit_code: 1, elapsed_us: 5, error: None };
    let mut writer = EventWriter::open(&path).unwrap();
    writer.append(None, last).unwrap();
    writer.append(None, say("late")).unwrap();
    assert!(EventWriter::open(&path).unwrap().is_finished());
    let batch = EventReader::open(&path, 0).unwrap().read_batch().unwrap();
    assert_eq!(batch.len(), 1);
    assert!(batch[0].is_last());
}

#[test]
fn lost_events_are_mentioned() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    let mut writer = EventWriter::open(&path).unwrap();
    writer.lose_for_test(3);
    writer.append(None, say("again")).unwrap();
    let batch = EventReader::open(&path, 0).unwrap().read_batch().unwrap();
    let expected = "3 events are missing here: they could not be written";
    assert_eq!(texts(&batch), [(1, expected.into()), (2, "again".into())]);
}

#[test]
fn a_foreign_file_is_refused_not_swallowed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    std::fs::write(&path, vec![b'x'; (4 << 20) + 10]).unwrap();
    let error = EventReader::open(&path, 0).unwrap().read_batch().unwrap_err();
    assert!(matches!(error, ReadError::LineTooLong { offset: 0, .. }), "{error}");
    std::fs::write(&path, b"not json\n\n{\"seq\":1,\"kind\":\"say\"}\n").unwrap();
    assert_eq!(EventReader::open(&path, 0).unwrap().read_batch().unwrap().len(), 1);
}

#[tokio::test]
async fn subscribers_wake_when_the_file_grows() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    let mut writer = EventWriter::open(&path).unwrap();
    let watcher = EventWatcher::start().unwrap();
    let mut first = watcher.subscribe(&path).unwrap();
    let second = watcher.subscribe(&path).unwrap();
    drop(second);
    for _ in 0..3 {
        writer.append(None, say("x")).unwrap();
        tokio::time::timeout(Duration::from_secs(5), first.changed()).await.expect("woken");
    }
    drop(first);
    let mut again = watcher.subscribe(&path).unwrap();
    writer.append(None, say("x")).unwrap();
    tokio::time::timeout(Duration::from_secs(5), again.changed()).await.expect("woken after a new subscription");
}
