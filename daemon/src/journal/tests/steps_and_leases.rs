//! Steps and leases.

use super::*;

fn step(build: &str, number: u32, state: StepState) -> StepRow {
    StepRow {
        build: build.to_owned(),
        number,
        phase: StepPhase::Provision,
        name: format!("provisioner {number} (shell)"),
        state,
        started_at: "2026-01-02T03:05:00Z".to_owned(),
        elapsed_ms: (state != StepState::Intent).then_some(1_500),
        error: (state == StepState::Failed).then(|| "exit status 3".to_owned()),
    }
}

async fn planned(journal: &Journal, number: u64, build: &str) {
    journal.insert(new_job(number, None)).await.unwrap();
    let observation = Observation { event: 1, build: build.to_owned(), fact: Fact::Planned { position: 0 } };
    journal.observe(&id(number), vec![observation], 1).await.unwrap();
}

#[tokio::test]
async fn steps_are_as_they_were_last_told_also_after_a_restart() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("kiln.db");
    let last = [step("qemu.a", 1, StepState::Done), step("qemu.a", 2, StepState::Failed)];
    {
        let journal = Journal::open(&path).unwrap();
        planned(&journal, 1, "qemu.a").await;
        journal.set_steps(&id(1), vec![step("qemu.a", 1, StepState::Intent)]).await.unwrap();
        assert_eq!(journal.steps(&id(1)).await.unwrap(), [step("qemu.a", 1, StepState::Intent)]);
        // A build that no event has told of is nobody's.
        let mut told = vec![step("qemu.b", 1, StepState::Done)];
        told.extend(last.clone());
        journal.set_steps(&id(1), told.clone()).await.unwrap();
        journal.set_steps(&id(1), told).await.unwrap();
    }
    let journal = Journal::open(&path).unwrap();
    assert_eq!(journal.steps(&id(1)).await.unwrap(), last);
    journal.update_steps(&id(1), vec![step("qemu.a", 1, StepState::Intent)]).await.unwrap();
    let known = [step("qemu.a", 1, StepState::Intent), last[1].clone()];
    assert_eq!(journal.steps(&id(1)).await.unwrap(), known, "the second is known still");
    journal.finish(&id(1), early(JobState::Failed, None)).await.unwrap();
    assert!(journal.forget(&id(1)).await.unwrap());
    assert_eq!(journal.steps(&id(1)).await.unwrap(), [], "forgotten with their job");
}

#[tokio::test]
async fn a_lease_lasts_from_the_worker_to_the_end_of_its_job() {
    let scratch = tempfile::tempdir().unwrap();
    let journal = Journal::open(&scratch.path().join("kiln.db")).unwrap();
    planned(&journal, 1, "qemu.a").await;
    let lease = |pid| Lease {
        holder: ProcessIdentity { pid, start_ticks: u64::from(pid), boot_id: "boot".to_owned() },
        ledger: "jobs/job1/resources.ndjson".to_owned(),
    };
    let since = || "2026-01-02T03:05:00.000Z".to_owned();
    let held = async || journal.unfinished().await.unwrap().into_iter().next().and_then(|job| job.lease);
    assert_eq!(held().await, None);
    for pid in [7, 8] {
        // The second worker found the first dead, or was faster than it.
        journal.take_lease(&id(1), lease(pid), since()).await.unwrap();
        assert_eq!(held().await, Some(lease(pid)));
    }
    journal.finish(&id(1), early(JobState::Succeeded, None)).await.unwrap();
    // Told late: what is over holds nothing.
    journal.take_lease(&id(1), lease(9), since()).await.unwrap();
    journal.take_lease("nobody", lease(9), since()).await.unwrap();
    let connection = Connection::open(scratch.path().join("kiln.db")).unwrap();
    let count: i64 = connection.query_row("SELECT count(*) FROM leases", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 0);
}
