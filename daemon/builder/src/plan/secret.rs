//! How a plan shows its secrets: not at all.

use kiln_communicators::Secret;
use serde::Serializer;

/// Writes that there is a secret, never the secret.
///
/// # Errors
///
/// The serializer's own.
pub(super) fn serialize<S: Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    match secret {
        Some(_) => serializer.serialize_some(kiln_template::SENSITIVE),
        None => serializer.serialize_none(),
    }
}
