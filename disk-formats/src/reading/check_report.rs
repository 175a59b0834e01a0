//! What checking an image found, counted as `qemu-img check` does.

use std::borrow::Cow;
use std::sync::atomic::{AtomicBool, Ordering};

use super::source_file::SourceFile;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::format::Format;

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
