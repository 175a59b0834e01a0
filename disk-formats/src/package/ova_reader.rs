//! Finds the first disk in an OVA, so that it can be read in place.

use super::archive::{has_extension, is_ova, members};
use crate::source_file::SourceFile;
use crate::{ErrorKind, Result};

/// Returns offset and length of the first disk; `None` when the file is no OVA.
///
/// An OVA is a tar archive whose first member is an OVF descriptor; any other file is left to the formats.
pub(crate) fn first_disk(file: &SourceFile) -> Result<Option<(u64, u64)>> {
    if !is_ova(file)? {
        return Ok(None);
    }
    let is_disk = |name: &str| !["ovf", "mf", "cert", "xml", "nvram"].iter().any(|other| has_extension(name, other));
    match members(file)?.into_iter().find(|(member, _)| is_disk(&member.name)) {
        Some((member, offset)) => Ok(Some((offset, member.size))),
        None => Err(file.error(ErrorKind::Corrupt, "the ova holds no disk")),
    }
}
