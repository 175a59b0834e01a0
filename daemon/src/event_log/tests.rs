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
fn who_begins_at_the_end_of_a_long_file_does_not_read_what_lies_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    let mut lines = Vec::new();
    for seq in 1..=100_000 {
        // Lines of many lengths, and some that are no events.
        let text = "x".repeat(seq % 97 * usize::from(seq % 7 == 0) * 10);
        writeln!(lines, r#"{{"seq":{seq},"time":"t","kind":"say","text":"{text}"}}"#).unwrap();
        if seq % 1000 == 0 {
            writeln!(lines, "garbage").unwrap();
        }
    }
    std::fs::write(&path, &lines).unwrap();
    for after in [1, 2, 999, 1000, 50_000, 99_999] {
        let mut reader = EventReader::open(&path, after).unwrap();
        assert_eq!(reader.read_piece().unwrap().unwrap()[0].seq, after + 1, "in the first piece");
    }
    let mut reader = EventReader::open(&path, 100_000).unwrap();
    assert!(lines.len() as u64 - reader.offset() < 128 << 10, "{} of {}", reader.offset(), lines.len());
    assert_eq!(reader.read_batch().unwrap(), []);

    // Numbers that mean nothing, and lines too long to be seen: it ends, and nothing that is wanted is skipped.
    let long = "y".repeat(300 << 10);
    for number in ["7", "0", "18446744073709551615"] {
        let text = format!("{{\"seq\":{number},\"kind\":\"say\",\"text\":\"{long}\"}}\n").repeat(4);
        std::fs::write(&path, format!("{text}{{\"seq\":9,\"time\":\"t\",\"kind\":\"say\",\"text\":\"z\"}}\n")).unwrap();
        let first = EventReader::open(&path, 8).unwrap().read_batch().unwrap();
        assert_eq!(first[0].seq.to_string(), if number.len() > 1 { number } else { "9" });
    }
}

#[test]
fn a_read_ends_after_a_piece_whatever_the_file_holds() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    let unwanted = br#"{"seq":1,"time":"t","kind":"say","text":"again"}"#;
    let mut lines = [unwanted.as_slice(), b"garbage"].join(&b'\n').repeat(100_000);
    lines.extend_from_slice(b"\n{\"seq\":2,\"time\":\"t\",\"kind\":\"say\",\"text\":\"at last\"}\n");
    std::fs::write(&path, &lines).unwrap();
    let mut reader = EventReader::open(&path, 1).unwrap();
    let (mut pieces, mut at) = (0, reader.offset());
    while reader.read_piece().unwrap().expect("there is more").is_empty() {
        assert!(reader.offset() - at < 512 << 10, "{} after {at}", reader.offset());
        (pieces, at) = (pieces + 1, reader.offset());
    }
    assert!(pieces > 10, "{pieces}");
    assert_eq!(reader.read_piece().unwrap(), None);
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
    assert_eq!(batch[0].kind, "say", "no error of the job's");
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

