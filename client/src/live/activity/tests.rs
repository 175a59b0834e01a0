//! What the live lines say of events, one after the other.

use serde_json::{Value, json};

use super::*;

fn activities(events: &[(u32, Value)]) -> Activities {
    let mut activities = Activities::default();
    for (index, (second, event)) in events.iter().enumerate() {
        let mut event = event.clone();
        event["seq"] = json!(index + 1);
        event["time"] = json!(at(*second).to_string());
        activities.event(&serde_json::from_value(event).unwrap());
    }
    activities
}

fn at(second: u32) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + i64::from(second)).unwrap()
}

fn lines(activities: &Activities, second: u32) -> Vec<String> {
    activities.lines(at(second), 80, 24)
}

fn wait(what: &str, limit_s: Option<u64>) -> Value {
    json!({"kind": "waiting", "build": "a", "what": what, "limit_us": limit_s.map(|limit| limit * 1_000_000)})
}

fn progress(done: u64, total: Option<u64>) -> Value {
    json!({"kind": "progress", "build": "a", "what": "x.iso", "done": done, "total": total})
}

#[test]
fn a_wait_has_one_line_from_two_seconds_on_until_it_is_over() {
    let mut waiting = activities(&[(0, wait("connect", Some(600)))]);
    assert!(lines(&waiting, 1).is_empty());
    assert_eq!(lines(&waiting, 41), ["a: connect 0:41 of 10:00"]);
    waiting.event(
        &serde_json::from_value(json!({
            "seq": 2, "time": at(50).to_string(), "kind": "wait_finished", "build": "a", "what": "connect"
        }))
        .unwrap(),
    );
    assert!(lines(&waiting, 51).is_empty());
    for over in [
        json!({"kind": "build_finished", "build": "a", "elapsed_us": 1}),
        json!({"kind": "job_finished", "state": "failed", "exit_code": 1, "elapsed_us": 1}),
        json!({"kind": "step_finished", "build": "a", "step": "connect", "elapsed_us": 1}),
    ] {
        assert!(lines(&activities(&[(0, wait("connect", None)), (5, over)]), 60).is_empty());
    }
    let other = json!({"kind": "build_finished", "build": "b", "elapsed_us": 1});
    assert_eq!(lines(&activities(&[(0, wait("connect", None)), (5, other)]), 60), ["a: connect 1:00"]);
}

#[test]
fn a_step_is_told_of_when_there_is_nothing_more_exact() {
    let step = json!({"kind": "step_started", "build": "a", "step": "start"});
    let quiet = activities(&[(0, step.clone())]);
    assert_eq!(lines(&quiet, 5), ["a: starting the machine 0:05"]);
    let exact = activities(&[(0, step), (3, wait("the probe", Some(20)))]);
    // A wait that has just begun is what goes on: the step's line would name the wrong thing, and its clock would seem to go back.
    assert_eq!(lines(&exact, 4), ["a: the probe 0:01 of 0:20"]);
    assert_eq!(lines(&exact, 6), ["a: the probe 0:03 of 0:20"]);
}

#[test]
fn a_transfer_stands_back_for_a_wait_that_began_after_its_last_bytes() {
    let next = wait("the next try of x.iso", Some(4));
    let over = json!({"kind": "wait_finished", "build": "a", "what": "the next try of x.iso"});
    let step = json!({"kind": "step_started", "build": "a", "step": "fetch"});
    let mut events = vec![(0, step), (1, progress(5, Some(10))), (8, next.clone())];
    assert_eq!(lines(&activities(&events), 9), ["a: the next try of x.iso 0:01 of 0:04"]);
    assert_eq!(lines(&activities(&events), 11), ["a: the next try of x.iso 0:03 of 0:04"]);
    // Then it goes on where it was.
    events.extend([(12, over.clone()), (13, progress(6, Some(10)))]);
    let shown = lines(&activities(&events), 14);
    assert!(shown.len() == 1 && shown[0].starts_with("a: x.iso [####"), "{shown:?}");
    // Before the first byte the step is told of between the tries.
    let step = json!({"kind": "step_started", "build": "a", "step": "fetch"});
    let refused = [(0, step), (3, next), (7, over)];
    assert_eq!(lines(&activities(&refused[..2]), 3), ["a: the next try of x.iso 0:00 of 0:04"]);
    assert_eq!(lines(&activities(&refused), 8), ["a: getting the image 0:08"]);
}

#[test]
fn data_sources_are_told_of_before_any_build_is_known() {
    let asked = |name: &str| format!("data.http.{name}: asking https://a.example/{name}");
    let event = |kind: &str, name: &str| json!({"kind": kind, "what": asked(name)});
    let mut events = vec![(0, json!({"kind": "job_started", "pid": 1, "version": "1"})), (1, event("waiting", "x"))];
    assert_eq!(lines(&activities(&events), 5), ["data.http.x: asking https://a.example/x 0:04"]);
    assert_eq!(activities(&events).heartbeat(at(31)), ["data.http.x: asking https://a.example/x 0:30"]);
    events.extend([(6, event("wait_finished", "x")), (6, event("waiting", "y"))]);
    assert_eq!(lines(&activities(&events), 9), ["data.http.y: asking https://a.example/y 0:03"]);
    events.push((10, event("wait_finished", "y")));
    assert!(lines(&activities(&events), 20).is_empty());
}

