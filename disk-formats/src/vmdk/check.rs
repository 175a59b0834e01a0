//! Checks a VMDK: one sparse file, or a descriptor and the extents that it names.

use std::sync::atomic::AtomicBool;

use super::check_se_sparse;
use super::check_sparse::SparseCheck;
use super::checked_extent::Extent;
use super::descriptor_parser::{MAX_DESCRIPTOR, ParsedDescriptor, ParsedExtent, ParsedKind};
use super::layout::{COWD_MAGIC, DIRECTORY_AT_END, Flags, MAGIC, SECTOR, SESPARSE_MAGIC};
use super::sparse_extent::{Geometry, embedded_descriptor, read_header, sector_offset};
use crate::error::{ErrorKind, Result};
use crate::format::Format;
use crate::reading::check_report::CheckReport;
use crate::reading::opening::Opening;
use crate::reading::source_file::SourceFile;

/// Finds tables and grains outside the file or on one another, a redundant directory that differs, markers and a footer that do
/// not fit, and extents that are too short. The extents that a descriptor names are opened if the policy allows it, a parent never.
pub(crate) fn check(file: &SourceFile, opening: &Opening<'_>) -> Result<CheckReport> {
    let mut report = CheckReport::new(Format::Vmdk, 0);
    let mut front = [0; 8];
    file.read_padded_at(0, &mut front)?;
    if front.starts_with(&MAGIC) {
        check_hosted(file, Extent::whole(), None, &mut report)?;
    } else if front.starts_with(&COWD_MAGIC) {
        check_cowd(file, Extent::whole(), None, &mut report)?;
    } else if u64::from_le_bytes(front) == SESPARSE_MAGIC {
        check_se_sparse::check(file, Extent::whole(), &mut report)?;
    } else {
        check_descriptor(file, opening, &mut report)?;
    }
    Ok(report)
}

/// Fails when tables or grains that reading a sparse file follows lie on one another. Markers are not looked at: reading a
/// compressed grain finds out when it is another one's.
pub(super) fn refuse_overlaps(file: &SourceFile, stop: &AtomicBool) -> Result<()> {
    let mut report = CheckReport::new(Format::Vmdk, 0);
    let mut front = [0; 4];
    file.read_padded_at(0, &mut front)?;
    match front == COWD_MAGIC {
        true => check_cowd(file, Extent::whole(), Some(stop), &mut report)?,
        false => check_hosted(file, Extent::whole(), Some(stop), &mut report)?,
    };
    report.refuse_overlap(file)
}

/// Checks a hosted sparse file; returns its guest sectors.
fn check_hosted(
    file: &SourceFile,
    extent: Extent<'_>,
    only_overlaps: Option<&AtomicBool>,
    report: &mut CheckReport,
) -> Result<u64> {
    let (geometry, header) = Geometry::hosted(file)?;
    embedded_descriptor(file, &header)?;
    let mut structures = vec![(0, SECTOR)];
    let descriptor = header.descriptor_offset.get();
    if descriptor != 0 {
        let offset = sector_offset(file, descriptor, 28)?;
        structures.push((offset, header.descriptor_sectors.get() * SECTOR));
    }
    let redundant = header.redundant_directory.get();
    let has_redundant = header.flags.get() & Flags::REDUNDANT != 0 && redundant != 0;
    let mut check = SparseCheck {
        file,
        extent,
        redundant_directory: if has_redundant { Some(sector_offset(file, redundant, 48)?) } else { None },
        is_stream: read_header(file, 0)?.directory.get() == DIRECTORY_AT_END,
        structures,
        geometry: &geometry,
        only_overlaps,
    };
    if check.is_stream {
        check.trailer(&header, report)?;
    }
    check.run(report)?;
    Ok(geometry.capacity_sectors)
}

/// Checks ESX's copy-on-write file; returns its guest sectors.
fn check_cowd(
    file: &SourceFile,
    extent: Extent<'_>,
    only_overlaps: Option<&AtomicBool>,
    report: &mut CheckReport,
) -> Result<u64> {
    let geometry = Geometry::cowd(file)?;
    let check = SparseCheck {
        file,
        extent,
        redundant_directory: None,
        is_stream: false,
        structures: vec![(0, 4 * SECTOR)],
        geometry: &geometry,
        only_overlaps,
    };
    check.run(report)?;
    Ok(geometry.capacity_sectors)
}

fn check_descriptor(file: &SourceFile, opening: &Opening<'_>, report: &mut CheckReport) -> Result<()> {
    if file.len() > MAX_DESCRIPTOR {
        return Err(file.error(ErrorKind::Corrupt, "neither a sparse vmdk nor a descriptor of at most 1 MiB").at(0));
    }
    let bytes = file.read_table(0, file.len(), "the descriptor")?;
    let descriptor = ParsedDescriptor::parse(&bytes, 0, file)?;
    match descriptor.sectors().and_then(|sectors| sectors.checked_mul(SECTOR)) {
        None => return Err(file.error(ErrorKind::Corrupt, "the extents' sizes overflow").at(0)),
        Some(0) => return Err(file.error(ErrorKind::Corrupt, "the descriptor names no extents").at(0)),
        Some(_) => {}
    }
    let mut start = 0;
    let mut used = Vec::new();
    for line in &descriptor.extents {
        if line.kind != ParsedKind::Zero {
            let named = line.file.open(opening, file, line.at)?;
            let bytes = check_named(&named, line, start, report)?;
            let extent = Extent { name: &line.file.text, start };
            let shared = |(other, range): &((u64, u64), std::ops::Range<u64>)| {
                *other == named.identity() && range.start < bytes.end && bytes.start < range.end
            };
            if used.iter().any(shared) {
                extent.overlap(report, bytes.start, Some(0), "two extents share a part of the file");
            }
            used.push((named.identity(), bytes));
        }
        start += line.sectors * SECTOR;
    }
    Ok(())
}

/// Checks a file that the descriptor names; returns the part of it that belongs to the extent.
fn check_named(
    file: &SourceFile,
    line: &ParsedExtent,
    start: u64,
    report: &mut CheckReport,
) -> Result<std::ops::Range<u64>> {
    let extent = Extent { name: &line.file.text, start };
    let sectors = match line.kind {
        ParsedKind::Flat(first) => {
            let offset = sector_offset(file, first, line.at)?;
            let end = offset.saturating_add(line.sectors * SECTOR);
            if end > file.len() {
                let guest = file.len().saturating_sub(offset);
                extent.corruption(report, file.len(), Some(guest), "the file is shorter than its extent");
            }
            return Ok(offset..end);
        }
        ParsedKind::Sparse => check_hosted(file, extent, None, report)?,
        ParsedKind::VmfsSparse => check_cowd(file, extent, None, report)?,
        ParsedKind::SeSparse => check_se_sparse::check(file, extent, report)?,
        ParsedKind::Zero => line.sectors,
    };
    if sectors < line.sectors {
        let rule = "the extent's header has fewer sectors than the descriptor says";
        extent.corruption(report, 12, Some(sectors * SECTOR), rule);
    }
    Ok(0..u64::MAX)
}
