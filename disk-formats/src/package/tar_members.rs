//! The members of a tar archive, as GNU tar, bsdtar, Python and macOS write them: long names, pax headers (POSIX.1-2001), holes.

use super::content::Content;
use super::tar::{self, BLOCK, RawHeader};
use super::tar_sparse::{self, PaxSparse};
use crate::error::{ErrorKind, Result};
use crate::reading::source_file::SourceFile;

/// Most members looked at.
const MAX_MEMBERS: usize = 1024;
/// Longest pax header in bytes.
const MAX_EXTRA: u64 = 1 << 20;
/// Longest name in bytes: what Linux takes.
const MAX_NAME: usize = 4096;
/// Most runs of data in all files with holes: they are kept in memory, and an archive may be packed.
const MAX_RUNS: usize = 1 << 20;

/// What a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberKind {
    File,
    Directory,
    /// A hard or symbolic link.
    Link,
    Other,
}

/// A member of an archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// Without `./` at its front.
    pub(crate) name: String,
    /// What its own header calls it, which readers take that do not know the headers before it.
    pub(crate) header_name: String,
    pub(crate) kind: MemberKind,
    pub(crate) content: Content,
    /// Offset of its header.
    pub(crate) at: u64,
}

/// Says whether the file begins as a tar archive does.
pub(crate) fn is_tar(file: &SourceFile) -> Result<bool> {
    Ok(matches!(block_at(file, 0)?, Some(Block::Header(..))))
}

/// What earlier headers say of the next member.
#[derive(Default)]
struct Pending {
    name: Option<String>,
    size: Option<u64>,
    sparse: Option<PaxSparse>,
}

/// Returns the members up to the archive's end; their contents lie inside the file.
pub(crate) fn members(file: &SourceFile) -> Result<Vec<Member>> {
    let (mut members, mut offset, mut runs) = (Vec::new(), 0, 0);
    let mut pending = Pending::default();
    loop {
        let (header, block) = match block_at(file, offset)? {
            Some(Block::Header(header, block)) => (header, block),
            Some(Block::Zero) | None => return Ok(members),
            Some(Block::Other) => {
                let rule = "the archive is damaged: where a member should begin there is none";
                return Err(file.error(ErrorKind::Corrupt, rule).at(offset));
            }
        };
        let data = offset + BLOCK;
        // The extensions have no names of their own that count.
        let extra = |what| {
            if header.size > MAX_EXTRA {
                let rule = format!("{what} in the archive is longer than 1 MiB");
                return Err(file.error(ErrorKind::TooLarge, rule).at(offset));
            }
            file.read_table(data, header.size, what)
        };
        match header.kind {
            b'L' => pending.name = Some(tar::text(&extra("a long name")?)),
            b'x' | b'X' => pending
                .take(&extra("a pax header")?)
                .ok_or_else(|| file.error(ErrorKind::Corrupt, "a pax header in the archive is damaged").at(data))?,
            // Long targets of links, and what counts for all members, say nothing about a disk.
            b'K' | b'g' => {
                extra("a header")?;
            }
            _ => {
                if members.len() == MAX_MEMBERS {
                    let rule = "a tar archive with more than 1024 members, which is no package of disks";
                    return Err(file
                        .error(ErrorKind::Unsupported, rule)
                        .at(offset)
                        .with_hint("unpack it, and name the disk that is meant"));
                }
                let (member, end) = member(file, offset, &block, header, std::mem::take(&mut pending))?;
                let large = |rule: &'static str| file.error(ErrorKind::TooLarge, rule).at(offset);
                if member.name.len() > MAX_NAME {
                    return Err(large("a name in the archive is longer than 4096 bytes"));
                }
                runs += member.content.runs();
                if runs > MAX_RUNS {
                    let error = large("the files in the archive have more than 1048576 runs of data between holes");
                    return Err(error.with_hint("unpack it, and name the disk that is meant"));
                }
                offset = end.next_multiple_of(BLOCK);
                members.push(member);
                continue;
            }
        }
        offset = data + header.size.next_multiple_of(BLOCK);
    }
}

/// Returns a member, and where its stored bytes end.
fn member(file: &SourceFile, at: u64, block: &[u8], header: RawHeader, pending: Pending) -> Result<(Member, u64)> {
    let data = at + BLOCK;
    let kind = match header.kind {
        b'0' | b'7' | b'S' | 0 if !header.name.ends_with('/') => MemberKind::File,
        b'1' | b'2' => MemberKind::Link,
        b'0' | b'5' | b'7' | 0 => MemberKind::Directory,
        _ => MemberKind::Other,
    };
    // Links, devices and directories have no content, whatever their size says.
    let has_content = !matches!(header.kind, b'1'..=b'6');
    let stored = if has_content { pending.size.unwrap_or(header.size) } else { 0 };
    file.check_range(data, stored, "a member of the archive")?;
    let header_name = header.name.clone();
    let mut name = pending.name.unwrap_or(header.name);
    let (content, data) = match (header.kind, pending.sparse) {
        (b'S', _) => {
            let (content, data) = tar_sparse::old(file, at, block, stored)?;
            file.check_range(data, stored, "a member of the archive")?;
            (content, data)
        }
        (_, Some(mut sparse)) if kind == MemberKind::File => {
            name = sparse.name.take().unwrap_or(name);
            (sparse.content(file, data, stored)?, data)
        }
        _ => (Content::whole(data, stored), data),
    };
    let mut plain = name.as_str();
    while let Some(rest) = plain.strip_prefix("./") {
        plain = rest.trim_start_matches('/');
    }
    Ok((Member { name: plain.to_owned(), header_name, kind, content, at }, data + stored))
}

impl Pending {
    /// Takes the records `LENGTH KEY=VALUE\n` of a pax header; `None` when they are damaged.
    fn take(&mut self, mut records: &[u8]) -> Option<()> {
        while records.first().is_some_and(|byte| *byte != 0) {
            let blank = records.iter().take(8).position(|byte| *byte == b' ')?;
            let len: usize = std::str::from_utf8(&records[..blank]).ok()?.parse().ok()?;
            let record = records.get(blank + 1..len)?.strip_suffix(b"\n")?;
            records = &records[len..];
            let record = String::from_utf8_lossy(record);
            let (key, value) = record.split_once('=')?;
            match key {
                "path" => self.name = Some(value.to_owned()),
                "size" => self.size = Some(value.parse().ok()?),
                _ => {
                    if let Some(key) = key.strip_prefix("GNU.sparse.") {
                        self.sparse.get_or_insert_default().take(key, value)?;
                    }
                }
            }
        }
        Some(())
    }
}

/// A block where a member may begin.
enum Block {
    Header(RawHeader, Vec<u8>),
    /// Two of these end an archive; one is enough.
    Zero,
    Other,
}

/// Returns the block at an offset; `None` at the end of the file.
fn block_at(file: &SourceFile, offset: u64) -> Result<Option<Block>> {
    if offset >= file.len() {
        return Ok(None);
    }
    let mut block = vec![0; BLOCK as usize];
    file.read_padded_at(offset, &mut block)?;
    Ok(Some(match tar::read_header(&block) {
        Some(header) => Block::Header(header, block),
        None if block.iter().all(|byte| *byte == 0) => Block::Zero,
        None => Block::Other,
    }))
}

/// Compares the last part of a name in any case.
pub(crate) fn has_extension(name: &str, extension: &str) -> bool {
    name.rsplit_once('.').is_some_and(|(_, found)| found.eq_ignore_ascii_case(extension))
}
