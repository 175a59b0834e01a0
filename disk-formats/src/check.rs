//! Checks an image's structure without reading guest data, and counts as `qemu-img check` does.

use std::path::Path;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::format::Format;
use crate::formats::AllFormats;
use crate::open::open_first;
use crate::reading::check_report::CheckReport;
use crate::reading::open_policy::OpenPolicy;
use crate::reading::opening::Opening;
use crate::recognise::told_format;

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
    let format = format.map_or_else(|| told_format(&file), Ok)?;
    let Some(check) = format.row().reading.as_ref().and_then(|reading| reading.check) else {
        let rule = format!("the structure of {format} images cannot be checked");
        return Err(Error::new(ErrorKind::Unsupported, Operation::Check, rule));
    };
    check(&file, &Opening::new(policy, &AllFormats))
}
