//! The disks in an archive, so that they can be read: an OVA, Vagrant's box, Google's image, or any other tar of disks.

use super::content::Content;
use super::described::{DESCRIPTORS, Described, MAX_DESCRIPTOR};
use super::ovf_reader::{Descriptor, Reference};
use super::tar_members::{Member, MemberKind, has_extension, is_tar, members};
use crate::error::{Error, ErrorKind, Result};
use crate::format::Format;
use crate::reading::packed::PACKED_EXTENSIONS;
use crate::reading::source_file::SourceFile;

/// Most parts of a file in parts.
const MAX_CHUNKS: usize = 1024;
/// Most names in a message.
const MAX_NAMES: usize = 8;

/// A disk in an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ArchivedDisk {
    pub(crate) name: String,
    pub(crate) content: Content,
}

/// Returns the disks, in the order of the descriptor where there is one; `None` when the file is no archive.
///
/// With a descriptor, what it calls a disk is one, and every one of them must be there. Without, or with one that names no disk,
/// disks are told by their names.
pub(crate) fn disks(file: &SourceFile) -> Result<Option<Vec<ArchivedDisk>>> {
    if !is_tar(file)? {
        return Ok(None);
    }
    let members = files(file)?;
    let described = match descriptor_of(file, &members)? {
        Some((member, described)) => described_disks(file, member, &named(file, member, &described)?, &members)?,
        None => Vec::new(),
    };
    let disks = if described.is_empty() { disks_by_name(&members) } else { described };
    if disks.is_empty() {
        return Err(no_disk(file, &members));
    }
    Ok(Some(disks))
}

/// Returns the disk that was chosen, or the only one; `None` when the file is no archive.
pub(crate) fn chosen_disk(file: &SourceFile, chosen: Option<&str>) -> Result<Option<ArchivedDisk>> {
    let Some(mut disks) = disks(file)? else { return Ok(None) };
    let names = || list(disks.iter().map(|disk| disk.name.as_str()));
    let index = match chosen {
        None if disks.len() > 1 => {
            let rule = format!("the archive holds {} disks: {}", disks.len(), names());
            return Err(file.error(ErrorKind::SeveralDisks, rule).at(0));
        }
        None => Some(0),
        Some(chosen) => disks.iter().position(|disk| disk.name == chosen),
    };
    match index {
        Some(index) => Ok(Some(disks.swap_remove(index))),
        None => {
            let rule = format!("the archive holds no disk {:?}", chosen.unwrap_or_default());
            let hint = format!("it holds {}", names());
            Err(file.error(ErrorKind::InvalidInput, rule).at(0).with_hint(hint))
        }
    }
}

/// Returns the text that describes the archive; `None` when the file is no archive with one.
pub(crate) fn archived_descriptor(file: &SourceFile) -> Result<Option<Described>> {
    if !is_tar(file)? {
        return Ok(None);
    }
    Ok(descriptor_of(file, &files(file)?)?.map(|(_, described)| described))
}

/// Returns the bytes of a file that the descriptor names, of which there are at most `limit`; `None` when it is not there.
pub(crate) fn archived_file(file: &SourceFile, name: &str, limit: u64) -> Result<Option<Vec<u8>>> {
    let members = files(file)?;
    let Some((descriptor, _)) = descriptor_of(file, &members)? else { return Ok(None) };
    let decoded = percent_decoded(name);
    let find = |name: &str| {
        let place = beside(&descriptor.name, name)?;
        members.iter().find(|member| member.name == place && member.kind == MemberKind::File)
    };
    let Some(member) = find(name).or_else(|| find(&decoded)) else { return Ok(None) };
    if member.content.len > limit {
        let rule = format!("{name:?} has {} bytes, more than {limit}", member.content.len);
        return Err(file.error(ErrorKind::TooLarge, rule).at(member.at));
    }
    let mut bytes = vec![0; member.content.len as usize];
    member.content.read_at(file, 0, &mut bytes)?;
    Ok(Some(bytes))
}

