//! Digests of files on the way into a statement, with their progress.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::Ordering;

use super::super::context::{PostProcessContext, base_name};
use crate::attestation::{FileDigestError, digest_of_file};
use crate::blocking::blocking;
use crate::error::StepError;

/// The SHA-256 of a file in hexadecimal, until the build is cancelled.
pub(super) async fn digest(context: &PostProcessContext, path: &Path) -> Result<String, StepError> {
    let (reporter, path) = (context.build.clone(), path.to_owned());
    let total = path.metadata().ok().map(|metadata| metadata.len());
    let hashing = blocking("computing a digest", move |abandoned| {
        let read = digest_of_file(&path, &|done| {
            reporter.progress(&format!("SHA-256 of {}", base_name(&path)), done, total);
            if abandoned.load(Ordering::Relaxed) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        read.map_err(|error: FileDigestError| StepError::wrap(error))
    });
    hashing.await
}
