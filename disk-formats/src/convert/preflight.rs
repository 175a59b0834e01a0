//! What can be refused before any work: outputs that collide with each other, with a source, or with files that are there.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::output::{Output, OutputKind};
use crate::reading::reader::DiskReader;
use crate::writing::pipe;
use crate::writing::storage::link_target;

/// Refuses outputs that collide with each other, with a source, or with files that must not be replaced, before any work.
pub(crate) fn check_outputs(
    readers: &[&dyn DiskReader],
    sizes: &[u64],
    outputs: &[Output],
    overwrite: bool,
) -> Result<()> {
    let sources: HashSet<_> =
        readers.iter().flat_map(|reader| reader.info().files).filter_map(|path| pipe::identity(&path)).collect();
    let (mut names, mut streams) = (HashSet::new(), HashSet::new());
    for output in outputs {
        let files = output.files(sizes);
        for path in &files {
            let fail = |kind, rule: &'static str| Error::new(kind, Operation::Create, rule).with_path(path);
            let identity = pipe::identity(path);
            if identity.is_some_and(|identity| sources.contains(&identity)) {
                return Err(fail(ErrorKind::DestinationIsSource, "the destination is also a source"));
            }
            if pipe::is_stream(path) {
                check_stream(&output.kind, files.len()).map_err(|error| error.with_path(path))?;
                // Nothing is wrong with throwing several outputs away.
                if path != Path::new("/dev/null") && !streams.insert(identity) {
                    return Err(fail(ErrorKind::InvalidInput, "two outputs go to the same stream"));
                }
                continue;
            }
            if path.file_name().is_none() {
                return Err(fail(ErrorKind::InvalidInput, "the output has no file name"));
            }
            if !names.insert(resolved(path)) {
                return Err(fail(ErrorKind::InvalidInput, "two outputs have the same name"));
            }
            let Ok(existing) = path.symlink_metadata() else { continue };
            // A link is kept, and what it leads to replaced.
            let existing = path.metadata().unwrap_or(existing);
            if existing.is_dir() {
                let error = fail(ErrorKind::AlreadyExists, "a directory of this name exists");
                return Err(error.with_hint("name a file in it, or another one"));
            }
            if !existing.is_file() && !existing.is_symlink() {
                let rule = "a device of this name exists, and only files are replaced";
                return Err(
                    fail(ErrorKind::InvalidInput, rule).with_hint("write to `-` and pipe it into `dd of=DEVICE`")
                );
            }
            if !overwrite {
                return Err(fail(ErrorKind::AlreadyExists, "the file exists already"));
            }
        }
    }
    Ok(())
}

/// Refuses what cannot go through a stream.
fn check_stream(kind: &OutputKind, files: usize) -> Result<()> {
    if files == 1 {
        return Ok(());
    }
    let rule = "this format consists of several files, and a stream is one";
    let hint = kind.row().writing.instead_of_stream;
    Err(Error::new(ErrorKind::InvalidInput, Operation::Create, rule).with_hint(hint))
}

/// Returns a name under which the same file is known however it was written; its directory may not exist.
fn resolved(path: &Path) -> PathBuf {
    let target = link_target(path).ok().flatten();
    let path = target.as_deref().unwrap_or(path);
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    match (directory.canonicalize(), path.file_name()) {
        (Ok(directory), Some(name)) => directory.join(name),
        _ => path.to_path_buf(),
    }
}
