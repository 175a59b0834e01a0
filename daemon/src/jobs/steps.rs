//! The steps of a job's builds, from the records that its worker has written and synced.

use kiln_builder::records::{self, BuildRecords, Phase, Records, State, StepRecord};
use kiln_protocol::{JobId, without_codes};

use super::shared::Shared;
use crate::explain::explain;
use crate::journal::{StepPhase, StepRow, StepState};

/// Steps of a job that are kept, and bytes of what is said of them: a build has tens of steps.
const MAX_STEPS: usize = 2000;
const MAX_BYTES: usize = 1 << 20;

/// Says what is wrong with the records of a job, when that costs steps. The last line of a job that is not over may be half written.
pub(super) async fn note(shared: &Shared, id: &JobId, is_over: bool) -> Option<String> {
    let directory = shared.directory(id);
    match directory.as_owner(|directory| records::read(&directory.root)).await {
        Ok(Records { cut_short: true, .. }) if is_over => {
            Some("the last record of its steps was cut short; what it was to say is lost".to_owned())
        }
        Ok(_) => None,
        Err(error) => Some(format!("its steps are known in part only: {}; {}", explain(&error), error.hint())),
    }
}

/// Puts what is recorded of a job's steps into the journal; says why that failed.
pub(super) async fn carry_over(shared: &Shared, id: &JobId) -> Result<(), String> {
    let directory = shared.directory(id);
    let records = directory.as_owner(|directory| records::read(&directory.root)).await;
    let records = records.map_err(|error| explain(&error))?;
    let rows: Vec<_> = records.builds.iter().flat_map(rows).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let bytes = rows.iter().map(|row| {
        let error = row.error.as_ref().map_or(0, String::len);
        row.build.len() + row.name.len() + row.started_at.len() + error
    });
    if rows.len() > MAX_STEPS || bytes.sum::<usize>() > MAX_BYTES {
        return Err(format!(
            "the records of the job tell of {} steps; kilnd keeps {MAX_STEPS} of a job at most, and {} KiB of what is said of them",
            rows.len(),
            MAX_BYTES >> 10
        ));
    }
    let written = if records.cut_short {
        // The journal may know a step whose record was lost since.
        shared.journal.update_steps(id.as_str(), rows).await
    } else {
        shared.journal.set_steps(id.as_str(), rows).await
    };
    written.map_err(|error| explain(&error))
}

/// Returns a row for each step of a build: what its last line says, since when.
fn rows(build: &BuildRecords) -> impl Iterator<Item = StepRow> {
    build.latest().into_iter().map(|last| {
        let is_its_intent = |record: &&StepRecord| record.number == last.number && record.state == State::Intent;
        let begun = build.steps.iter().rfind(is_its_intent);
        StepRow {
            build: last.build.clone(),
            number: last.number,
            phase: match last.phase {
                Phase::Prepare => StepPhase::Prepare,
                Phase::BringUp => StepPhase::BringUp,
                Phase::Provision => StepPhase::Provision,
                Phase::Finish => StepPhase::Finish,
                Phase::PostProcess => StepPhase::PostProcess,
            },
            name: last.name.clone(),
            state: match last.state {
                State::Intent => StepState::Intent,
                State::Done => StepState::Done,
                State::Failed => StepState::Failed,
            },
            started_at: begun.unwrap_or(last).at.clone(),
            elapsed_ms: last.elapsed_ms,
            error: last.error.as_deref().map(|error| without_codes(error).into_owned()),
        }
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use kiln_builder::records::RecordsError;
    use serde_json::json;

    use super::*;
    use crate::job_dir::JobDir;

    fn directory(scratch: &Path) -> JobDir {
        JobDir { root: scratch.to_owned(), runtime: scratch.join("run") }
    }

    fn line(number: u32, state: &str, at: &str) -> String {
        let elapsed = (state != "intent").then_some(7);
        let error = (state == "failed").then_some("cannot read a: No such file or directory (os error 2)");
        let line = json!({
            "build": "qemu.a", "number": number, "phase": "provision", "name": format!("provisioner {number} (shell)"),
            "state": state, "at": at, "elapsed_ms": elapsed, "error": error,
        });
        format!("{line}\n")
    }

    #[test]
    fn a_step_is_what_its_last_line_says_since_it_was_last_begun() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = directory(scratch.path());
        assert_eq!(records::read(&directory.root).unwrap(), Records::default(), "nothing was recorded");
        let mut text = "{\"version\":1,\"build\":\"qemu.a\",\"plan\":\"aa\"}\n".to_owned();
        for (number, state, at) in [
            (1, "intent", "2026-01-02T03:04:05Z"),
            (1, "failed", "2026-01-02T03:04:06Z"),
            (1, "intent", "2026-01-02T03:05:05Z"),
            (1, "done", "2026-01-02T03:05:06Z"),
            (2, "intent", "2026-01-02T03:05:07Z"),
            (2, "failed", "2026-01-02T03:05:08Z"),
            (3, "intent", "2026-01-02T03:05:09Z"),
        ] {
            text += &line(number, state, at);
        }
        // A power loss cut the next one short.
        text += "{\"build\":\"qemu.a\",\"num";
        std::fs::write(directory.steps(), &text).unwrap();
        let rows: Vec<_> = records::read(&directory.root).unwrap().builds.iter().flat_map(rows).collect();
        let said: Vec<_> = rows.iter().map(|row| (row.number, row.state, &*row.started_at, row.elapsed_ms)).collect();
        assert_eq!(
            said,
            [
                (1, StepState::Done, "2026-01-02T03:05:05Z", Some(7)),
                (2, StepState::Failed, "2026-01-02T03:05:07Z", Some(7)),
                (3, StepState::Intent, "2026-01-02T03:05:09Z", None),
            ]
        );
        assert_eq!(rows[1].error.as_deref(), Some("cannot read a: No such file or directory"));
        assert_eq!((rows[0].phase, &*rows[0].name), (StepPhase::Provision, "provisioner 1 (shell)"));
    }

    #[test]
    fn newer_records_and_what_is_no_file_are_refused_and_nothing_waits() {
        let scratch = tempfile::tempdir().unwrap();
        let directory = directory(scratch.path());
        std::fs::write(directory.steps(), "{\"version\":999,\"build\":\"qemu.a\"}\n{}\n").unwrap();
        assert!(matches!(records::read(&directory.root), Err(RecordsError::Newer { found: 999, .. })));
        std::fs::remove_file(directory.steps()).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(directory.steps()).status().unwrap().success());
        let error = records::read(&directory.root).unwrap_err();
        assert!(explain(&error).contains("it is a fifo"), "{error:?}");
    }
}
