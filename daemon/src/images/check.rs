//! `image check`: the structure of an image. Exit codes: 0 clean, 1 an error, 2 corruptions, 3 leaks only, 63 not checkable.

use kiln_disk_formats::{ErrorKind, Finding, FindingKind, check_with};
use kiln_protocol::{CheckFinding, CheckFindingKind, CheckRequest, CheckResult, ImageResult, ImageSource};

use super::failure::Failures;
use super::reporter::{EXIT_FAILURE, Ended, Reporter};
use super::source::{named_format, policy, qemu_name, split_path};

const EXIT_CORRUPT: u8 = 2;
const EXIT_LEAKS: u8 = 3;
const EXIT_NOT_CHECKABLE: u8 = 63;

pub(super) fn run(request: &CheckRequest, reporter: &Reporter) -> Result<Ended, Failures> {
    let format = named_format(request.format.as_deref())?;
    let source = ImageSource { path: request.path.clone(), format: None, allow_backing: Vec::new(), snapshot: None };
    let report = check_with(split_path(&request.path).0, format, &policy(&source)).map_err(|error| {
        let unsupported = error.kind() == ErrorKind::Unsupported;
        Failures::from(error).exit(if unsupported { EXIT_NOT_CHECKABLE } else { EXIT_FAILURE })
    })?;
    let (corruptions, leaks) = (report.corruptions, report.leaks);
    reporter.result(ImageResult::Check(CheckResult {
        filename: request.path.clone(),
        format: qemu_name(report.format).to_owned(),
        // What cannot be read ends the check.
        check_errors: 0,
        image_end_offset: report.image_end_offset.unwrap_or(0),
        corruptions,
        leaks,
        total_clusters: report.total_clusters,
        allocated_clusters: report.allocated_clusters,
        fragmented_clusters: report.fragmented_clusters,
        compressed_clusters: report.compressed_clusters,
        findings: report.findings.into_iter().map(on_the_wire).collect(),
    }));
    Ok(match (corruptions, leaks) {
        (0, 0) => Ended::well(),
        (0, _) => Ended { exit_code: EXIT_LEAKS, why: Some(format!("{leaks} leaks in {}", request.path)) },
        _ => Ended { exit_code: EXIT_CORRUPT, why: Some(format!("{corruptions} corruptions in {}", request.path)) },
    })
}

fn on_the_wire(finding: Finding) -> CheckFinding {
    let kind = match finding.kind {
        FindingKind::Leak => CheckFindingKind::Leak,
        _ => CheckFindingKind::Corruption,
    };
    CheckFinding { kind, offset: finding.offset, guest_offset: finding.guest_offset, rule: finding.rule.into_owned() }
}
