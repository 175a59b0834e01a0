//! What becomes of jobs that are over and still hold something.

use kiln_protocol::{EventBody, JobState};

use super::*;

const MACHINE: &str = "{\"held\":true,\"kind\":\"registered\",\"hypervisor\":\"fake\",\"id\":\"web\"}\n";

const ATTEMPT: &str = "give back with PATH Some(\"/usr/bin\")";

impl Rig {
    /// Runs a job to its end whose machine could not be given back.
    async fn leave_a_machine(&self) -> JobId {
        self.leave_a_machine_of(&self.owner, 0, "/usr/bin").await
    }

    /// Does so for this user, with worker number `index` and this PATH.
    async fn leave_a_machine_of(&self, user: &Caller, index: usize, path: &str) -> JobId {
        let mut left = submission("a");
        for (name, value) in [("PATH", path), ("SECRET", "s3cr3t")] {
            left.request.environment.insert(name.to_owned(), value.to_owned());
        }
        let id = self.jobs.submit(user, left).await.unwrap().0.id;
        self.until_for(user, &id, |job| job.state == JobState::Running).await;
        std::fs::write(self.directory(&id).join("resources.ndjson"), MACHINE).unwrap();
        let (state, error) = (JobState::Failed, None);
        self.launcher.say(index, None, EventBody::JobFinished { state, exit_code: 1, elapsed_us: 1, error });
        self.launcher.end(index, 1);
        self.until_for(user, &id, |job| job.state.is_over()).await;
        id
    }

    fn directory(&self, id: &JobId) -> std::path::PathBuf {
        self._scratch.path().join("state/kiln/jobs").join(id.as_str())
    }

    fn request(&self, id: &JobId) -> String {
        std::fs::read_to_string(self.directory(id).join("request.json")).unwrap()
    }

    /// Waits until it was tried so often to give something back.
    async fn until_tried(&self, times: usize) {
        self.until_called(ATTEMPT, times).await;
    }

    async fn until_called(&self, wanted: &str, times: usize) {
        let tried = async {
            while self.launcher.calls().iter().filter(|call| *call == wanted).count() < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, tried).await.expect("tried in time");
    }
}

#[tokio::test]
async fn a_machine_that_stays_is_tried_again_and_told_and_keeps_its_job() {
    let rig = Rig::new(1).await;
    rig.launcher.stays(Some("web: it is locked"));
    let id = rig.leave_a_machine().await;
    rig.until_tried(1).await;
    let notes = rig.job(&id).await.notes.join("\n");
    assert!(notes.contains("still holds the machine web of fake"), "{notes}");
    let request = rig.request(&id);
    assert!(request.contains("/usr/bin") && !request.contains("s3cr3t"), "{request}");

    assert!(rig.jobs.is_busy().await.unwrap(), "a daemon that may end when nothing is to be done waits for it");

    let error = rig.jobs.remove(&rig.owner, &id).await.unwrap_err();
    let said = error.to_string();
    assert_eq!(
        said,
        format!("job {id} still holds the machine web of fake, which could not be given back: web: it is locked")
    );
    assert!(rig.directory(&id).join("resources.ndjson").exists(), "all that knows of the machine");
    rig.job(&id).await;

    // Again when another job is over, and this time it goes; then nothing keeps the job.
    rig.launcher.stays(None);
    let tried = rig.launcher.calls().iter().filter(|call| *call == ATTEMPT).count();
    let other = rig.submit("b").await;
    rig.until(&other, |job| job.state == JobState::Running).await;
    rig.launcher.end(1, 3);
    rig.until_tried(tried + 1).await;
    rig.until(&id, |job| !job.notes.iter().any(|note| note.contains("still holds"))).await;
    let idle = async {
        while rig.jobs.is_busy().await.unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, idle).await.expect("idle in time");
    rig.jobs.remove(&rig.owner, &id).await.unwrap();
    assert!(!rig.directory(&id).exists());
}

#[tokio::test]
async fn removing_a_job_gives_its_machine_back_first() {
    let rig = Rig::new(1).await;
    rig.launcher.stays(Some("locked"));
    let id = rig.leave_a_machine().await;
    rig.until_tried(1).await;
    // Until no attempt goes on any more: who removes it waits for that one, and is told how it went.
    rig.jobs.remove(&rig.owner, &id).await.unwrap_err();
    rig.launcher.stays(None);
    rig.jobs.remove(&rig.owner, &id).await.unwrap();
    assert_eq!(rig.launcher.calls().last().map(String::as_str), Some(ATTEMPT));
    assert!(!rig.directory(&id).exists());
}

