//! The directory between builds that want it, that died, and other people's files.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use super::*;
use crate::context::{BuildContext, JobSettings, OnError};
use crate::control::Control;
use crate::event::Event;
use crate::ledger::Ledger;
use crate::plan_key::PlanKey;
use crate::records::{Chain, RecordFile};
use crate::sweep::{Sweep, sweep as sweep_job};

/// A job of a test's own.
pub(crate) struct Job {
    directory: tempfile::TempDir,
    said: Arc<Mutex<Vec<String>>>,
}

impl Job {
    pub(crate) fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), said: Arc::default() }
    }

    /// What people were told.
    pub(crate) fn said(&self) -> Vec<String> {
        self.said.lock().unwrap().clone()
    }

    pub(crate) fn context(&self, force: bool) -> BuildContext {
        let settings = JobSettings {
            force,
            debug: false,
            on_error: OnError::Cleanup,
            job_dir: self.directory.path().to_owned(),
            runtime_dir: self.directory.path().to_owned(),
            cache_dir: self.directory.path().to_owned(),
            plan_key: PlanKey::new(&[]),
            template_files: Vec::new(),
            of_environment: std::collections::BTreeMap::new(),
            run_uuid: String::new(),
            places: std::collections::HashMap::new(),
            fault: None,
        };
        let said = self.said.clone();
        let sink = Arc::new(move |event| {
            if let Event::Say { text, .. } = event {
                said.lock().unwrap().push(text);
            }
        });
        let ledger = Arc::new(Ledger::open(self.directory.path()).unwrap());
        BuildContext::new(
            "qemu.web",
            Arc::new(settings),
            ledger,
            Chain::new("qemu.web", RecordFile::open(self.directory.path()).unwrap()),
            Control::unattended(),
            kiln_template::Redactor::default(),
            sink,
        )
    }
}

