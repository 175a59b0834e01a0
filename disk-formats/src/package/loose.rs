//! A package whose files lie in a folder: the text that describes it, and which of its disks is meant.

use std::path::Path;

use super::archive::{is_disk, list};
use super::described::{DESCRIPTORS, Described, MAX_DESCRIPTOR};
use super::ovf_reader::{DescribedDisk, Descriptor};
use crate::error::{ErrorKind, Result};
use crate::reading::source_file::SourceFile;

/// Where a disk of a package in a folder is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum LooseDisk {
    /// In the file of this name, as the text gives it.
    File(String),
    /// Nowhere: it begins empty, with this many bytes.
    Empty(u64),
}

/// Reads the text that describes a package; `None` for a file whose name is not that of one.
pub(crate) fn loose_descriptor(file: &SourceFile) -> Result<Option<Described>> {
    let ending = file.path().extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if !DESCRIPTORS.iter().any(|known| known.eq_ignore_ascii_case(ending)) {
        return Ok(None);
    }
    if file.len() > MAX_DESCRIPTOR {
        let rule = format!("a .{ending} describes a machine, and this one is larger than 16 MiB");
        return Err(file.error(ErrorKind::TooLarge, rule).with_hint("say `-f raw` if the bytes are a raw disk"));
    }
    let mut bytes = vec![0; usize::try_from(file.len()).unwrap_or_default()];
    file.read_exact_at(0, &mut bytes)?;
    Described::read(ending, &bytes).map(Some)
}

/// Lists the names of the disks.
pub(crate) fn names(descriptor: &Descriptor) -> Vec<String> {
    descriptor.disks.iter().map(|disk| descriptor.disk_name(disk).to_owned()).collect()
}

/// Returns the disk that was chosen, or the only one.
pub(crate) fn choose(file: &SourceFile, descriptor: &Descriptor, chosen: Option<&str>) -> Result<LooseDisk> {
    let names = names(descriptor);
    let known = || list(names.iter().map(String::as_str));
    let index = match chosen {
        None if names.is_empty() => {
            let error = file.error(ErrorKind::Unsupported, "this describes a machine without a disk");
            return Err(error.with_hint("name a disk, or a machine that has one"));
        }
        None if names.len() > 1 => {
            return Err(
                file.error(ErrorKind::SeveralDisks, format!("the machine has {} disks: {}", names.len(), known()))
            );
        }
        None => 0,
        Some(chosen) => names.iter().position(|name| name == chosen).ok_or_else(|| {
            let error = file.error(ErrorKind::InvalidInput, format!("the machine has no disk {chosen:?}"));
            error.with_hint(if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", known()) })
        })?,
    };
    place(file, descriptor, &descriptor.disks[index])
}

fn place(file: &SourceFile, descriptor: &Descriptor, disk: &DescribedDisk) -> Result<LooseDisk> {
    if let Some(parent) = &disk.parent {
        let rule = format!("the disk {:?} of the package is a difference to the disk {parent:?}", disk.id);
        let error = file.error(ErrorKind::Unsupported, rule);
        return Err(error.with_hint("export the machine without snapshots, or merge them first"));
    }
    let Some(id) = &disk.file else {
        return disk.capacity.map(LooseDisk::Empty).ok_or_else(|| {
            let rule = format!("the disk {:?} of the package has neither a file nor a size in bytes", disk.id);
            file.error(ErrorKind::Corrupt, rule)
        });
    };
    match descriptor.reference(id) {
        Some(reference) if reference.chunk_size.is_some() => {
            let rule = format!("the disk {:?} is in parts of a file", disk.id);
            let hint = format!("put them together: `cat {0}.0* > {0}`, and take ovf:chunkSize out", reference.href);
            Err(file.error(ErrorKind::Unsupported, rule).with_hint(hint))
        }
        Some(reference) => Ok(LooseDisk::File(reference.href.clone())),
        None => {
            let rule = format!("the disk {:?} is in the file {id:?}, which the descriptor does not name", disk.id);
            Err(file.error(ErrorKind::Corrupt, rule))
        }
    }
}

/// Lists what lies beside a descriptor and may be a disk, for whoever looks for a missing one.
pub(crate) fn disks_beside(descriptor: &Path) -> Option<String> {
    let folder = descriptor.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let entries = std::fs::read_dir(folder).ok()?;
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    // A folder can be endless.
    let mut names: Vec<String> = names.take(10_000).filter(|name| is_disk(name)).collect();
    names.sort_unstable();
    (!names.is_empty()).then(|| list(names.iter().map(String::as_str)))
}
