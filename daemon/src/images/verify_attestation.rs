//! `verify-attestation`: an attestation against a key, what it must say, and the files that it is about.

use std::path::{Path, PathBuf};

use kiln_builder::attestation::{EnvelopeError, Expectations, VerifyError, VerifyingKey, verify};
use kiln_protocol::{AttestationResult, AttestedFile, ImageResult, VerifyAttestationRequest};

use super::failure::{Failure, Failures};
use super::reporter::{EXIT_FAILURE, Ended, Reporter};

pub(super) fn run(request: &VerifyAttestationRequest, reporter: &Reporter) -> Result<Ended, Failures> {
    let key = VerifyingKey::load(Path::new(&request.key)).map_err(|error| {
        let hint = error.hint();
        let failure = Failure::new(with_causes(&error));
        Failures::from(match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        })
    })?;
    let expected = Expectations {
        predicate_type: request.predicate_type.clone(),
        builder_id: request.builder_id.clone(),
        source_uri: request.source_uri.clone(),
        artifacts: request.artifacts.iter().map(PathBuf::from).collect(),
    };
    let progress = reporter.progress("verify".to_owned());
    let verified = verify(Path::new(&request.path), &key, &expected, &progress).map_err(failure)?;
    let subjects = verified.subjects.into_iter().map(|subject| AttestedFile {
        name: subject.name,
        sha256: subject.sha256,
        filename: subject.file.map(|file| file.to_string_lossy().into_owned()),
    });
    reporter.result(ImageResult::Attestation(AttestationResult {
        filename: request.path.clone(),
        predicate_type: verified.predicate_type,
        builder_id: verified.builder_id,
        subjects: subjects.collect(),
        without_sha256: verified.undigested.into_iter().map(|subject| subject.name).collect(),
    }));
    Ok(Ended::well())
}

fn failure(error: VerifyError) -> Failures {
    if error.is_cancelled() {
        return Failures { list: Vec::new(), exit_code: EXIT_FAILURE, cancelled: true };
    }
    let hint = match &error {
        VerifyError::Envelope { source: EnvelopeError::WrongKey { .. }, .. } => Some(
            "it was changed since it was signed, or another key has signed it: give that one's public half as --verifier",
        ),
        VerifyError::Envelope { source: EnvelopeError::Keyless, .. } => {
            Some("`cosign verify-blob-attestation` verifies what Sigstore's certificates have signed")
        }
        VerifyError::Envelope { source: EnvelopeError::Unsigned, .. } => {
            Some("build again with signing_mode = \"key\", or have who built it sign it")
        }
        VerifyError::NoDigest { .. } => Some("`sha512sum` and its like compare other digests; Kiln compares SHA-256"),
        VerifyError::OtherFile { .. } => Some("the file was changed since it was attested, or is another of that name"),
        _ => None,
    };
    let failure = Failure::new(with_causes(&error));
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
    .into()
}

/// An error's text with its causes, where they say more.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
