//! Going on with builds that another process has begun: whether that can be done is found out before anything is touched.

use std::collections::BTreeMap;
use std::path::Path;

use kiln_hypervisors::SavedState;

use crate::records::{self, BuildRecords, Phase, RecordsError, Resumed};

/// A place from which a build can go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The build's full name.
    pub build: String,
    /// The number of the last step that the guest has behind it: `connect`, or a provisioner.
    pub after: u32,
    /// Its machine as it was right after that step. The disks lie where the build has made them.
    pub state: SavedState,
}

/// Why a build cannot go on. Nothing has been touched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ResumeError {
    #[error("the build cannot go on")]
    Records(#[from] RecordsError),
    #[error("{build} cannot go on: {reason}")]
    Build { build: String, reason: String },
}

impl ResumeError {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::Records(error) => error.hint(),
            Self::Build { .. } => "what it has left stays as it is; build again from the start",
        }
    }
}

/// What a job needs to go on.
#[derive(Debug)]
pub(crate) struct Resumption {
    /// Where each build goes on.
    pub(crate) builds: BTreeMap<String, Resumed>,
    /// The last record was cut short.
    pub(crate) cut_short: bool,
}

impl Resumption {
    /// `PACKER_RUN_UUID` of the job, which goes on too.
    pub(crate) fn run_uuid(&self) -> Option<String> {
        let known = self.builds.values().map(|build| &build.records.run_uuid);
        known.into_iter().find(|uuid| !uuid.is_empty()).cloned()
    }
}

/// What a build is by its plan, to be held against its records.
#[derive(Debug)]
pub(crate) struct Known {
    /// Its full name.
    pub(crate) build: String,
    /// The digest of its plan.
    pub(crate) plan: String,
    /// The hypervisor of its machine, when it has one.
    pub(crate) hypervisor: Option<&'static str>,
}

/// Holds `checkpoints` against the records in `job_dir` and the builds as they are planned now.
pub(crate) fn find(job_dir: &Path, checkpoints: Vec<Checkpoint>, known: &[Known]) -> Result<Resumption, ResumeError> {
    let records = records::read(job_dir)?;
    let mut builds = BTreeMap::new();
    for checkpoint in checkpoints {
        let build = checkpoint.build.clone();
        let found = accept(checkpoint, records.build(&build), known);
        let resumed = found.map_err(|reason| ResumeError::Build { build: build.clone(), reason })?;
        builds.insert(build, resumed);
    }
    Ok(Resumption { builds, cut_short: records.cut_short })
}

