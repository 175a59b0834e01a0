//! `image verify`: files against the digests that list them.

use std::path::Path;

use kiln_disk_formats::package::verify;
use kiln_protocol::{ImageResult, VerifiedFile, VerifyRequest};

use super::failure::Failures;
use super::reporter::{EXIT_FAILURE, Ended, Reporter};

pub(super) fn run(request: &VerifyRequest, reporter: &Reporter) -> Result<Ended, Failures> {
    let found = verify(Path::new(&request.path), &reporter.progress("verify".to_owned()))?;
    let verified = found.verified.into_iter().map(|file| VerifiedFile {
        filename: file.name,
        algorithm: Some(file.algorithm.to_string()),
        problem: None,
    });
    let why = found.problems.first().map(|problem| format!("verification failed: {problem}"));
    let wrong = found.problems.into_iter().map(|problem| {
        let text = problem.to_string();
        VerifiedFile { filename: problem.name, algorithm: None, problem: Some(text) }
    });
    reporter.result(ImageResult::Verify { files: verified.chain(wrong).collect() });
    Ok(Ended { exit_code: if why.is_some() { EXIT_FAILURE } else { 0 }, why })
}
