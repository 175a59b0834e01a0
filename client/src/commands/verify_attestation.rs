//! `kiln verify-attestation`: exits with 0 when the attestation holds, else with 1, as Packer does.

use std::io::Write as _;

use kiln_protocol::{ImageResult, ImageTask, VerifyAttestationRequest};

use super::context::Context;
use super::task;
use crate::arguments::VerifyAttestationArguments;
use crate::error::CommandError;
use crate::render::Results;
use crate::terminal;

/// What names a key of a service, not a file.
const SERVICES: [&str; 4] = ["awskms://", "gcpkms://", "azurekms://", "hashivault://"];

pub(super) async fn verify(context: Context, arguments: VerifyAttestationArguments) -> Result<u8, CommandError> {
    let json = arguments.json;
    let task = ImageTask::VerifyAttestation(request(arguments)?);
    let done = task::run(&context, task, false, None).await?;
    let mut results = Results::default();
    for result in &done.results {
        match result {
            ImageResult::Attestation(result) if json => terminal::print_json(result)?,
            result => write!(terminal::stdout(), "{}", results.describe(result))?,
        }
    }
    Ok(done.exit_code)
}

fn request(arguments: VerifyAttestationArguments) -> Result<VerifyAttestationRequest, CommandError> {
    let sigstore = "`cosign verify-blob-attestation` verifies what Sigstore's certificates have signed";
    if let Some(flag) = arguments.keyless.given() {
        let error = format!("{flag} is of keyless signatures, and Kiln verifies those of keys in files only");
        return Err(CommandError::new(error).hint(sigstore));
    }
    match arguments.signing_mode.as_deref() {
        None | Some("key") => {}
        Some("keyless") => {
            let error = "keyless signatures are verified with Sigstore's services, and Kiln speaks to none";
            return Err(CommandError::new(error).hint(sigstore));
        }
        Some("kms") if arguments.verifier.is_some() => {}
        Some("kms") => return Err(service("a key management service")),
        Some(other) => {
            let error = format!("there is no signing mode {other:?}");
            return Err(CommandError::new(error).hint("there are key, kms and keyless"));
        }
    }
    let key = arguments.verifier.or(arguments.key).ok_or_else(|| {
        let hint = "`--verifier signing.pub.pem` names the public key of who signed it";
        CommandError::new("without a key nothing can be verified").hint(hint)
    })?;
    if SERVICES.iter().any(|service| key.starts_with(service)) {
        return Err(service(&key));
    }
    Ok(VerifyAttestationRequest {
        path: arguments.attestation,
        key,
        artifacts: arguments.artifact,
        predicate_type: arguments.predicate_type,
        builder_id: arguments.builder_id,
        source_uri: arguments.source_uri,
    })
}

fn service(what: &str) -> CommandError {
    let error = format!("{what} is not asked: Kiln verifies with keys in files only");
    CommandError::new(error).hint("have the service write its public key, and give it as --verifier")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::arguments::{Arguments, Command};
    use crate::argv::normalise;

    fn read(line: &str) -> Result<VerifyAttestationRequest, String> {
        let words = format!("kiln verify-attestation {line} a.json");
        let words = normalise(words.split_whitespace().map(Into::into)).words;
        let Command::VerifyAttestation(arguments) = Arguments::try_parse_from(words).unwrap().command else {
            panic!("another command");
        };
        request(*arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn packers_flags_are_read_as_packer_reads_them() {
        let read = read(
            "-verifier p.pem -artifact x --artifact=y -predicate-type t -builder-id b -source-uri s -signing-mode key",
        )
        .unwrap();
        let expected = VerifyAttestationRequest {
            path: "a.json".to_owned(),
            key: "p.pem".to_owned(),
            artifacts: vec!["x".to_owned(), "y".to_owned()],
            predicate_type: Some("t".to_owned()),
            builder_id: Some("b".to_owned()),
            source_uri: Some("s".to_owned()),
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn what_is_signed_elsewhere_is_refused_by_name() {
        for (line, words) in [
            ("", "without a key"),
            ("-key awskms://x", "awskms://x is not asked"),
            ("-signing-mode kms -key p.pem", "a key management service is not asked"),
            ("-signing-mode keyless", "Sigstore's services"),
            ("-signing-mode wax -key p.pem", "no signing mode \"wax\""),
            ("-bundle b.json -key p.pem", "--bundle is of keyless signatures"),
            ("-require-timestamp -key p.pem", "--require-timestamp is of keyless signatures"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
        // What a service has signed has a public key too.
        assert_eq!(read("-signing-mode kms -verifier p.pem -key awskms://x").unwrap().key, "p.pem");
    }
}
