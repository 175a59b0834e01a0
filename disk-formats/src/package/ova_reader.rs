//! Finds the disks in an OVA, so that they can be read in place.

use super::archive::{has_extension, is_ova, members};
use super::tar::Member;
use super::xml_tree;
use crate::source_file::SourceFile;
use crate::{ErrorKind, Result};

/// Largest descriptor that is read for the disks' names.
const MAX_DESCRIPTOR: u64 = 16 << 20;

/// A disk in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArchivedDisk {
    pub(crate) name: String,
    /// Offset of its bytes in the archive.
    pub(crate) offset: u64,
    pub(crate) len: u64,
}

/// Returns the disks in the order of the descriptor; `None` when the file is no OVA.
///
/// An OVA is a tar archive whose first member is an OVF descriptor; any other file is left to the formats. Where the descriptor
/// cannot be read or names no disk, disks are told from the other members by their names.
pub(crate) fn disks(file: &SourceFile) -> Result<Option<Vec<ArchivedDisk>>> {
    if !is_ova(file)? {
        return Ok(None);
    }
    let members = members(file)?;
    let disk = |(member, offset): &(Member, u64)| ArchivedDisk {
        name: member.name.clone(),
        offset: *offset,
        len: member.size,
    };
    let mut disks: Vec<ArchivedDisk> = Vec::new();
    for name in described_disks(file, &members).unwrap_or_default() {
        // Several disks of a machine may begin as copies of one file.
        let known = disks.iter().any(|disk| disk.name == name);
        disks.extend(members.iter().find(|(member, _)| member.name == name && !known).map(disk));
    }
    if disks.is_empty() {
        let other = ["ovf", "mf", "cert", "xml", "nvram", "iso"];
        let is_disk = |name: &str| !other.iter().any(|other| has_extension(name, other));
        disks.extend(members.iter().filter(|(member, _)| is_disk(&member.name)).map(disk));
    }
    match disks.is_empty() {
        true => Err(file.error(ErrorKind::Corrupt, "the ova holds no disk").at(0)),
        false => Ok(Some(disks)),
    }
}

/// Returns the disk that was chosen, or the only one; `None` when the file is no OVA.
pub(crate) fn chosen_disk(file: &SourceFile, chosen: Option<&str>) -> Result<Option<ArchivedDisk>> {
    let Some(mut disks) = disks(file)? else { return Ok(None) };
    let names = || disks.iter().map(|disk| format!("{:?}", disk.name)).collect::<Vec<_>>().join(", ");
    let index = match chosen {
        None if disks.len() > 1 => {
            let rule = format!("the ova holds {} disks: {}", disks.len(), names());
            return Err(file.error(ErrorKind::SeveralDisks, rule).at(0));
        }
        None => Some(0),
        Some(chosen) => disks.iter().position(|disk| disk.name == chosen),
    };
    match index {
        Some(index) => Ok(Some(disks.swap_remove(index))),
        None => {
            let rule = format!("the ova holds no disk {:?}", chosen.unwrap_or_default());
            let hint = format!("it holds {}", names());
            Err(file.error(ErrorKind::InvalidInput, rule).at(0).with_hint(hint))
        }
    }
}

/// Returns the files of the disks that the descriptor lists.
fn described_disks(file: &SourceFile, members: &[(Member, u64)]) -> Option<Vec<String>> {
    let (descriptor, offset) = members.iter().find(|(member, _)| has_extension(&member.name, "ovf"))?;
    if descriptor.size > MAX_DESCRIPTOR {
        return None;
    }
    let bytes = file.read_table(*offset, descriptor.size, "the descriptor").ok()?;
    let envelope = xml_tree::read(std::str::from_utf8(&bytes).ok()?).ok()?;
    let references = envelope.child("References")?;
    let names = envelope.child("DiskSection")?.all("Disk").filter_map(|disk| {
        let id = disk.attribute("fileRef")?;
        let reference = references.all("File").find(|reference| reference.attribute("id") == Some(id))?;
        reference.attribute("href").map(str::to_owned)
    });
    Some(names.collect())
}
