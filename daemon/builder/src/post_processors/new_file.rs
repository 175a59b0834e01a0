//! Files of post-processors: in the ledger before they exist, under their final name only when they are whole.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::context::PostProcessContext;
use crate::artifact::Artifact;
use crate::atomic_file;
use crate::blocking::blocking;
use crate::error::StepError;
use crate::ledger::Resource;

/// Lets `fill` write the file `path`, whose directories are made and which is replaced when it is there. `fill` is told when nobody waits
/// for it any more; then, and when it fails, nothing is left.
pub(super) async fn write<T: Send + 'static>(
    context: &PostProcessContext,
    path: &Path,
    fill: impl FnOnce(&mut File, &AtomicBool) -> io::Result<T> + Send + 'static,
) -> Result<T, StepError> {
    let temporary = path.with_file_name(format!(".kiln-{}.partial", uuid::Uuid::new_v4().simple()));
    let noted = std::path::absolute(&temporary).and_then(|path| {
        let resource = Resource::File { path };
        context.build.ledger.note(&resource).map(|()| resource)
    });
    let noted =
        noted.map_err(|error| StepError::new("cannot note what an unfinished file may leave").with_source(error))?;
    let target = path.to_owned();
    let writing = blocking("writing a file", move |abandoned| {
        atomic_file::write_with(&temporary, &target, 0o666, |file| fill(file, abandoned))
    });
    let written = writing.await;
    // Removed or renamed: the temporary name is gone either way.
    context.build.ledger.released(&noted);
    written.map_err(|error| StepError::new(format!("cannot write {}", path.display())).with_source(error))
}

/// Refuses to write over a file of the artifact.
pub(super) fn refuse_input(output: &Path, input: &Artifact) -> Result<(), StepError> {
    let identity = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let place = identity(output);
    let is_same = |file: &&PathBuf| identity(file) == place;
    match input.files.iter().find(is_same) {
        None => Ok(()),
        Some(file) => Err(StepError::new(format!("{} is a file of the artifact itself", file.display()))
            .with_hint("give `output` another name")),
    }
}
