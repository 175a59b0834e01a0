//! Reads VMDKs of all shapes: one file or many, with a parent or without.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::descriptor_parser::{MAX_DESCRIPTOR, ParsedDescriptor, ParsedExtent, ParsedKind};
use super::layout::{COWD_MAGIC, MAGIC, SECTOR, SESPARSE_MAGIC};
use super::se_sparse::SeSparseExtent;
use super::sparse_extent::{SparseExtent, sector_offset};
use crate::error::{ErrorKind, Result};
use crate::format::Format;
use crate::raw::reader::file_extent;
use crate::reading::extent::{Extent, ExtentKind};
use crate::reading::format_facts::{FormatFacts, VmdkExtentFacts, VmdkFacts};
use crate::reading::image_info::ImageInfo;
use crate::reading::map::MapEntry;
use crate::reading::mapping::{self, Mapped, Place};
use crate::reading::opening::Opening;
use crate::reading::reader::DiskReader;
use crate::reading::source_file::SourceFile;

/// One stretch of the disk.
struct Part {
    /// Guest bytes before it.
    start: u64,
    len: u64,
    kind: PartKind,
}

enum PartKind {
    Zero,
    Flat { file: SourceFile, offset: u64 },
    Sparse(SparseExtent),
    SeSparse(SeSparseExtent),
}

/// An opened VMDK.
pub(crate) struct VmdkReader {
    descriptor: ParsedDescriptor,
    /// The file that was opened first.
    path: PathBuf,
    /// Whether the first file is a descriptor only.
    described_apart: bool,
    parts: Vec<Part>,
    size: u64,
    parent: Option<Box<Self>>,
}

impl VmdkReader {
    pub(crate) fn open(file: SourceFile, opening: &Opening<'_>) -> Result<Self> {
        let mut front = [0; 8];
        file.read_padded_at(0, &mut front)?;
        let path = file.path().to_path_buf();
        let mut reader = if front.starts_with(&MAGIC) {
            let (extent, descriptor) = SparseExtent::open_hosted(file)?;
            let descriptor = descriptor.unwrap_or_default();
            let size = embedded_size(&extent, &descriptor);
            Self::single(path, descriptor, PartKind::Sparse(extent), size)
        } else if front.starts_with(&COWD_MAGIC) {
            let extent = SparseExtent::open_cowd(file)?;
            let size = extent.capacity();
            Self::single(path, ParsedDescriptor::default(), PartKind::Sparse(extent), size)
        } else if u64::from_le_bytes(front) == SESPARSE_MAGIC {
            let extent = SeSparseExtent::open(file)?;
            let size = extent.capacity();
            Self::single(path, ParsedDescriptor::default(), PartKind::SeSparse(extent), size)
        } else {
            Self::from_descriptor_file(&file, opening)?
        };
        let own_file = reader.first_file();
        if let Some(file) = own_file {
            opening.check_virtual_size(reader.size, file, 12)?;
        }
        if !opening.is_alone() {
            reader.parent = reader.open_parent(opening)?.map(Box::new);
        }
        Ok(reader)
    }

    fn single(path: PathBuf, descriptor: ParsedDescriptor, kind: PartKind, size: u64) -> Self {
        let parts = vec![Part { start: 0, len: size, kind }];
        Self { descriptor, path, described_apart: false, parts, size, parent: None }
    }

    fn from_descriptor_file(file: &SourceFile, opening: &Opening<'_>) -> Result<Self> {
        if file.len() > MAX_DESCRIPTOR {
            return Err(file
                .error(ErrorKind::Corrupt, "neither a sparse vmdk nor a descriptor of at most 1 MiB")
                .at(0));
        }
        let bytes = file.read_table(0, file.len(), "the descriptor")?;
        let descriptor = ParsedDescriptor::parse(&bytes, 0, file)?;
        let sectors = descriptor.sectors().and_then(|sectors| sectors.checked_mul(SECTOR));
        let size = match sectors {
            None => return Err(file.error(ErrorKind::Corrupt, "the extents' sizes overflow").at(0)),
            Some(0) => return Err(file.error(ErrorKind::Corrupt, "the descriptor names no extents").at(0)),
            Some(size) => size,
        };
        opening.check_virtual_size(size, file, 0)?;
        let mut parts = Vec::new();
        let mut start = 0;
        for extent in &descriptor.extents {
            let len = extent.sectors * SECTOR;
            let kind = match extent.kind {
                ParsedKind::Zero => PartKind::Zero,
                ParsedKind::Flat(sector) => {
                    let named = extent.file.open(opening, file, extent.at)?;
                    let offset = sector_offset(file, sector, extent.at)?;
                    named.check_range(offset, len, "a flat extent")?;
                    PartKind::Flat { file: named, offset }
                }
                ParsedKind::Sparse => {
                    PartKind::Sparse(SparseExtent::open_hosted(extent.file.open(opening, file, extent.at)?)?.0)
                }
                ParsedKind::VmfsSparse => {
                    PartKind::Sparse(SparseExtent::open_cowd(extent.file.open(opening, file, extent.at)?)?)
                }
                ParsedKind::SeSparse => {
                    PartKind::SeSparse(SeSparseExtent::open(extent.file.open(opening, file, extent.at)?)?)
                }
            };
            parts.push(Part { start, len, kind });
            start += len;
        }
        Ok(Self { descriptor, path: file.path().to_path_buf(), described_apart: true, parts, size, parent: None })
    }