fn names(directory: &Path) -> BTreeSet<String> {
    fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

fn own() -> Vec<String> {
    vec!["web".to_owned(), ".web.work".to_owned()]
}

#[tokio::test]
async fn a_second_build_is_refused_and_told_by_whom() {
    let (a, b, place) = (Job::new(), Job::new(), tempfile::tempdir().unwrap());
    let out = place.path().join("new/out");
    let first = a.context(false);
    let held = prepare(&out, &own(), &first).await.unwrap();
    fs::write(out.join(".web.work"), "disk").unwrap();
    let job = a.directory.path().file_name().unwrap().to_string_lossy().into_owned();
    for force in [false, true] {
        let second = b.context(force);
        let error = prepare(&out, &own(), &second).await.err().unwrap();
        let text = error.to_string();
        let wanted = format!("is in use by job {job} (build qemu.web, process {}) since 20", std::process::id());
        assert!(text.contains(&wanted), "{text}");
        assert!(error.hint().unwrap().contains(&format!("kiln cancel {job}")), "{error:?}");
        second.clean_up(None).await;
        assert_eq!(sweep_job(b.directory.path()).unwrap().removed, Vec::<String>::new());
        assert_eq!(names(&out), set(&[".kiln-incomplete", ".web.work"]));
        let early = obstacle(&out, force).unwrap();
        assert!(early.passes && early.text.contains(&wanted), "{}", early.text);
    }
    // While post-processors run there is no mark any more, but still the lock.
    fs::rename(out.join(".web.work"), out.join("web")).unwrap();
    let kept = keep(&held, &first).await.unwrap();
    drop(held);
    let error = prepare(&out, &own(), &b.context(true)).await.err().unwrap().to_string();
    assert!(error.contains("in use by") && error.contains(&format!("process {}", std::process::id())), "{error}");
    assert!(error.contains("since 20"), "{error}");
    drop(kept);
    first.clean_up(None).await;
    assert_eq!(names(&out), set(&["web"]));
    let error = prepare(&out, &own(), &b.context(false)).await.err().unwrap().to_string();
    assert!(error.contains("already exists"), "{error}");
    let third = b.context(true);
    prepare(&out, &own(), &third).await.unwrap();
    assert_eq!(names(&out), set(&[".kiln-incomplete"]));
}

#[tokio::test]
async fn only_ones_own_files_are_removed() {
    let (job, place) = (Job::new(), tempfile::tempdir().unwrap());
    let out = place.path().join("out");
    let context = job.context(false);
    let held = prepare(&out, &own(), &context).await.unwrap();
    held.directory.expect([out.join("web.vmdk"), place.path().join("elsewhere.vmdk")]).unwrap();
    for name in [".web.work", "web.vmdk", ".kiln-x.partial", "notes.txt", "elsewhere.vmdk"] {
        fs::write(out.join(name), name).unwrap();
    }
    fs::create_dir(out.join("web")).unwrap();
    held.directory.expect_directory(&out.join("web-snapshot")).unwrap();
    fs::create_dir(out.join("web-snapshot")).unwrap();
    fs::write(out.join("web-snapshot/web.vmdk"), "x").unwrap();
    context.clean_up(None).await;
    assert_eq!(names(&out), set(&["notes.txt", "elsewhere.vmdk", "web"]));
    let said = job.said.lock().unwrap().join("\n");
    assert!(said.contains("this build did not make \"elsewhere.vmdk\", \"notes.txt\", \"web\" in it"), "{said}");
}

#[tokio::test]
async fn a_killed_build_leaves_a_directory_that_the_next_takes_without_anybody_elses_files() {
    let (killed, next, place) = (Job::new(), Job::new(), tempfile::tempdir().unwrap());
    let out = place.path().join("out");
    let die = |held: Held, context: BuildContext| {
        // What a kill leaves: the lock is gone, nothing has been cleaned.
        context.let_go();
        drop((held, context));
    };
    let context = killed.context(false);
    let held = prepare(&out, &own(), &context).await.unwrap();
    fs::write(out.join(".web.work"), "old").unwrap();
    fs::write(out.join("notes.txt"), "mine").unwrap();
    die(held, context);
    assert!(obstacle(&out, true).is_some(), "this process is its owner and runs");
    let error = prepare(&out, &own(), &next.context(false)).await.err().unwrap();
    assert!(error.to_string().contains("\"notes.txt\" in it is not that build's"), "{error}");
    assert!(error.hint().unwrap().contains("-force"));
    assert_eq!(names(&out), set(&[".kiln-incomplete", ".web.work", "notes.txt"]));
    fs::remove_file(out.join("notes.txt")).unwrap();
    let context = next.context(false);
    let held = prepare(&out, &own(), &context).await.unwrap();
    assert_eq!(names(&out), set(&[".kiln-incomplete"]));
    // The sweep of the dead job comes late, and finds somebody else there.
    fs::write(out.join(".web.work"), "new").unwrap();
    assert_eq!(sweep_job(killed.directory.path()).unwrap(), Sweep::default());
    assert_eq!(names(&out), set(&[".kiln-incomplete", ".web.work"]));
    // And when that one is killed too, its own sweep removes what is its own.
    fs::write(out.join("notes.txt"), "mine").unwrap();
    die(held, context);
    let swept = sweep_job(next.directory.path()).unwrap();
    assert!(swept.failed.is_empty() && swept.removed[0].contains("\"notes.txt\""), "{swept:?}");
    assert_eq!(names(&out), set(&["notes.txt"]));
}

#[tokio::test]
async fn a_swept_directory_of_ones_own_is_gone() {
    let (job, place) = (Job::new(), tempfile::tempdir().unwrap());
    let out = place.path().join("out");
    let context = job.context(false);
    drop(prepare(&out, &own(), &context).await.unwrap());
    context.let_go();
    fs::write(out.join("web"), "x").unwrap();
    assert_eq!(sweep_job(job.directory.path()).unwrap().removed.len(), 1);
    assert!(!out.exists());
}

#[tokio::test]
async fn force_removes_a_link_but_not_what_it_points_to() {
    let (job, place) = (Job::new(), tempfile::tempdir().unwrap());
    let (out, precious) = (place.path().join("out"), place.path().join("precious"));
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("file"), "x").unwrap();
    std::os::unix::fs::symlink(&precious, &out).unwrap();
    assert!(prepare(&out, &own(), &job.context(false)).await.is_err());
    let context = job.context(true);
    prepare(&out, &own(), &context).await.unwrap();
    assert_eq!((names(&precious), names(&out)), (set(&["file"]), set(&[".kiln-incomplete"])));
}

