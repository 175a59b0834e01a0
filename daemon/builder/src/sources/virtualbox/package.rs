//! A package is looked into before VirtualBox is given it: what is missing in it, or leads out of it, is told before anything is made.

use std::path::Path;

use kiln_disk_formats::package::{VerifyProblemKind, verify};

use crate::blocking::blocking;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::export;

/// The most problems of a package that are told.
const MOST_TOLD: usize = 5;

/// Refuses a package whose files are not all there and as its descriptor and manifest say.
pub(super) async fn check(package: &Path, context: &BuildContext) -> Result<(), StepError> {
    let (path, reporter) = (package.to_owned(), context.clone());
    let found = blocking("checking the package", move |abandoned| {
        verify(&path, &export::report(&reporter, "check the package", abandoned)).map_err(StepError::from)
    })
    .await?;
    let matters = |kind: &VerifyProblemKind| {
        !matches!(kind, VerifyProblemKind::NoManifest | VerifyProblemKind::Unlisted | VerifyProblemKind::Unreferenced)
    };
    let problems: Vec<String> =
        found.problems.iter().filter(|problem| matters(&problem.kind)).map(ToString::to_string).collect();
    if problems.is_empty() {
        return Ok(());
    }
    let more = match problems.len().saturating_sub(MOST_TOLD) {
        0 => String::new(),
        more => format!("; and {more} more"),
    };
    let told = problems[..problems.len().min(MOST_TOLD)].join("; ");
    Err(StepError::new(format!("{} cannot be imported: {told}{more}", package.display()))
        .with_hint("put all files of the package beside its descriptor, as they were exported"))
}