#[tokio::test]
async fn old_jobs_that_hold_something_are_not_forgotten() {
    let rig = Rig::with(1, |config| config.limits.finished_jobs = 0).await;
    rig.launcher.stays(Some("locked"));
    let id = rig.leave_a_machine().await;
    for index in 1..3 {
        let other = rig.submit("b").await;
        rig.until(&other, |job| job.state == JobState::Running).await;
        rig.launcher.end(index, 3);
        let gone = async {
            while rig.directory(&other).exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, gone).await.expect("forgotten in time");
    }
    assert_eq!(rig.job(&id).await.state, JobState::Failed);
}

/// What `-on-error=abort` has left in it, because VirtualBox could not move it.
#[tokio::test]
async fn a_job_whose_directory_keeps_a_machine_is_neither_forgotten_nor_removed() {
    let rig = Rig::with(1, |config| config.limits.finished_jobs = 0).await;
    let id = rig.submit("a").await;
    rig.until(&id, |job| job.state == JobState::Running).await;
    let machine = rig.directory(&id).join("work-0/virtualbox-1");
    std::fs::create_dir_all(&machine).unwrap();
    let disk = machine.join("web.vmdk");
    std::fs::write(&disk, "what the guest has written").unwrap();
    std::fs::write(machine.join(".kiln-aborted"), format!("the machine web\n{}\n", disk.display())).unwrap();
    rig.launcher.end(0, 3);
    rig.until(&id, |job| job.state == JobState::Failed).await;
    let other = rig.submit("b").await;
    rig.until(&other, |job| job.state == JobState::Running).await;
    rig.launcher.end(1, 3);
    let gone = async {
        while rig.directory(&other).exists() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("forgotten in time");
    let error = rig.jobs.remove(&rig.owner, &id).await.unwrap_err();
    assert_eq!(error.to_string(), format!("job {id} cannot be removed: in its directory lies the machine web"));
    assert!(rig.job(&id).await.notes.join("\n").contains("its directory keeps the machine web"));
    assert_eq!(std::fs::read_to_string(&disk).unwrap(), "what the guest has written");
    // Its owner has moved it.
    std::fs::remove_file(&disk).unwrap();
    rig.jobs.remove(&rig.owner, &id).await.unwrap();
    assert!(!rig.directory(&id).exists());
}

#[tokio::test]
async fn what_one_user_has_left_keeps_no_other_waiting() {
    let rig = Rig::with(4, |config| config.mode = Mode::System).await;
    let (alice, bob) = (Caller::with_uid(61001), Caller::with_uid(61002));
    rig.launcher.hangs_with("/bob");
    for index in 0..3 {
        rig.leave_a_machine_of(&bob, index, "/bob").await;
    }
    rig.until_called("give back with PATH Some(\"/bob\")", 1).await;
    let id = rig.leave_a_machine_of(&alice, 3, "/alice").await;
    rig.until_called("give back with PATH Some(\"/alice\")", 1).await;
    rig.until_for(&alice, &id, |job| !job.notes.iter().any(|note| note.contains("still holds"))).await;
    rig.jobs.remove(&alice, &id).await.unwrap();
    let of_bob = rig.launcher.calls().iter().filter(|call| call.contains("/bob")).count();
    assert_eq!(of_bob, 1, "one after the other");
}

#[tokio::test]
async fn a_ledger_is_looked_at_when_its_job_is_over_and_not_at_every_other_ending() {
    let rig = Rig::with(1, |config| config.limits.finished_jobs = 1).await;
    let mut jobs = Vec::new();
    for index in 0..3 {
        let id = rig.submit("a").await;
        rig.until(&id, |job| job.state == JobState::Running).await;
        rig.launcher.end(index, 3);
        rig.until_over(&id).await;
        // What is written later was not held when the job ended.
        std::fs::write(rig.directory(&id).join("resources.ndjson"), MACHINE).unwrap();
        jobs.push(id);
    }
    let gone = async {
        while jobs[..2].iter().any(|id| rig.directory(id).exists()) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("forgotten in time");
    assert!(rig.directory(&jobs[2]).exists());
}
