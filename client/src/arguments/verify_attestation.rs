//! The command line of `kiln verify-attestation`, with Packer's flags. Doc comments are the help.

use clap::Args;

const HELP: &str = "\
The attestation is what the provenance post-processor or `kiln convert --provenance-key` has signed: an in-toto statement in a DSSE
envelope. Nothing of it counts before the key has verified its signature. Without --artifact, those of its files that lie beside it
are looked at; which were is told.

Examples:
  kiln verify-attestation --verifier signing.pub.pem output-web/web.provenance.json
  kiln verify-attestation --verifier signing.pub.pem --artifact web.qcow2 --builder-id https://ci.example/7 web.provenance.json";

#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct VerifyAttestationArguments {
    /// PEM file of the public key
    #[arg(long, value_name = "public.pem")]
    pub(crate) verifier: Option<String>,
    /// PEM file of the key, private or public, when there is no --verifier
    #[arg(long, value_name = "key.pem")]
    pub(crate) key: Option<String>,
    /// A file that the attestation must be about; can be repeated
    #[arg(long, value_name = "file")]
    pub(crate) artifact: Vec<String>,
    /// The predicate type that it must have
    #[arg(long, value_name = "uri")]
    pub(crate) predicate_type: Option<String>,
    /// The builder that it must name
    #[arg(long, value_name = "id")]
    pub(crate) builder_id: Option<String>,
    /// A source that it must name
    #[arg(long, value_name = "uri")]
    pub(crate) source_uri: Option<String>,
    /// How it was signed: key. What a key management service (kms) has signed is verified with its public key as --verifier
    #[arg(long, value_name = "mode")]
    pub(crate) signing_mode: Option<String>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
    #[command(flatten)]
    pub(crate) keyless: KeylessFlags,
    /// The attestation
    #[arg(value_name = "attestation")]
    pub(crate) attestation: String,
}

/// Flags of Packer for what Sigstore has signed, which is not verified here.
#[derive(Debug, Args)]
pub(crate) struct KeylessFlags {
    #[arg(long, value_name = "file", hide = true)]
    trusted_root_path: Option<String>,
    #[arg(long, value_name = "identity", hide = true)]
    keyless_identity: Option<String>,
    #[arg(long, value_name = "issuer", hide = true)]
    keyless_oidc_issuer: Option<String>,
    #[arg(long, value_name = "file", hide = true)]
    bundle: Option<String>,
    #[arg(long, hide = true)]
    require_rekor: bool,
    #[arg(long, hide = true)]
    require_timestamp: bool,
}

impl KeylessFlags {
    /// The first of them that was given.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let flags = [
            ("--trusted-root-path", self.trusted_root_path.is_some()),
            ("--keyless-identity", self.keyless_identity.is_some()),
            ("--keyless-oidc-issuer", self.keyless_oidc_issuer.is_some()),
            ("--bundle", self.bundle.is_some()),
            ("--require-rekor", self.require_rekor),
            ("--require-timestamp", self.require_timestamp),
        ];
        flags.into_iter().find(|(_, is_given)| *is_given).map(|(name, _)| name)
    }
}