#[tokio::test]
async fn a_mark_that_is_no_file_is_no_mark() {
    let (job, place) = (Job::new(), tempfile::tempdir().unwrap());
    let out = place.path().join("out");
    fs::create_dir(&out).unwrap();
    std::os::unix::fs::symlink("/dev/zero", out.join(".kiln-incomplete")).unwrap();
    let error = prepare(&out, &own(), &job.context(false)).await.err().unwrap().to_string();
    assert!(error.contains("already exists"), "{error}");
    assert!(obstacle(&out, false).is_some_and(|obstacle| !obstacle.passes));
}

#[tokio::test]
async fn a_build_that_goes_on_finds_its_files_and_nobody_elses_directory() {
    let (job, other, place) = (Job::new(), Job::new(), tempfile::tempdir().unwrap());
    let out = place.path().join("out");
    let missing = adopt(&out, &own(), &job.context(false)).await.err().unwrap().to_string();
    assert!(missing.contains("cannot open the output directory"), "{missing}");
    let context = job.context(false);
    let held = prepare(&out, &own(), &context).await.unwrap();
    held.directory.expect([out.join("web.vmdk")]).unwrap();
    for name in [".web.work", "web.vmdk", "notes.txt"] {
        fs::write(out.join(name), name).unwrap();
    }
    let busy = adopt(&out, &own(), &job.context(false)).await.err().unwrap().to_string();
    assert!(busy.contains("is in use by job"), "{busy}");
    context.let_go();
    drop((held, context));
    let strange = adopt(&out, &own(), &other.context(false)).await.err().unwrap();
    assert!(strange.to_string().contains("is not as the build left it"), "{strange}");
    assert_eq!(strange.hint(), Some("build again from the start"));
    let all = set(&[".kiln-incomplete", ".web.work", "web.vmdk", "notes.txt"]);
    assert_eq!(names(&out), all, "nothing is touched");
    let context = job.context(false);
    let held = adopt(&out, &own(), &context).await.unwrap();
    assert_eq!(names(&out), all);
    // When that fails in its turn, what either of the two made goes.
    drop(held);
    context.clean_up(None).await;
    assert_eq!(names(&out), set(&["notes.txt"]));
    assert_eq!(sweep_job(job.directory.path()).unwrap().failed, Vec::<String>::new());
}

#[tokio::test]
async fn force_replaces_neither_where_the_build_is_run_nor_where_another_is_at_work() {
    let (job, other, place) = (Job::new(), Job::new(), tempfile::tempdir().unwrap());
    let here = std::env::current_dir().unwrap();
    for directory in [here.clone(), here.parent().unwrap().to_owned()] {
        let error = prepare(&directory, &own(), &job.context(true)).await.err().unwrap();
        assert!(error.to_string().contains("cannot be replaced by -force"), "{error}");
        assert!(obstacle(&directory, true).is_some());
    }
    assert!(here.join("Cargo.toml").exists());
    let outer = place.path().join("builds");
    let held = prepare(&outer.join("a/b"), &own(), &other.context(false)).await.unwrap();
    fs::write(outer.join("a/b/.web.work"), "disk").unwrap();
    let error = prepare(&outer, &own(), &job.context(true)).await.err().unwrap();
    assert!(error.to_string().contains("builds/a/b in it is in use by"), "{error}");
    assert!(outer.join("a/b/.web.work").exists());
    keep(&held, &other.context(false)).await.unwrap();
    prepare(&outer, &own(), &job.context(true)).await.unwrap();
    assert!(!outer.join("a").exists());
}

