//! What the directory of a job keeps when the job is over: the machine of an aborted build that its hypervisor could not move away.

use std::io::Read as _;
use std::path::Path;

use kiln_hypervisors::kept_mark;

use crate::regular_file;

/// How much of a mark is read, in bytes, and how many are named: a job's user may have written them.
const MAX_MARK: u64 = 64 << 10;
const MAX_MARKS: usize = 16;
/// How many characters of each are told.
const MAX_WORDS: usize = 1000;

/// Names what would be lost with the directory `job_dir`, each as a phrase that says how it is kept or removed; nothing: it may go.
#[must_use]
pub fn kept_inside(job_dir: &Path) -> Vec<String> {
    // Of builds, and in these of machines: `work-0/virtualbox-1a2b3c4d`.
    let builds = directories(job_dir).filter(|path| path.file_name().is_some_and(is_of_a_build));
    let machines = builds.flat_map(|build| directories(&build).collect::<Vec<_>>());
    machines.filter_map(|machine| kept_by(&machine.join(kept_mark::NAME))).take(MAX_MARKS).collect()
}

fn is_of_a_build(name: &std::ffi::OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"work-")
}

fn kept_by(mark: &Path) -> Option<String> {
    // What is there and cannot be read may say anything.
    let unread = || mark.symlink_metadata().is_ok().then(|| format!("what {} is about", mark.display()));
    let Ok(file) = regular_file::open_to_read(mark) else { return unread() };
    let mut text = Vec::new();
    if file.take(MAX_MARK).read_to_end(&mut text).is_err() {
        return unread();
    }
    kept_mark::kept(&text).map(|words| words.chars().take(MAX_WORDS).collect())
}

fn directories(path: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_marks_of_builds_are_found_and_hold_as_long_as_their_files() {
        let job = tempfile::tempdir().unwrap();
        let machine = job.path().join("work-0/virtualbox-1");
        std::fs::create_dir_all(&machine).unwrap();
        assert_eq!(kept_inside(job.path()), Vec::<String>::new());
        let disk = machine.join("web.vmdk");
        std::fs::write(&disk, "").unwrap();
        let mark = machine.join(kept_mark::NAME);
        std::fs::write(&mark, format!("the machine web\n{}\n", disk.display())).unwrap();
        assert_eq!(kept_inside(job.path()), ["the machine web"]);
        std::fs::remove_file(&disk).unwrap();
        assert_eq!(kept_inside(job.path()), Vec::<String>::new());
        // No file, and so nothing that is read.
        std::fs::remove_file(&mark).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &mark).unwrap();
        assert!(kept_inside(job.path())[0].ends_with("/.kiln-aborted is about"));
    }
}
