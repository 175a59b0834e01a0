//! Job identifiers: short enough to type, safe as a file name.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// Letters of an identifier: RFC 4648 base32 in lower case (no 0, 1, 8, 9, so nothing looks like o, l or b).
const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// Number of letters in an identifier.
const LENGTH: usize = 10;

/// Identifies a job on one daemon; ten letters of lower-case base32.
///
/// A value always has that form, so it can be used as a file name without further checks.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct JobId(String);

/// Reports a text that is no job identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a job id: ten characters of a-z and 2-7")]
pub struct InvalidJobId {
    /// The text, cut to 40 characters.
    pub given: String,
}

impl JobId {
    /// Makes an identifier from random bits; the lowest 50 are used.
    #[must_use]
    pub fn from_random_bits(bits: u64) -> Self {
        let letter = |position: usize| char::from(ALPHABET[((bits >> (5 * position)) & 31) as usize]);
        Self((0..LENGTH).map(letter).collect())
    }

    /// Returns the identifier as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for JobId {
    type Err = InvalidJobId;

    fn from_str(text: &str) -> Result<Self, InvalidJobId> {
        if text.len() == LENGTH && text.bytes().all(|byte| ALPHABET.contains(&byte)) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidJobId { given: text.chars().take(40).collect() })
        }
    }
}

impl TryFrom<String> for JobId {
    type Error = InvalidJobId;

    fn try_from(text: String) -> Result<Self, InvalidJobId> {
        text.parse()
    }
}

impl From<JobId> for String {
    fn from(id: JobId) -> Self {
        id.0
    }
}

impl JsonSchema for JobId {
    fn schema_name() -> Cow<'static, str> {
        "JobId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": "^[a-z2-7]{10}$",
            "description": "Identifies a job on one daemon; ten letters of lower-case base32.",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_bits_give_an_identifier_that_parses_again() {
        for bits in [0, 1, u64::MAX, 0x1234_5678_9abc_def0] {
            let id = JobId::from_random_bits(bits);
            assert_eq!(id.as_str().parse::<JobId>().unwrap(), id);
        }
        assert_ne!(JobId::from_random_bits(1), JobId::from_random_bits(2));
    }

    #[test]
    fn path_pieces_are_no_identifiers() {
        for text in ["", "..", "../../../x", "abcdefghi", "abcdefghij2", "ABCDEFGHIJ", "abcdefghi/", "abcdefghi0"] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
        assert!(serde_json::from_str::<JobId>("\"..\"").is_err());
    }
}
