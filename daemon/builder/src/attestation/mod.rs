//! Attestations: what was made of what, as an in-toto Statement, in a DSSE envelope that a local key signs.
//!
//! ```text
//! Statement (subjects, predicate) ─JSON─► payload ─PAE, key─► Envelope (payload, signature) ─► NAME.provenance.json
//!                                                                └─ verify: key, then statement, then files ─┘
//! ```
//!
//! Keys are PEM files: ECDSA on P-256, P-384 or P-521 with SHA-256, Ed25519, and RSA of 2048 bits or more (PKCS #1 v1.5 with SHA-256).

mod envelope;
mod files;
mod key;
mod names;
mod statement;
mod verify;

pub use envelope::{Envelope, EnvelopeError, MAX_ENVELOPE, PAYLOAD_TYPE};
pub(crate) use files::read_small;
pub use files::{FileDigestError, digest_of_file};
pub use key::{KeyError, SigningKey, VerifyingKey};
pub use names::subject_names;
pub use statement::{
    BuildDefinition, Builder, Material, Predicate, PredicateType, RunDetails, RunMetadata, Statement, Subject, sha256,
};
pub use verify::{CheckedSubject, Expectations, Undigested, Verified, VerifyError, verify};