fn accept(checkpoint: Checkpoint, records: Option<&BuildRecords>, known: &[Known]) -> Result<Resumed, String> {
    let Checkpoint { build, after, state } = checkpoint;
    let Some(known) = known.iter().find(|known| known.build == build) else {
        return Err("the template has no such build".to_owned());
    };
    let Some(records) = records else { return Err("nothing was noted of it".to_owned()) };
    if records.plan != known.plan {
        return Err("its plan is another one than when it was begun: the template or a variable has changed".to_owned());
    }
    match known.hypervisor {
        None => return Err("it has no machine".to_owned()),
        Some(hypervisor) if hypervisor != state.hypervisor => {
            let path = state.path.display();
            let saved_by = &state.hypervisor;
            return Err(format!("its machine was saved by {saved_by} in {path}, and {hypervisor} cannot restore that"));
        }
        Some(_) => {}
    }
    let Some(step) = records.done(after) else { return Err(format!("its step {after} is not noted as done")) };
    let in_guest = step.phase == Phase::Provision || (step.phase == Phase::BringUp && step.name == "connect");
    if !in_guest {
        return Err(format!("its step {after}, {}, is no place to go on from", step.name));
    }
    Ok(Resumed { records: records.clone(), after, state })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::records::{Header, RecordFile, State, StepRecord, VERSION};

    fn step(number: u32, phase: Phase, name: &str, state: State) -> StepRecord {
        StepRecord {
            build: "qemu.web".to_owned(),
            number,
            phase,
            name: name.to_owned(),
            state,
            at: "2026-01-02T03:04:05Z".to_owned(),
            elapsed_ms: None,
            outputs: None,
            error: None,
        }
    }

    async fn noted(job_dir: &Path) {
        let file = RecordFile::open(job_dir).unwrap();
        let header = Header { version: VERSION, build: "qemu.web".into(), plan: "aa".into(), run_uuid: "uuid".into() };
        file.begin(&header).await.unwrap();
        for record in [
            step(1, Phase::Prepare, "fetch", State::Done),
            step(2, Phase::BringUp, "connect", State::Done),
            step(3, Phase::Provision, "provisioner 1 (shell)", State::Done),
            step(4, Phase::Provision, "provisioner 2 (shell)", State::Intent),
        ] {
            file.note(&record).await.unwrap();
        }
    }

    fn checkpoint(after: u32) -> Checkpoint {
        let state = SavedState { hypervisor: "qemu".to_owned(), path: "/states/1".into() };
        Checkpoint { build: "qemu.web".to_owned(), after, state }
    }

    fn known(plan: &str, hypervisor: Option<&'static str>) -> Vec<Known> {
        vec![Known { build: "qemu.web".to_owned(), plan: plan.to_owned(), hypervisor }]
    }

    #[tokio::test]
    async fn only_what_certainly_fits_goes_on() {
        let job = tempfile::tempdir().unwrap();
        noted(job.path()).await;
        let refusal = |checkpoint, known: &[Known]| {
            let error = find(job.path(), vec![checkpoint], known).unwrap_err();
            assert!(error.hint().contains("stays as it is"), "{error}");
            error.to_string()
        };
        let ours = known("aa", Some("qemu"));
        for after in [2, 3] {
            let found = find(job.path(), vec![checkpoint(after)], &ours).unwrap();
            let resumed = &found.builds["qemu.web"];
            assert_eq!((resumed.after, resumed.records.run_uuid.as_str(), found.cut_short), (after, "uuid", false));
        }
        for (after, reason) in [
            (1, "its step 1, fetch, is no place to go on from"),
            (4, "its step 4 is not noted as done"),
            (9, "its step 9 is not noted as done"),
        ] {
            assert_eq!(refusal(checkpoint(after), &ours), format!("qemu.web cannot go on: {reason}"));
        }
        assert!(refusal(checkpoint(3), &known("bb", Some("qemu"))).contains("another one than when it was begun"));
        assert!(refusal(checkpoint(3), &known("aa", None)).contains("it has no machine"));
        assert!(refusal(checkpoint(3), &[]).contains("no such build"));
        let other = refusal(checkpoint(3), &known("aa", Some("virtualbox")));
        assert!(other.contains("saved by qemu in /states/1, and virtualbox cannot restore that"), "{other}");
    }

    #[tokio::test]
    async fn records_that_were_cut_short_serve_as_far_as_they_go() {
        let job = tempfile::tempdir().unwrap();
        noted(job.path()).await;
        let path = job.path().join(records::FILE_NAME);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 5]).unwrap();
        let ours = known("aa", Some("qemu"));
        let found = find(job.path(), vec![checkpoint(3)], &ours).unwrap();
        assert!(found.cut_short && found.builds.len() == 1);
        // The end of the step itself is what was lost.
        let end = text.find("\"number\":3").unwrap();
        std::fs::write(&path, &text[..end]).unwrap();
        let error = find(job.path(), vec![checkpoint(3)], &ours).unwrap_err();
        assert!(error.to_string().contains("step 3 is not noted as done"), "{error}");
        std::fs::write(&path, text.replace("\"version\":1", "\"version\":9")).unwrap();
        let error = find(job.path(), vec![checkpoint(3)], &ours).unwrap_err();
        assert!(matches!(error, ResumeError::Records(RecordsError::Newer { found: 9, .. })), "{error}");
        assert!(error.hint().contains("the version of Kiln that has run the job"));
    }
}