    fn open_parent(&self, opening: &Opening<'_>) -> Result<Option<Self>> {
        let Some(from) = self.first_file().filter(|_| self.descriptor.has_parent()) else { return Ok(None) };
        let (at, id) = (self.descriptor.parent_at, self.descriptor.parent_content_id);
        let file = match (opening.told_parent(from, Format::Vmdk, at)?, &self.descriptor.parent_hint) {
            (Some(told), _) => told,
            (None, Some(hint)) if id.is_some() => hint.open(opening, from, at)?,
            (None, _) if id.is_none() => {
                return Err(from
                    .error(
                        ErrorKind::Unsupported,
                        "a differencing vmdk of VirtualBox needs VirtualBox to find its parent",
                    )
                    .at(at)
                    .with_hint("merge it with `VBoxManage clonemedium` first"));
            }
            (None, _) => {
                return Err(from.error(ErrorKind::Corrupt, "the disk has a parent but does not name it").at(at));
            }
        };
        let below = opening.descend(&file);
        let parent = Self::open(file, &below)?;
        let changed = match (id, &self.descriptor.parent_uuid) {
            (Some(id), _) => parent.descriptor.content_id != Some(id),
            (None, uuid) => parent.descriptor.uuid != *uuid,
        };
        if changed {
            let rule = format!("the parent {:?} was changed after this disk was made from it", parent.path);
            return Err(from.error(ErrorKind::Corrupt, rule).at(at));
        }
        Ok(Some(parent))
    }

    fn facts(&self) -> VmdkFacts {
        let directory = self.path.parent().unwrap_or(Path::new(""));
        let lines = self.descriptor.extents.iter();
        let extent = |(part, line): (&Part, Option<&ParsedExtent>)| {
            let (cluster_size, compressed) = match &part.kind {
                PartKind::Zero | PartKind::Flat { .. } => (None, false),
                PartKind::Sparse(extent) => (Some(extent.grain()), extent.is_compressed()),
                PartKind::SeSparse(extent) => (Some(extent.grain()), false),
            };
            let (file, kind) = match line.filter(|_| self.described_apart) {
                Some(line) if line.kind == ParsedKind::Zero => (PathBuf::new(), "ZERO"),
                Some(line) => (directory.join(&line.file.text), line.kind.word(&self.descriptor.create_type)),
                None => (self.path.clone(), ""),
            };
            VmdkExtentFacts { file, kind, virtual_size: part.len, cluster_size, compressed }
        };
        VmdkFacts {
            content_id: self.descriptor.content_id.unwrap_or_default(),
            parent_content_id: self.descriptor.parent_content_id.unwrap_or(u32::MAX),
            extents: self.parts.iter().zip(lines.map(Some).chain(std::iter::repeat(None))).map(extent).collect(),
        }
    }

    fn first_file(&self) -> Option<&SourceFile> {
        self.parts.iter().find_map(|part| part.file())
    }

    fn part(&self, guest: u64) -> &Part {
        let index = self.parts.partition_point(|part| part.start + part.len <= guest);
        &self.parts[index.min(self.parts.len() - 1)]
    }
}

/// The descriptor's extent line knows the true size where a writer rounded the header's capacity up to a grain.
fn embedded_size(extent: &SparseExtent, descriptor: &ParsedDescriptor) -> u64 {
    let line = match descriptor.extents.as_slice() {
        [line] => line.sectors.saturating_mul(SECTOR),
        _ => 0,
    };
    match extent.capacity().checked_sub(line) {
        Some(difference) if line > 0 && difference < extent.grain() => line,
        _ => extent.capacity(),
    }
}

impl Part {
    /// Returns the file and which part of it belongs to this one.
    fn bytes(&self) -> Option<(&SourceFile, Range<u64>)> {
        match &self.kind {
            PartKind::Flat { file, offset } => Some((file, *offset..offset.saturating_add(self.len))),
            _ => self.file().map(|file| (file, 0..u64::MAX)),
        }
    }

    fn file(&self) -> Option<&SourceFile> {
        match &self.kind {
            PartKind::Zero => None,
            PartKind::Flat { file, .. } => Some(file),
            PartKind::Sparse(extent) => Some(extent.file()),
            PartKind::SeSparse(extent) => Some(extent.file()),
        }
    }
}

