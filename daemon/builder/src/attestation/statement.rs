//! The statement: in-toto's Statement v1 with SLSA's provenance v1 for a predicate, in the shape that Packer gives them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json};

/// `_type` of every statement.
pub(super) const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// What is said of the subjects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PredicateType {
    /// How they were made.
    Provenance,
    /// What they hold, in CycloneDX's words.
    CycloneDx,
    /// What they hold, in SPDX's words.
    Spdx,
}

impl PredicateType {
    /// Its URI.
    #[must_use]
    pub fn uri(self) -> &'static str {
        match self {
            Self::Provenance => "https://slsa.dev/provenance/v1",
            Self::CycloneDx => "https://cyclonedx.org/bom",
            Self::Spdx => "https://spdx.dev/Document",
        }
    }
}

/// A statement about files.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Statement {
    #[serde(rename = "_type")]
    pub(super) of: String,
    /// What it is about.
    pub subject: Vec<Subject>,
    /// The URI of what is said.
    #[serde(rename = "predicateType")]
    pub predicate_type: String,
    /// What is said.
    #[serde(default)]
    pub predicate: Json,
}

/// A file that a statement is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its name, without directories.
    #[serde(default)]
    pub name: String,
    /// Its digests, in hexadecimal, by their names.
    #[serde(default)]
    pub digest: BTreeMap<String, String>,
}

/// Something that went into what was made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Material {
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uri: String,
    /// Its digests, in hexadecimal, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: BTreeMap<String, String>,
    /// What people call it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
}

/// SLSA's provenance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Predicate {
    /// What was to be done.
    pub build_definition: BuildDefinition,
    /// Who did it.
    pub run_details: RunDetails,
}

/// What was to be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    /// URI of how to read the rest.
    pub build_type: String,
    /// What its user asked for.
    #[serde(default)]
    pub external_parameters: Map<String, Json>,
    /// What the builder added.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub internal_parameters: Map<String, Json>,
    /// What went in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolved_dependencies: Vec<Material>,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunDetails {
    /// Whose word it is.
    pub builder: Builder,
    /// Which run it was.
    #[serde(default)]
    pub metadata: RunMetadata,
    /// What else came out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub byproducts: Vec<Json>,
}

/// Whose word a statement is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Builder {
    /// Its URI.
    pub id: String,
    /// Its programs with their versions.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub version: BTreeMap<String, String>,
}

impl Builder {
    /// Kiln on a machine that is no CI's, and its version.
    #[must_use]
    pub fn kiln(id: Option<String>) -> Self {
        let id = id.unwrap_or_else(|| concat!(env!("CARGO_PKG_REPOSITORY"), "/local-build").to_owned());
        let version = BTreeMap::from([("kiln".to_owned(), env!("CARGO_PKG_VERSION").to_owned())]);
        Self { id, version }
    }
}

/// Which run it was.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunMetadata {
    /// What names the run.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub invocation_id: String,
}

impl Statement {
    /// Says `predicate` of the subjects.
    #[must_use]
    pub fn new(subject: Vec<Subject>, kind: PredicateType, predicate: Json) -> Self {
        Self { of: STATEMENT_TYPE.to_owned(), subject, predicate_type: kind.uri().to_owned(), predicate }
    }
}

/// A digest of SHA-256 by its name.
#[must_use]
pub fn sha256(hex: impl Into<String>) -> BTreeMap<String, String> {
    BTreeMap::from([("sha256".to_owned(), hex.into())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn has_the_shape_of_in_toto_and_slsa() {
        let predicate = Predicate {
            build_definition: BuildDefinition {
                build_type: "https://example.com/type".to_owned(),
                external_parameters: Map::new(),
                internal_parameters: Map::new(),
                resolved_dependencies: vec![Material { uri: "git+https://x".to_owned(), ..Material::default() }],
            },
            run_details: RunDetails {
                builder: Builder { id: "https://me".to_owned(), version: BTreeMap::new() },
                metadata: RunMetadata { invocation_id: "7".to_owned() },
                byproducts: Vec::new(),
            },
        };
        let subject = Subject { name: "a.img".to_owned(), digest: sha256("ab") };
        let predicate = serde_json::to_value(predicate).unwrap();
        let statement = Statement::new(vec![subject], PredicateType::Provenance, predicate);
        let expected = r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"a.img","digest":{"sha256":"ab"}}],"predicateType":"https://slsa.dev/provenance/v1","predicate":{"buildDefinition":{"buildType":"https://example.com/type","externalParameters":{},"resolvedDependencies":[{"uri":"git+https://x"}]},"runDetails":{"builder":{"id":"https://me"},"metadata":{"invocationId":"7"}}}}"#;
        assert_eq!(serde_json::to_string(&statement).unwrap(), expected);
    }
}
