//! The members of an OVA.

use super::tar::{self, Member};
use crate::Result;
use crate::source_file::SourceFile;

/// Most members looked at.
const MAX_MEMBERS: usize = 1024;

/// Says whether the file begins with an OVF descriptor in a tar archive, which makes it an OVA.
pub(crate) fn is_ova(file: &SourceFile) -> Result<bool> {
    Ok(member_at(file, 0)?.is_some_and(|member| has_extension(&member.name, "ovf")))
}

/// Returns the members up to the archive's end with the offsets of their contents, which lie inside the file.
pub(crate) fn members(file: &SourceFile) -> Result<Vec<(Member, u64)>> {
    let (mut members, mut offset) = (Vec::new(), 0);
    while members.len() < MAX_MEMBERS {
        let Some(member) = member_at(file, offset)? else { break };
        let content = offset + tar::BLOCK;
        file.check_range(content, member.size, "a member of the archive")?;
        // The size was checked against the file's length, so this fits.
        offset = content + member.size.next_multiple_of(tar::BLOCK);
        members.push((member, content));
    }
    Ok(members)
}

fn member_at(file: &SourceFile, offset: u64) -> Result<Option<Member>> {
    if offset.checked_add(tar::BLOCK).is_none_or(|end| end > file.len()) {
        return Ok(None);
    }
    let mut block = [0; tar::BLOCK as usize];
    file.read_exact_at(offset, &mut block)?;
    Ok(tar::read_header(&block))
}

/// Compares the last part of a name in any case.
pub(crate) fn has_extension(name: &str, extension: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, found)| found.eq_ignore_ascii_case(extension))
}