/// Returns the members that are files or links, without those in which macOS keeps what tar has no place for.
pub(crate) fn files(file: &SourceFile) -> Result<Vec<Member>> {
    let is_apples = |name: &str| {
        name.starts_with("__MACOSX/") || name.rsplit('/').next().is_some_and(|base| base.starts_with("._"))
    };
    let mut members = members(file)?;
    members.retain(|member| matches!(member.kind, MemberKind::File | MemberKind::Link) && !is_apples(&member.name));
    Ok(members)
}

/// Returns the names of what other readers of the archive could take for its OVF descriptor: they do not skip what macOS adds, or know less of
/// tar's ways to name a member.
pub(crate) fn other_descriptors(file: &SourceFile) -> Result<Vec<String>> {
    const ENDING: &str = DESCRIPTORS[0];
    if !is_tar(file)? {
        return Ok(Vec::new());
    }
    let ours = files(file)?.into_iter().find(|member| has_extension(&member.name, ENDING)).map(|member| member.at);
    let others = members(file)?.into_iter().filter(|member| Some(member.at) != ours);
    let names = others.map(|member| [member.name, member.header_name]);
    Ok(names.filter_map(|names| names.into_iter().find(|name| has_extension(name, ENDING))).collect())
}

/// Returns the only member with this extension.
pub(crate) fn only<'a>(file: &SourceFile, members: &'a [Member], extension: &str) -> Result<Option<&'a Member>> {
    let found: Vec<_> = members.iter().filter(|member| has_extension(&member.name, extension)).collect();
    match found.as_slice() {
        [] => Ok(None),
        [one] => Ok(Some(one)),
        [_, second, ..] => {
            let names = list(found.iter().map(|member| member.name.as_str()));
            let rule = format!(
                "the archive holds {} files of the kind .{extension}, where there is one: {names}",
                found.len()
            );
            Err(file
                .error(ErrorKind::Unsupported, rule)
                .at(second.at)
                .with_hint("unpack it, and name the disks that are meant"))
        }
    }
}

/// Finds the descriptor: an OVF, or else the VMX of VMware's boxes.
fn descriptor_of<'a>(file: &SourceFile, members: &'a [Member]) -> Result<Option<(&'a Member, Described)>> {
    for ending in DESCRIPTORS {
        let Some(member) = only(file, members, ending)? else { continue };
        let fail = |kind, rule: String| file.error(kind, rule).at(member.at);
        if member.content.len > MAX_DESCRIPTOR {
            return Err(fail(ErrorKind::TooLarge, format!("the descriptor {:?} is larger than 16 MiB", member.name)));
        }
        let mut bytes = vec![0; member.content.len as usize];
        member.content.read_at(file, 0, &mut bytes)?;
        let described = Described::read(ending, &bytes).map_err(|error| in_member(file, member, &error))?;
        return Ok(Some((member, described)));
    }
    Ok(None)
}

/// Says what is wrong with a descriptor in an archive.
fn in_member(file: &SourceFile, member: &Member, error: &Error) -> Error {
    let place = error.offset().map_or_else(String::new, |offset| format!(", byte {offset}"));
    let rule = format!("the descriptor {:?}{place}: {}", member.name, error.rule());
    file.error(error.kind(), rule)
        .at(member.at)
        .with_hint("mend the descriptor, or unpack the archive (it is a tar) and name the disk itself")
}

fn named(file: &SourceFile, member: &Member, described: &Described) -> Result<Descriptor> {
    described.descriptor().map_err(|error| in_member(file, member, &error))
}

