//! Checks an image's structure without reading guest data, and counts as `qemu-img check` does.

use std::borrow::Cow;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::open::{Opening, open_first};
use crate::recognise::told_format;
use crate::source_file::SourceFile;
use crate::{Error, ErrorKind, Format, OpenPolicy, Operation, Result, qcow2, vdi, vhd, vhdx, vmdk};

/// Findings that are listed; further ones are only counted.
const MAX_FINDINGS: usize = 1000;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FindingKind {
    /// Guest data may be wrong, or become wrong when the image is written to.
    Corruption,
    /// Space in the file that nothing uses; harmless.
    Leak,
}

/// One broken rule.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Finding {
    /// How bad it is.
    pub kind: FindingKind,
    /// Offset in the file in bytes of what is wrong.
    pub offset: u64,
    /// Guest offset in bytes, where one is known.
    pub guest_offset: Option<u64>,
    /// What is wrong; lower case, no full stop.
    pub rule: Cow<'static, str>,
}

/// What checking an image found. The counts have the meaning of the fields of `qemu-img check --output=json`.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckReport {
    /// The format that was checked.
    pub format: Format,
    /// The first findings; `corruptions` and `leaks` count them all.
    pub findings: Vec<Finding>,
    /// Number of corruptions.
    pub corruptions: u64,
    /// Number of leaked clusters or blocks.
    pub leaks: u64,
    /// Clusters (blocks) of the guest disk.
    pub total_clusters: u64,
    /// Clusters with data in the file.
    pub allocated_clusters: u64,
    /// Clusters that do not follow the one before them, compressed ones included; 0 where the format is not counted so.
    pub fragmented_clusters: u64,
    /// Compressed clusters.
    pub compressed_clusters: u64,
    /// End of the part of the file that is in use, in bytes, where the format has reference counts.
    pub image_end_offset: Option<u64>,
    /// The first of the corruptions that are two things in one place.
    pub(crate) first_overlap: Option<Finding>,
}

impl CheckReport {
    pub(crate) fn new(format: Format, total_clusters: u64) -> Self {
        Self {
            format,
            findings: Vec::new(),
            corruptions: 0,
            leaks: 0,
            total_clusters,
            allocated_clusters: 0,
            fragmented_clusters: 0,
            compressed_clusters: 0,
            image_end_offset: None,
            first_overlap: None,
        }
    }

    /// Returns whether nothing was found.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.corruptions == 0 && self.leaks == 0
    }

    pub(crate) fn corruption(&mut self, offset: u64, guest_offset: Option<u64>, rule: impl Into<Cow<'static, str>>) {
        self.corruptions += 1;
        self.list(FindingKind::Corruption, offset, guest_offset, rule.into());
    }

    /// A corruption: something lies on something else.
    pub(crate) fn overlap(&mut self, offset: u64, guest_offset: Option<u64>, rule: impl Into<Cow<'static, str>>) {
        let rule = rule.into();
        self.first_overlap.get_or_insert_with(|| Finding {
            kind: FindingKind::Corruption,
            offset,
            guest_offset,
            rule: rule.clone(),
        });
        self.corruption(offset, guest_offset, rule);
    }

    /// Turns the first overlap into an error about the file.
    pub(crate) fn refuse_overlap(&self, file: &SourceFile) -> Result<()> {
        let Some(Finding { offset, guest_offset, rule, .. }) = &self.first_overlap else { return Ok(()) };
        let rule = match guest_offset {
            Some(guest) => format!("{rule}, at guest offset {guest:#x}").into(),
            None => rule.clone(),
        };
        Err(file.error(ErrorKind::Corrupt, rule).at(*offset))
    }

    pub(crate) fn leak(&mut self, offset: u64, rule: impl Into<Cow<'static, str>>) {
        self.leaks += 1;
        self.list(FindingKind::Leak, offset, None, rule.into());
    }

    /// Says whether further findings are only counted.
    pub(crate) fn lists_no_more(&self) -> bool {
        self.findings.len() >= MAX_FINDINGS
    }

    fn list(&mut self, kind: FindingKind, offset: u64, guest_offset: Option<u64>, rule: Cow<'static, str>) {
        if !self.lists_no_more() {
            self.findings.push(Finding { kind, offset, guest_offset, rule });
        }
    }
}

/// Ends a walk over a table, looked at now and then, once it was told to stop.
pub(crate) fn attend(stop: Option<&AtomicBool>, index: u64) -> Result<()> {
    match index.is_multiple_of(1 << 14) && stop.is_some_and(|stop| stop.load(Ordering::Relaxed)) {
        true => Err(Error::cancelled(Operation::Convert)),
        false => Ok(()),
    }
}

/// Checks the structure of an image; of an OVA, its disk. An image in gzip, xz, bzip2 or zstd is unpacked for it, which checks the
/// packing's own sums, too. No other file is opened: see [`check_with`].
///
/// # Errors
/// When the file cannot be read, its header breaks the format's rules, or the format cannot be checked: raw has no structure.
pub fn check(path: &Path, format: Option<Format>) -> Result<CheckReport> {
    check_with(path, format, &OpenPolicy::deny())
}

/// Checks the structure of an image as [`check`] does, and that of the extents that a VMDK's descriptor names, which the policy
/// must allow. Backing files and parents are images of their own and are not opened. A finding in an extent names its file.
///
/// # Errors
/// As [`check`], and when an extent cannot be opened or is not allowed.
pub fn check_with(path: &Path, format: Option<Format>, policy: &OpenPolicy) -> Result<CheckReport> {
    check_file(path, format, policy).map_err(|error| error.with_path(path).during(Operation::Check))
}

fn check_file(path: &Path, format: Option<Format>, policy: &OpenPolicy) -> Result<CheckReport> {
    let file = open_first(path, format, policy)?;
    match format.map_or_else(|| told_format(&file), Ok)? {
        Format::Qcow2 => qcow2::check(&file),
        Format::Vmdk => vmdk::check(&file, &Opening::new(policy).descend(&file)),
        Format::Vdi => vdi::check(&file, None),
        Format::Vhd => vhd::check(&file, None),
        Format::Vhdx => vhdx::check(&file, None),
        Format::Raw => {
            let rule = "the structure of raw images cannot be checked";
            Err(Error::new(ErrorKind::Unsupported, Operation::Check, rule))
        }
    }
}
