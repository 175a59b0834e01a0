//! Finds the first disk in an OVA, so that it can be read in place.

use super::tar::{self, Member};
use crate::source_file::SourceFile;
use crate::{ErrorKind, Result};

/// Most members looked at.
const MAX_MEMBERS: usize = 1024;

/// Returns offset and length of the first disk; `None` when the file is no OVA.
///
/// An OVA is a tar archive whose first member is an OVF descriptor; any other file is left to the formats.
pub(crate) fn first_disk(file: &SourceFile) -> Result<Option<(u64, u64)>> {
    match member_at(file, 0)? {
        Some(member) if has_extension(&member, "ovf") => {}
        _ => return Ok(None),
    }
    let mut offset = 0;
    for _ in 0..MAX_MEMBERS {
        let Some(member) = member_at(file, offset)? else { break };
        let content = offset + tar::BLOCK;
        file.check_range(content, member.size, "a member of the archive")?;
        if !["ovf", "mf", "cert", "xml", "nvram"].iter().any(|extension| has_extension(&member, extension)) {
            return Ok(Some((content, member.size)));
        }
        // The size was checked against the file's length, so this fits.
        offset = content + member.size.next_multiple_of(tar::BLOCK);
    }
    Err(file.error(ErrorKind::Corrupt, "the ova holds no disk"))
}

fn member_at(file: &SourceFile, offset: u64) -> Result<Option<Member>> {
    if offset.checked_add(tar::BLOCK).is_none_or(|end| end > file.len()) {
        return Ok(None);
    }
    let mut block = [0; tar::BLOCK as usize];
    file.read_exact_at(offset, &mut block)?;
    Ok(tar::read_header(&block))
}

fn has_extension(member: &Member, extension: &str) -> bool {
    member.name.rsplit_once('.').is_some_and(|(_, found)| found.eq_ignore_ascii_case(extension))
}