#[tokio::test]
async fn what_an_aborted_build_leaves_is_seen_and_no_later_build_removes_it() {
    let (job, other, place) = (Job::new(), Job::new(), tempfile::tempdir().unwrap());
    let out = place.path().join("out");
    let context = job.context(false);
    let held = prepare(&out, &own(), &context).await.unwrap();
    for name in [".web.work", "efivars.fd", ".kiln-x.partial"] {
        fs::write(out.join(name), name).unwrap();
    }
    fs::create_dir(out.join(".vm.work")).unwrap();
    let Resource::OutputDirectory { id, .. } = held.directory.resource.clone() else { panic!("no directory") };
    assert!(leave(&out, "of another build").unwrap().files.is_empty());
    hold_disks(&out);
    // As a hypervisor does that takes the disks of its machine along.
    fs::remove_file(out.join(".web.work")).unwrap();
    let kept = leave(&out, &id).unwrap();
    let seen = ["aborted-vm", "aborted-web", "efivars.fd"];
    assert_eq!(kept.files, seen.map(|name| out.join(name)));
    context.abandon();
    drop((held, context));
    let all = set(&[&seen[..], &[".kiln-aborted", ".kiln-x.partial"]].concat());
    assert_eq!(names(&out), all);
    assert_eq!(fs::read_to_string(out.join("aborted-web")).unwrap(), ".web.work");
    assert_eq!(sweep_job(job.directory.path()).unwrap(), Sweep::default());
    let error = prepare(&out, &own(), &other.context(false)).await.err().unwrap();
    assert!(error.to_string().contains("It holds what the build qemu.web of job "), "{error}");
    assert!(error.hint().unwrap().starts_with("look at what is in it"), "{error:?}");
    assert!(obstacle(&out, false).is_some_and(|obstacle| !obstacle.passes));
    // Killed between the two marks.
    fs::write(out.join(".kiln-incomplete"), fs::read(out.join(".kiln-aborted")).unwrap()).unwrap();
    assert!(prepare(&out, &own(), &other.context(false)).await.is_err());
    assert!(sweep(&out, &id).unwrap().is_none());
    assert!(names(&out).is_superset(&all), "nothing is touched");
    prepare(&out, &own(), &other.context(true)).await.unwrap();
    assert_eq!(names(&out), set(&[".kiln-incomplete"]));
}

#[tokio::test]
async fn an_aborted_build_keeps_what_it_made_on_a_full_disk() {
    let (job, other, place) = (Job::new(), Job::new(), tempfile::tempdir().unwrap());
    let out = place.path().join("out");
    let context = job.context(false);
    let held = prepare(&out, &own(), &context).await.unwrap();
    fs::write(out.join("efivars.fd"), "variables").unwrap();
    let Resource::OutputDirectory { id, .. } = held.directory.resource.clone() else { panic!("no directory") };
    let file = |name: &str| fs::metadata(out.join(name)).unwrap().ino();
    let mark = file(".kiln-incomplete");
    leave(&out, &id).unwrap();
    assert_eq!(file(".kiln-aborted"), mark, "nothing new is written, for which there may be no room");
    context.abandon();
    drop((held, context));
    assert_eq!(names(&out), set(&[".kiln-aborted", "efivars.fd"]));
    let error = prepare(&out, &own(), &other.context(false)).await.err().unwrap();
    assert!(error.to_string().contains("when it was aborted"), "{error}");
}

#[tokio::test]
async fn an_aborted_build_that_made_nothing_leaves_no_directory() {
    let (job, place) = (Job::new(), tempfile::tempdir().unwrap());
    let out = place.path().join("out");
    let held = prepare(&out, &own(), &job.context(false)).await.unwrap();
    let Resource::OutputDirectory { id, .. } = held.directory.resource.clone() else { panic!("no directory") };
    assert_eq!(leave(&out, &id).unwrap().directory, None);
    assert!(!out.exists());
}