/// Returns the disks of the descriptor; an error when one of them is not there as a whole.
fn described_disks(
    file: &SourceFile,
    member: &Member,
    descriptor: &Descriptor,
    members: &[Member],
) -> Result<Vec<ArchivedDisk>> {
    let disk = |disk: &super::ovf_reader::DescribedDisk| {
        if let Some(parent) = &disk.parent {
            let rule = format!("the disk {:?} of the package is a difference to the disk {parent:?}", disk.id);
            return Err(file
                .error(ErrorKind::Unsupported, rule)
                .at(0)
                .with_hint("export the machine without snapshots, or merge them first"));
        }
        let Some(id) = &disk.file else {
            let Some(capacity) = disk.capacity else {
                let rule = format!("the disk {:?} of the package has neither a file nor a size in bytes", disk.id);
                return Err(file.error(ErrorKind::Corrupt, rule).at(0));
            };
            return Ok(ArchivedDisk { name: disk.id.clone(), content: Content::hole(capacity) });
        };
        let Some(reference) = descriptor.reference(id) else {
            let rule = format!(
                "the disk {:?} of the package is in the file {id:?}, which the descriptor does not name",
                disk.id
            );
            return Err(file.error(ErrorKind::Corrupt, rule).at(0));
        };
        let content = referenced(file, &member.name, reference, members)?;
        Ok(ArchivedDisk { name: reference.href.clone(), content })
    };
    descriptor.disks.iter().map(disk).collect()
}

/// Returns the content of a file that the descriptor of this name names, which may be in parts.
fn referenced(file: &SourceFile, descriptor: &str, reference: &Reference, members: &[Member]) -> Result<Content> {
    let name = &reference.href;
    let decoded = percent_decoded(name);
    let missing = |name: &str| {
        let rule = format!("the descriptor names {name:?}, which the archive does not hold");
        let hint = "the archive is not complete: get it again, or unpack it and name the disk that is there";
        file.error(ErrorKind::Truncated, rule).at(0).with_hint(hint)
    };
    let find = |name: &str| {
        let place = beside(descriptor, name)?;
        members.iter().find(|member| member.name == place)
    };
    if let Some(member) = find(name).or_else(|| find(&decoded)) {
        return match member.kind {
            MemberKind::File => Ok(member.content.clone()),
            _ => {
                let rule = format!("{name:?} in the archive is a link");
                let hint = "unpack the archive, and name the disk";
                Err(file.error(ErrorKind::Unsupported, rule).at(member.at).with_hint(hint))
            }
        };
    }
    let Some(chunk_size) = reference.chunk_size else { return Err(missing(name)) };
    let mut content = Content::default();
    for number in 0..MAX_CHUNKS {
        let wanted = reference.chunk(number);
        let Some(chunk) = find(&wanted) else {
            // Without the size, the first part that is not full would be the only sign of the end.
            let whole = reference.size.is_none_or(|size| size == content.len) && number > 0;
            return if whole { Ok(content) } else { Err(missing(&wanted)) };
        };
        // All but the last are full.
        if !content.len.is_multiple_of(chunk_size) || chunk.content.len > chunk_size {
            let rule = format!(
                "{:?} is a part of another length than the {chunk_size} bytes that the descriptor says",
                chunk.name
            );
            return Err(file.error(ErrorKind::Corrupt, rule).at(chunk.at));
        }
        let too_long = || file.error(ErrorKind::TooLarge, format!("the parts of {name:?} are too long")).at(chunk.at);
        content.push(&chunk.content).ok_or_else(too_long)?;
    }
    Err(file.error(ErrorKind::Unsupported, format!("{name:?} is in more than {MAX_CHUNKS} parts")).at(0))
}

/// Returns the place in the archive of a file that another one names, seen from that one's folder; `None` when it leads out of
/// the archive.
pub(crate) fn beside(from: &str, name: &str) -> Option<String> {
    let folder = from.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut place: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    if name.starts_with('/') {
        return None;
    }
    for part in name.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                place.pop()?;
            }
            part => place.push(part),
        }
    }
    Some(place.join("/"))
}

/// References are URIs, in which a blank is `%20`.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let digits = after.get(..2).filter(|_| *first == b'%').and_then(|digits| std::str::from_utf8(digits).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Says whether the name is that of a disk, packed or not.
pub(crate) fn is_disk(name: &str) -> bool {
    let base = PACKED_EXTENSIONS.iter().find_map(|packed| {
        let (base, extension) = name.rsplit_once('.')?;
        extension.eq_ignore_ascii_case(packed).then_some(base)
    });
    // `img` is libvirt's box, `raw` Google's image.
    let mut extensions = Format::ALL.into_iter().flat_map(Format::names);
    extensions.any(|extension| has_extension(base.unwrap_or(name), extension))
}

