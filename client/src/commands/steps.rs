//! The steps of a job's builds, as a table.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use kiln_protocol::{Job, StepPhase, StepState, StepSummary};

use super::clock;
use super::first_line::first_line;
use crate::visible;

/// Microseconds of a second, and those from which on tenths of seconds say nothing.
const SECOND: u64 = 1_000_000;
const MINUTE: u64 = 60 * SECOND;

/// Lists the steps of each build, with when they began and how long they took.
pub(super) fn of(job: &Job, zone: &TimeZone, now: Timestamp) -> String {
    let mut text = String::new();
    for build in job.builds.iter().filter(|build| !build.steps.is_empty()) {
        let rows: Vec<_> = build.steps.iter().map(|step| Row::of(step, zone, now)).collect();
        let width = rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0).max("STEP".len());
        // Writing to a text cannot fail.
        let _ = writeln!(text, "\n{}", visible::name(&build.name));
        let _ = writeln!(
            text,
            "  {:>2}  {:12}  {:width$}  {:11}  {:8}  {:>6}",
            "NO", "PHASE", "STEP", "STATE", "BEGAN", "TOOK"
        );
        for (step, Row { name, began, took }) in build.steps.iter().zip(&rows) {
            let (number, phase, state) = (step.number, phase(step.phase), step.state.as_str());
            let _ = writeln!(text, "  {number:>2}  {phase:12}  {name:width$}  {state:11}  {began:8}  {took:>6}");
            if let Some(error) = &step.error {
                let _ = writeln!(text, "      error: {}", visible::name(&first_line(error)));
            }
        }
    }
    text
}

/// What of a step has to be made first.
struct Row {
    name: String,
    began: String,
    took: String,
}

impl Row {
    fn of(step: &StepSummary, zone: &TimeZone, now: Timestamp) -> Self {
        let started = step.started_at.parse::<Timestamp>().ok();
        let began = started.map(|time| time.to_zoned(zone.clone()).strftime("%H:%M:%S").to_string());
        let running = step.state == StepState::Running;
        let elapsed = step.elapsed_us.or_else(|| {
            let since = started.filter(|_| running)?.duration_until(now);
            u64::try_from(since.as_micros()).ok()
        });
        Self {
            name: visible::name(&step.name).into_owned(),
            began: began.unwrap_or_else(|| "-".to_owned()),
            took: elapsed.map_or_else(|| "-".to_owned(), span),
        }
    }
}

/// Spells a time that is mostly short.
fn span(elapsed_us: u64) -> String {
    if elapsed_us < MINUTE {
        // Cut, not rounded: 59.96 s are no minute.
        let tenths = elapsed_us / (SECOND / 10);
        return format!("{}.{}s", tenths / 10, tenths % 10);
    }
    clock::span(i64::try_from(elapsed_us / SECOND).unwrap_or(i64::MAX))
}

fn phase(phase: StepPhase) -> &'static str {
    match phase {
        StepPhase::Prepare => "prepare",
        StepPhase::BringUp => "bring up",
        StepPhase::Provision => "provision",
        StepPhase::Finish => "finish",
        StepPhase::PostProcess => "post-process",
        StepPhase::Unknown => "-",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_listed_with_their_times_and_errors() {
        let job: Job = serde_json::from_str(
            r#"{"id":"aaaaaaaaaa","kind":"build","template":"t","working_directory":"/w","state":"running",
                "created_at":"2026-01-02T03:04:05.678Z","last_event":3,"builds":[
                {"name":"file.a","state":"succeeded","artifacts":[]},
                {"name":"qemu.web","state":"running","artifacts":[],"steps":[
                 {"number":1,"phase":"prepare","name":"fetch","state":"done","started_at":"2026-01-02T03:04:06.1Z","elapsed_us":59960000},
                 {"number":2,"phase":"bring_up","name":"connect","state":"done","started_at":"2026-01-02T03:05:06Z","elapsed_us":61000000},
                 {"number":3,"phase":"provision","name":"provisioner 1 (shell)","state":"failed","started_at":"2026-01-02T03:06:07Z",
                  "elapsed_us":400000,"error":"Script exited with 3\nmore"},
                 {"number":4,"phase":"provision","name":"provisioner 2 (\u001b[2Jfile)","state":"running",
                  "started_at":"2026-01-02T03:06:08Z"},
                 {"number":5,"phase":"later","name":"x","state":"interrupted","started_at":"soon"}]}]}"#,
        )
        .unwrap();
        let expected = "
qemu.web
  NO  PHASE         STEP                       STATE        BEGAN       TOOK
   1  prepare       fetch                      done         03:04:06   59.9s
   2  bring up      connect                    done         03:05:06   1m01s
   3  provision     provisioner 1 (shell)      failed       03:06:07    0.4s
      error: Script exited with 3
   4  provision     provisioner 2 (^[[2Jfile)  running      03:06:08    2.0s
   5  -             x                          interrupted  -              -
";
        assert_eq!(of(&job, &TimeZone::UTC, "2026-01-02T03:06:10Z".parse().unwrap()), expected);
    }
}
