//! Files that a build makes: in the ledger before they exist, under their final name only when they are whole.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use crate::atomic_file;
use crate::blocking::blocking;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::ledger::Resource;

/// Lets `fill` write the file `path` with permission bits `mode`, less the umask; its directories are made, and it is replaced when it is
/// there. `fill` is told when nobody waits for it any more; then, and when it fails, nothing is left.
pub(crate) async fn write<T: Send + 'static>(
    build: &BuildContext,
    path: &Path,
    mode: u32,
    fill: impl FnOnce(&mut File, &AtomicBool) -> io::Result<T> + Send + 'static,
) -> Result<T, StepError> {
    let temporary = path.with_file_name(format!(".kiln-{}.partial", uuid::Uuid::new_v4().simple()));
    let noted = std::path::absolute(&temporary).and_then(|path| {
        let resource = Resource::File { path };
        build.ledger.note(&resource).map(|()| resource)
    });
    let noted =
        noted.map_err(|error| StepError::new("cannot note what an unfinished file may leave").with_source(error))?;
    let target = path.to_owned();
    let writing = blocking("writing a file", move |abandoned| {
        atomic_file::write_with(&temporary, &target, mode, |file| fill(file, abandoned))
    });
    let written = writing.await;
    // Removed or renamed: the temporary name is gone either way.
    build.ledger.released(&noted);
    written.map_err(|error| StepError::new(format!("cannot write {}", path.display())).with_source(error))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::context::tests::a_build;

    #[tokio::test]
    async fn a_file_is_noted_before_it_exists_and_whole_or_not_there() {
        let (build, job) = a_build();
        let path = job.path().join("new/file");
        let held = job.path().join(crate::ledger::FILE_NAME);
        let noted = write(&build, &path, 0o644, move |file, _| {
            file.write_all(b"text")?;
            std::fs::read_to_string(held)
        });
        let noted = noted.await.unwrap();
        assert!(noted.contains(".partial"), "{noted}");
        assert_eq!(std::fs::read(&path).unwrap(), b"text");
        let failed = write(&build, &path, 0o644, |file, _| -> io::Result<()> {
            file.write_all(b"half")?;
            Err(io::Error::other("no more"))
        });
        assert!(failed.await.unwrap_err().to_string().contains("no more"));
        assert_eq!(std::fs::read(&path).unwrap(), b"text");
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(crate::sweep::sweep(job.path()).unwrap(), crate::sweep::Sweep::default());
    }
}