#[test]
fn a_job_in_the_queue_waits_until_it_is_started() {
    let mut queued = Activities::default();
    queued.begin_wait(None, "waiting for other jobs", at(0));
    assert_eq!(lines(&queued, 65), ["waiting for other jobs 1:05"]);
    let started = json!({"seq": 1, "time": at(66).to_string(), "kind": "job_started", "pid": 1, "version": "1"});
    queued.event(&serde_json::from_value(started).unwrap());
    // Before its first word, as while a data source is asked.
    assert_eq!(lines(&queued, 70), ["working 0:04"]);
    let planned = json!({"seq": 2, "time": at(71).to_string(), "build": "a", "kind": "build_planned", "position": 0});
    queued.event(&serde_json::from_value(planned).unwrap());
    assert!(lines(&queued, 75).is_empty());
}

#[test]
fn a_transfer_at_its_end_is_not_drawn_and_has_no_rate_out_of_nothing() {
    const MIB: u64 = 1 << 20;
    let running: Vec<_> = (0..5).map(|second| (second, progress(u64::from(second) * MIB, Some(10 * MIB)))).collect();
    let line = &lines(&activities(&running), 4)[0];
    assert!(line.starts_with("a: x.iso [####") && line.contains("] 40% 4.00 MiB/10.00 MiB"), "{line}");
    assert!(line.contains(" 0:06 left"), "{line}");
    assert!(line.ends_with(" 1.00 MiB/s"), "{line}");
    // A sparse file is done at once, and says so again and again.
    let jump: Vec<_> = std::iter::repeat_n((0, progress(10 * MIB, Some(10 * MIB))), 37).collect();
    assert!(lines(&activities(&jump), 3).is_empty());
    let almost = activities(&[(0, progress(0, Some(10 * MIB))), (0, progress(9 * MIB, Some(10 * MIB)))]);
    assert!(!lines(&almost, 1)[0].contains("/s"), "{:?}", lines(&almost, 1));
    // What was there before is not counted as having come now; one that has stopped slows down.
    let resumed = activities(&[(0, progress(5 * MIB, None)), (2, progress(6 * MIB, None))]);
    assert_eq!(lines(&resumed, 2), ["a: x.iso 6.00 MiB 512.00 KiB/s 0:02"]);
    assert_eq!(lines(&resumed, 8), ["a: x.iso 6.00 MiB 128.00 KiB/s 0:08"]);
}

#[test]
fn transfers_end_with_the_wait_that_they_are_for() {
    let over = json!({"kind": "wait_finished", "build": "a", "what": "file provisioner"});
    let uploaded = activities(&[(0, wait("file provisioner", None)), (1, progress(4, Some(5))), (2, over)]);
    assert!(lines(&uploaded, 9).is_empty());
}

#[test]
fn no_more_lines_than_a_third_of_the_screen() {
    let many: Vec<_> = (0..20).map(|index| (0, wait(&format!("wait {index}"), None))).collect();
    let lines = activities(&many).lines(at(9), 80, 24);
    assert_eq!((lines.len(), lines[7].as_str()), (8, "and 13 more"));
    assert_eq!(activities(&many).lines(at(9), 0, 0), ["and 20 more"]);
}

#[test]
fn silence_is_broken_every_half_minute() {
    let said = json!({"kind": "say", "build": "a", "text": "x"});
    let mut waiting = activities(&[(0, wait("connect", Some(600))), (20, said)]);
    let told: Vec<_> = (0..=120).map(|second| (second, waiting.heartbeat(at(second)))).collect();
    let told: Vec<_> = told.into_iter().filter(|(_, lines)| !lines.is_empty()).collect();
    assert_eq!(
        told,
        [
            (50, vec!["a: connect 0:50 of 10:00".to_owned()]),
            (80, vec!["a: connect 1:20 of 10:00".to_owned()]),
            (110, vec!["a: connect 1:50 of 10:00".to_owned()]),
        ]
    );
}

#[test]
fn many_short_waits_are_silence_too() {
    let step = json!({"kind": "step_started", "build": "a", "step": "provision"});
    let mut events = vec![(0, step)];
    for start in (0..40).step_by(10) {
        events.push((start, wait("clean-up", None)));
        events.push((start + 9, json!({"kind": "wait_finished", "build": "a", "what": "clean-up"})));
    }
    assert_eq!(activities(&events[..7]).heartbeat(at(29)), [""; 0]);
    assert_eq!(activities(&events[..8]).heartbeat(at(30)), ["a: clean-up 0:00"]);
}
