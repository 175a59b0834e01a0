//! Taking an image out of what it is packed in: streams (gzip, xz, bzip2, zstd), and archives of disks (OVA, box, tar).

use std::path::Path;

use crate::error::{ErrorKind, Result};
use crate::formats::AllFormats;
use crate::package;
use crate::package::archive::ArchivedDisk;
use crate::package::content::Content;
use crate::package::described::Described;
use crate::package::loose::{self, LooseDisk};
use crate::reading::open_policy::OpenPolicy;
use crate::reading::opening::Opening;
use crate::reading::packed::PACKED_EXTENSIONS;
use crate::reading::packed::{self, Amount, Packing};
use crate::reading::source_file::SourceFile;

/// Bytes of a packed image that detection unpacks.
const PACKED_PROBE: u64 = 1 << 20;

/// Packings around an image that are taken off, as of a packed disk in a packed archive.
const MAX_PACKINGS: usize = 2;

/// Says whether the name is that of a packed file.
pub(crate) fn is_named_packed(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    PACKED_EXTENSIONS.iter().any(|packed| packed.eq_ignore_ascii_case(extension))
}

/// Opens the disk of a machine that a file beside it describes, if the policy allows that.
pub(crate) fn described_disk(file: SourceFile, described: &Described, policy: &OpenPolicy) -> Result<SourceFile> {
    let descriptor = described.descriptor()?;
    match loose::choose(&file, &descriptor, policy.archived_disk.as_deref())? {
        LooseDisk::Empty(size) => Content::hole(size).take_out(file, "an empty disk", 0),
        LooseDisk::File(name) => {
            let disk = named_file(&file, &name, policy).map_err(|error| match error.kind() {
                ErrorKind::NotFound => {
                    let error =
                        file.error(ErrorKind::NotFound, format!("it names the disk {name:?}, which is not there"));
                    match loose::disks_beside(file.path()) {
                        Some(names) => error.with_hint(format!("beside it are {names}")),
                        None => error.with_hint("there is no disk beside it"),
                    }
                }
                _ => error,
            })?;
            take_out(disk, policy.max_unpacked_size, None)
        }
    }
}

/// Opens a file that a descriptor names by its path seen from there.
pub(crate) fn named_file(descriptor: &SourceFile, name: &str, policy: &OpenPolicy) -> Result<SourceFile> {
    Opening::new(policy, &AllFormats).descend(descriptor).open_named(name, descriptor, 0)
}

/// Takes an image out; `limit` is the most bytes that are unpacked, and `chosen` which disk of an archive is meant.
pub(crate) fn take_out(file: SourceFile, limit: u64, chosen: Option<&str>) -> Result<SourceFile> {
    unpack_all(file, Amount::All(limit), chosen.is_some(), |file| package::chosen_disk(file, chosen))
}

/// The same for detecting a format: the first disk of an archive speaks for all, and of a packed disk the front is enough.
pub(crate) fn take_out_first(file: SourceFile, limit: u64) -> Result<SourceFile> {
    let first = |file: &SourceFile| Ok(package::archived_disks(file)?.and_then(|disks| disks.into_iter().next()));
    let amount = if is_packed_archive(&file)? { Amount::All(limit) } else { Amount::Front(PACKED_PROBE) };
    unpack_all(file, amount, false, first)
}

/// Takes off what is around an archive; a file that holds none is left as it is.
pub(crate) fn bare_archive(file: SourceFile, limit: u64) -> Result<SourceFile> {
    match Packing::of(&file)? {
        Some(packing) if is_packed_archive(&file)? => packed::unpack(&file, packing, Amount::All(limit)),
        _ => Ok(file),
    }
}

fn is_packed_archive(file: &SourceFile) -> Result<bool> {
    match Packing::of(file)? {
        Some(packing) => package::is_tar(&packed::unpack(file, packing, Amount::Front(1))?),
        None => Ok(false),
    }
}

fn unpack_all(
    mut file: SourceFile,
    amount: Amount,
    needs_archive: bool,
    disk_of: impl Fn(&SourceFile) -> Result<Option<ArchivedDisk>>,
) -> Result<SourceFile> {
    let mut packings = 0;
    let mut in_archive = false;
    loop {
        if let Some(packing) = Packing::of(&file)? {
            packings += 1;
            if packings > MAX_PACKINGS {
                return Err(file.error(ErrorKind::Unsupported, "the image is packed more than twice").at(0));
            }
            file = packed::unpack(&file, packing, amount)?;
        } else if in_archive {
            return Ok(file);
        } else if let Some(disk) = disk_of(&file)? {
            in_archive = true;
            let limit = if let Amount::All(limit) = amount { limit } else { u64::MAX };
            file = disk.content.take_out(file, &disk.name, limit)?;
        } else if needs_archive {
            let rule = "a disk of an archive was chosen, but this is none";
            return Err(file.error(ErrorKind::InvalidInput, rule).at(0));
        } else {
            return Ok(file);
        }
    }
}