#[test]
fn a_writer_that_reads_nothing_goes_on_after_the_last_event() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    let mut writer = EventWriter::open_at_end(&path).unwrap();
    writer.append(None, say("first")).unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"seq\":7,\"kind\":").unwrap();
    let mut writer = EventWriter::open_at_end(&path).unwrap();
    writer.append(None, say("second")).unwrap();
    let ended = EventBody::JobFinished { state: JobState::Failed, exit_code: 1, elapsed_us: 0, error: None };
    writer.append(None, ended).unwrap();
    assert_eq!(numbers(&path), [1, 2, 3]);
    assert!(EventWriter::open_at_end(&path).unwrap().is_finished());
    // What has no end that says anything, however long it is, is not looked through.
    std::fs::write(&path, "garbage\n").unwrap();
    OpenOptions::new().append(true).open(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(EventWriter::open_at_end(&path).is_err());
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

#[tokio::test]
async fn a_file_that_is_written_to_without_end_wakes_its_readers_seldom() {
    use std::io::Write as _;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    let mut file = std::fs::File::create(&path).unwrap();
    let watcher = EventWatcher::start().unwrap();
    let mut subscription = watcher.subscribe(&path).unwrap();
    let began = tokio::time::Instant::now();
    for _ in 0..4 {
        // Whatever comes while it rests is one change.
        (0..100).for_each(|_| file.write_all(b"\n").unwrap());
        tokio::time::timeout(Duration::from_secs(60), subscription.changed()).await.expect("woken");
    }
    assert!(began.elapsed() >= REST * 3, "{:?} for four looks", began.elapsed());
}

fn numbers(path: &std::path::Path) -> Vec<u64> {
    let mut reader = EventReader::open(path, 0).unwrap();
    let mut numbers = Vec::new();
    loop {
        let batch = reader.read_batch().unwrap();
        if batch.is_empty() {
            return numbers;
        }
        numbers.extend(batch.iter().map(|line| line.seq));
    }
}

#[test]
fn a_file_at_its_limit_keeps_its_head_its_tail_and_everything_but_texts() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    let mut writer = EventWriter::open(&path).unwrap().limited_to(1 << 20);
    let mut live = EventReader::open(&path, 0).unwrap();
    let mut seen = Vec::new();
    let mut longest = 0;
    let text = "x".repeat(1000);
    for number in 0..20_000 {
        writer.append(Some("qemu.x".to_owned()), EventBody::Message { text: text.clone(), target: None }).unwrap();
        if number % 1000 == 500 {
            writer.append(None, EventBody::StepStarted { step: format!("step {number}") }).unwrap();
            writer
                .append(None, EventBody::Error { text: format!("error {number}"), target: None, output: false })
                .unwrap();
        }
        longest = longest.max(path.metadata().unwrap().len());
        // A follower that keeps up misses nothing, however often the file is replaced under it.
        if number % 10 == 0 {
            seen.extend(live.read_batch().unwrap().into_iter().map(|line| line.seq));
        }
    }
    loop {
        let batch = live.read_batch().unwrap();
        if batch.is_empty() {
            break;
        }
        seen.extend(batch.into_iter().map(|line| line.seq));
    }
    assert!(longest < (1 << 20) + 4096, "{longest}");
    let last = writer.last();
    assert_eq!(seen, (1..=last).collect::<Vec<_>>());
    let kept = numbers(&path);
    assert!(kept.is_sorted() && kept[..200] == (1..=200).collect::<Vec<_>>()[..], "the head");
    assert!(kept[kept.len() - 200..] == (last - 199..=last).collect::<Vec<_>>()[..], "the tail");
    let whole = std::fs::read_to_string(&path).unwrap();
    for number in (500..20_000).step_by(1000) {
        assert!(
            whole.contains(&format!("\"step {number}\"")) && whole.contains(&format!("\"error {number}\"")),
            "{number}"
        );
    }
    // One line where the cut is, whose number is that of the last event that is missing.
    let markers: Vec<_> = whole.lines().filter(|line| line.contains("are missing before this line")).collect();
    assert_eq!(markers.len(), 1);
    let marker: Event = serde_json::from_str(markers[0]).unwrap();
    assert!(kept.contains(&(marker.seq + 1)) && !kept.contains(&(marker.seq - 1)));
    let missing = last as usize - (kept.len() - 1);
    assert!(markers[0].contains(&format!("\"{missing} events with ")), "{missing}: {}", markers[0]);
    assert!(std::fs::read_dir(directory.path()).unwrap().count() == 1, "no temporary file is left");

    // The next writer (a sweeper) continues the numbers, and readers from any number on find what is there.
    drop(writer);
    let mut sweeper = EventWriter::open(&path).unwrap();
    assert_eq!(sweeper.last(), last);
    sweeper.append(None, say("swept")).unwrap();
    assert_eq!(texts(&live.read_batch().unwrap()), [(last + 1, "swept".into())]);
    let mut late = EventReader::open(&path, marker.seq - 5).unwrap();
    assert_eq!(late.read_batch().unwrap()[0].seq, marker.seq, "who fell behind hears of the cut");
}

#[test]
fn endless_errors_are_kept_to_the_limit_too() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    let mut writer = EventWriter::open(&path).unwrap().limited_to(1 << 20);
    for number in 0..10_000 {
        let text = format!("{number} {}", "e".repeat(1000));
        writer.append(Some("qemu.x".to_owned()), EventBody::Error { text, target: None, output: false }).unwrap();
    }
    // What stays whatever the limit says: the file grows beyond it, but is not copied for every line.
    for number in 0..3_000 {
        let step = format!("{number} {}", "s".repeat(1000));
        writer.append(Some("qemu.x".to_owned()), EventBody::StepStarted { step }).unwrap();
    }
    let length = path.metadata().unwrap().len();
    assert!((3_000_000..5_000_000).contains(&length), "{length}");
    assert_eq!(last_event(&path).unwrap().unwrap().seq, writer.last());
}

#[test]
fn the_last_event_is_found_from_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    let last = || last_event(&path).unwrap().map(|line| (line.seq, line.kind, line.text.len()));
    assert!(last_event(&path).is_err(), "missing");
    std::fs::write(&path, "").unwrap();
    assert_eq!(last(), None);
    let mut writer = EventWriter::open(&path).unwrap();
    writer.append(None, say(&"\u{1}".repeat(400 << 10))).unwrap();
    assert_eq!(last().unwrap().0, 1);
    writer.append(None, say("b")).unwrap();
    let whole = last().unwrap();
    assert_eq!((whole.0, whole.1.as_str()), (2, "say"));
    OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"seq\":3,\"kind\":").unwrap();
    assert_eq!(last().unwrap().0, 2, "a line without an end does not count");
    std::fs::write(&path, "no event\n").unwrap();
    assert_eq!(last(), None);
}

#[tokio::test]
async fn subscribers_wake_when_the_file_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("events.ndjson");
    let mut writer = EventWriter::open(&path).unwrap().limited_to(1 << 20);
    let watcher = EventWatcher::start().unwrap();
    let mut subscription = watcher.subscribe(&path).unwrap();
    let mut reader = EventReader::open(&path, 0).unwrap();
    let mut seen = 0;
    for _ in 0..20 {
        for _ in 0..3 {
            writer.append(None, say(&"x".repeat(100 << 10))).unwrap();
        }
        tokio::time::timeout(Duration::from_secs(5), subscription.changed()).await.expect("woken");
        loop {
            let batch = reader.read_batch().unwrap();
            let Some(last) = batch.last() else { break };
            seen = last.seq;
        }
        assert_eq!(seen, writer.last());
    }
}