impl Mapped for VmdkReader {
    fn place(&self, guest: u64) -> Result<(Place, u64)> {
        let part = self.part(guest);
        let within = guest - part.start;
        let left = part.len - within;
        let (place, len) = match &part.kind {
            PartKind::Zero => (Place::Zero, left),
            PartKind::Flat { file, offset } => {
                let at = offset + within;
                let extent = file_extent(file, &(at..offset + part.len))?;
                let place = if extent.kind == ExtentKind::Data { Place::Stored(at) } else { Place::Sparse(at) };
                (place, extent.len)
            }
            // A split extent may be shorter than its line says; the rest is unallocated.
            PartKind::Sparse(extent) if within >= extent.capacity() => (Place::Unallocated, left),
            PartKind::Sparse(extent) => extent.place(within)?,
            PartKind::SeSparse(extent) if within >= extent.capacity() => (Place::Unallocated, left),
            PartKind::SeSparse(extent) => extent.place(within)?,
        };
        Ok((place, len.min(left)))
    }

    fn read_stored(&self, stored: u64, guest: u64, buf: &mut [u8]) -> Result<()> {
        let part = self.part(guest);
        match &part.kind {
            PartKind::Zero => buf.fill(0),
            PartKind::Flat { file, .. } => file.read_exact_at(stored, buf)?,
            PartKind::Sparse(extent) => extent.read_stored(stored, guest - part.start, buf)?,
            PartKind::SeSparse(extent) => extent.read_stored(stored, guest - part.start, buf)?,
        }
        Ok(())
    }

    fn below(&self) -> Option<&dyn DiskReader> {
        self.parent.as_deref().map(|parent| parent as &dyn DiskReader)
    }

    fn home(&self, stored: u64, guest: u64) -> (Option<u64>, bool) {
        let part = self.part(guest);
        let within = guest - part.start;
        match &part.kind {
            PartKind::Sparse(extent) if extent.is_compressed() => (None, true),
            PartKind::Sparse(extent) => (extent.file().place(stored + within % extent.grain()), false),
            PartKind::SeSparse(extent) => (extent.file().place(stored + within % extent.grain()), false),
            PartKind::Flat { file, .. } => (file.place(stored), false),
            PartKind::Zero => (None, false),
        }
    }

    fn may_have_below(&self) -> bool {
        true
    }
}

impl DiskReader for VmdkReader {
    fn virtual_size(&self) -> u64 {
        self.size
    }

    fn extents(&self, range: Range<u64>) -> Result<Vec<Extent>> {
        mapping::extents(self, self.size, &range)
    }

    fn map(&self, range: Range<u64>) -> Result<Vec<MapEntry>> {
        mapping::map(self, self.size, &range)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        mapping::read_at(self, self.size, offset, buf)
    }

    fn info(&self) -> ImageInfo {
        let mut files = vec![self.path.clone()];
        files.extend(self.parts.iter().filter_map(Part::file).map(|file| file.path().to_path_buf()));
        files.dedup();
        files.extend(self.parent.iter().flat_map(|parent| parent.info().files));
        let cluster_size = self.parts.iter().find_map(|part| match &part.kind {
            PartKind::Sparse(extent) => Some(extent.grain()),
            _ => None,
        });
        ImageInfo {
            variant: self.descriptor.create_type.clone(),
            cluster_size,
            backing_file: self
                .descriptor
                .parent_content_id
                .and(self.descriptor.parent_hint.as_ref())
                .map(|hint| hint.text.clone()),
            files,
            specific: Some(FormatFacts::Vmdk(self.facts())),
            ..ImageInfo::new(Format::Vmdk, self.size)
        }
    }

    fn refuse_overlaps(&self, stop: &AtomicBool) -> Result<()> {
        let mut used: Vec<((u64, u64), Range<u64>)> = Vec::new();
        for part in &self.parts {
            let Some((file, bytes)) = part.bytes() else { continue };
            let shares = |(other, range): &((u64, u64), Range<u64>)| {
                *other == file.identity() && range.start < bytes.end && bytes.start < range.end
            };
            if used.iter().any(shares) {
                let rule = format!("two extents share a part of the file, at guest offset {:#x}", part.start);
                return Err(file.error(ErrorKind::Corrupt, rule).at(bytes.start));
            }
            used.push((file.identity(), bytes));
            match &part.kind {
                PartKind::Sparse(_) => super::check::refuse_overlaps(file, stop)?,
                PartKind::SeSparse(_) => super::check_se_sparse::refuse_overlaps(file, stop)?,
                PartKind::Zero | PartKind::Flat { .. } => {}
            }
        }
        self.parent.as_ref().map_or(Ok(()), |parent| parent.refuse_overlaps(stop))
    }
}
