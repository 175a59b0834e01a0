//! Which part of a disk a sparse file holds that is being checked, so that findings name it and count from the disk's front.

use std::borrow::Cow;

use crate::reading::check_report::CheckReport;

/// Which part of the disk a sparse file holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent<'a> {
    /// The file's name where there are several, to be named in findings; else empty.
    pub(super) name: &'a str,
    /// Guest offset of its first byte.
    pub(super) start: u64,
}

impl Extent<'_> {
    pub(super) fn whole() -> Self {
        Self { name: "", start: 0 }
    }

    /// Reports something that lies on something else; `guest` counts from the extent's front.
    pub(super) fn overlap(
        &self,
        report: &mut CheckReport,
        at: u64,
        guest: Option<u64>,
        rule: impl Into<Cow<'static, str>>,
    ) {
        let (guest, rule) = self.seen_from_the_disk(report, guest, rule.into());
        report.overlap(at, guest, rule);
    }

    /// Reports a corruption; `guest` counts from the extent's front.
    pub(super) fn corruption(
        &self,
        report: &mut CheckReport,
        at: u64,
        guest: Option<u64>,
        rule: impl Into<Cow<'static, str>>,
    ) {
        let (guest, rule) = self.seen_from_the_disk(report, guest, rule.into());
        report.corruption(at, guest, rule);
    }

    /// Counts from the disk's front, and names the file where that will be read.
    fn seen_from_the_disk(
        &self,
        report: &CheckReport,
        guest: Option<u64>,
        rule: Cow<'static, str>,
    ) -> (Option<u64>, Cow<'static, str>) {
        let guest = guest.map(|guest| self.start.saturating_add(guest));
        match self.name.is_empty() || report.lists_no_more() {
            true => (guest, rule),
            false => (guest, format!("{}: {rule}", self.name).into()),
        }
    }
}