/// Returns the files that are called as disks are, without the extents that a VMDK among them names.
fn disks_by_name(members: &[Member]) -> Vec<ArchivedDisk> {
    let found = members.iter().filter(|member| member.kind == MemberKind::File && is_disk(&member.name));
    let disks: Vec<_> = found.map(|member| (is_extent(&member.name), member)).collect();
    let all_extents = disks.iter().all(|(extent, _)| *extent);
    let whole = disks.into_iter().filter(|(extent, _)| all_extents || !extent);
    whole.map(|(_, member)| ArchivedDisk { name: member.name.clone(), content: member.content.clone() }).collect()
}

/// Says whether the name is that of a part of a VMDK: `a-flat.vmdk`, `a-s001.vmdk`, `a-f001.vmdk`.
fn is_extent(name: &str) -> bool {
    let Some((base, "vmdk")) = name.rsplit_once('.') else { return false };
    let Some((_, part)) = base.rsplit_once('-') else { return false };
    matches!(part, "flat" | "delta" | "ctk" | "sesparse")
        || part
            .strip_prefix(['s', 'f'])
            .is_some_and(|number| number.len() == 3 && number.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Says what the archive is instead.
fn no_disk(file: &SourceFile, members: &[Member]) -> Error {
    if members.first().is_some_and(|first| first.name == "ova.xml") {
        let rule = "this is an XVA, whose disks are in thousands of pieces";
        return file
            .error(ErrorKind::Unsupported, rule)
            .at(0)
            .with_hint("`xe vdi-export format=vhd` exports a disk that can be read");
    }
    let rule = match members {
        [] => "this is a tar archive without a file".to_owned(),
        members => {
            format!(
                "this is a tar archive without a disk; it holds {}",
                list(members.iter().map(|member| member.name.as_str()))
            )
        }
    };
    let hint = "disks in it are called .raw, .img, .qcow2, .vmdk, .vdi, .vhd or .vhdx; unpack it, and name the disk that is meant";
    file.error(ErrorKind::Unsupported, rule).at(0).with_hint(hint)
}

/// Lists names, the first of them when there are many.
pub(crate) fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<_> = names.map(|name| format!("{name:?}")).collect();
    let more = names.len().saturating_sub(MAX_NAMES);
    let shown = names[..names.len() - more].join(", ");
    if more > 0 { format!("{shown} and {more} more") } else { shown }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_are_told_by_their_names() {
        for (name, extent) in [
            ("disk.vmdk", false),
            ("disk-s001.vmdk", true),
            ("disk-f012.vmdk", true),
            ("disk-flat.vmdk", true),
            ("my-server.vmdk", false),
            ("disk-s1.vmdk", false),
            ("disk-s001.vdi", false),
        ] {
            assert_eq!(is_extent(name), extent, "{name}");
        }
    }

    #[test]
    fn names_are_seen_from_the_folder_of_what_names_them() {
        for (from, name, place) in [
            ("a.ovf", "a.vmdk", Some("a.vmdk")),
            ("a.ovf", "./b//a.vmdk", Some("b/a.vmdk")),
            ("vm/a.ovf", "a.vmdk", Some("vm/a.vmdk")),
            ("x/vm/a.ovf", "../disks/a.vmdk", Some("x/disks/a.vmdk")),
            ("vm/a.ovf", "../../a.vmdk", None),
            ("vm/a.ovf", "/a.vmdk", None),
        ] {
            assert_eq!(beside(from, name).as_deref(), place, "{from} {name}");
        }
    }

    #[test]
    fn references_are_uris() {
        assert_eq!(percent_decoded("a%20b%C3%BC%.vmdk%2"), "a b\u{fc}%.vmdk%2");
    }
}
