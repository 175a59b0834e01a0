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
        let rule = rule.into();
        let guest = guest.map(|guest| self.start.saturating_add(guest));
        match self.name.is_empty() || report.lists_no_more() {
            true => report.overlap(at, guest, rule),
            false => report.overlap(at, guest, format!("{}: {rule}", self.name)),
        }
    }

    /// Reports a corruption; `guest` counts from the extent's front.
    pub(super) fn corruption(
        &self,
        report: &mut CheckReport,
        at: u64,
        guest: Option<u64>,
        rule: impl Into<Cow<'static, str>>,
    ) {
        let rule = rule.into();
        let guest = guest.map(|guest| self.start.saturating_add(guest));
        match self.name.is_empty() || report.lists_no_more() {
            true => report.corruption(at, guest, rule),
            false => report.corruption(at, guest, format!("{}: {rule}", self.name)),
        }
    }
}
