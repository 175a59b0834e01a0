//! Verifying: the signature first, then what the statement says, then the files that it is about.

use std::collections::BTreeMap;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::envelope::{Envelope, EnvelopeError, MAX_ENVELOPE};
use super::files::{FileDigestError, digest_of_file, read_small};
use super::key::VerifyingKey;
use super::statement::{Predicate, PredicateType, STATEMENT_TYPE, Statement, Subject};

/// What a statement must say.
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    /// The URI of its predicate.
    pub predicate_type: Option<String>,
    /// The builder that it names.
    pub builder_id: Option<String>,
    /// A source that it names.
    pub source_uri: Option<String>,
    /// Files that it is about. Without any, those of its subjects that lie beside it are looked at.
    pub artifacts: Vec<PathBuf>,
}

/// A statement that holds.
#[derive(Debug, Clone, PartialEq)]
pub struct Verified {
    /// The URI of its predicate.
    pub predicate_type: String,
    /// The builder that it names, where it says how its files were made.
    pub builder_id: Option<String>,
    /// Its subjects, with the file that was found to be the one.
    pub subjects: Vec<CheckedSubject>,
    /// Those that no file can be compared with.
    pub undigested: Vec<Undigested>,
}

/// A subject without a SHA-256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undigested {
    /// Its name.
    pub name: String,
    /// The names of the digests that it has.
    pub digests: Vec<String>,
}

/// A file that a statement is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedSubject {
    /// Its name.
    pub name: String,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// The file that has it; none was looked at otherwise.
    pub file: Option<PathBuf>,
}

/// Why a statement does not hold.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The attestation cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The signature is not the key's.
    #[error("{}: {source}", path.display())]
    Envelope {
        /// The attestation.
        path: PathBuf,
        /// Why.
        #[source]
        source: EnvelopeError,
    },
    /// What was signed is no statement.
    #[error("what was signed is no statement of in-toto: {why}")]
    NotAStatement {
        /// Why.
        why: String,
    },
    /// It says something else than is expected.
    #[error("the attestation's {what} is {found:?}, not {wanted:?}")]
    Unexpected {
        /// Of what.
        what: &'static str,
        /// What it says.
        found: String,
        /// What is expected.
        wanted: String,
    },
    /// A file is not the one.
    #[error("{} is not the file of the attestation: its SHA-256 is {found}, not {wanted}", path.display())]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// Its digest.
        found: String,
        /// The attestation's.
        wanted: String,
    },
    /// It is not about this file.
    #[error("the attestation is not about {}; it is about {about}", path.display())]
    NotASubject {
        /// The file.
        path: PathBuf,
        /// Its subjects.
        about: String,
    },
    /// It is about this file, and does not say which it is.
    #[error("the attestation names {} without a SHA-256: {}", path.display(), has(.digests))]
    NoDigest {
        /// The file.
        path: PathBuf,
        /// The digests that it has.
        digests: Vec<String>,
    },
    /// A file cannot be read, or nobody wants to know any more.
    #[error(transparent)]
    File(#[from] FileDigestError),
}

fn has(digests: &[String]) -> String {
    if digests.is_empty() { "it has no digest of it".to_owned() } else { format!("it has {}", digests.join(", ")) }
}

impl VerifyError {
    /// Whether nobody wants to know any more.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Self::File(FileDigestError::Cancelled))
    }
}

/// Verifies an attestation. `progress` is told how many bytes of how many have been read of each file.
///
/// # Errors
///
/// It does not hold, or cannot be read.
pub fn verify(
    attestation: &Path,
    key: &VerifyingKey,
    expected: &Expectations,
    progress: &dyn Fn(u64, u64) -> ControlFlow<()>,
) -> Result<Verified, VerifyError> {
    let read = read_small(attestation, MAX_ENVELOPE)
        .map_err(|source| VerifyError::Read { path: attestation.to_owned(), source })?;
    let envelope = |source| VerifyError::Envelope { path: attestation.to_owned(), source };
    let payload = Envelope::read(&read).and_then(|sealed| sealed.open(key)).map_err(envelope)?;
    let statement = statement(&payload)?;
    let builder_id = check_words(&statement, expected)?;
    let digest = |path: &Path| {
        let total = path.metadata().map_or(0, |metadata| metadata.len());
        digest_of_file(path, &|done| progress(done, total))
    };
    let (mut subjects, mut undigested) = (Vec::new(), Vec::new());
    for Subject { name, digest } in statement.subject {
        match digest.get("sha256") {
            Some(sha256) => {
                subjects.push(CheckedSubject { name, sha256: sha256.to_ascii_lowercase(), file: None });
            }
            None => undigested.push(Undigested { name, digests: digest.into_keys().collect() }),
        }
    }
    for path in &expected.artifacts {
        check_artifact(path, &mut subjects, &undigested, &digest)?;
    }
    if expected.artifacts.is_empty() {
        check_beside(attestation, &mut subjects, &digest)?;
    }
    Ok(Verified { predicate_type: statement.predicate_type, builder_id, subjects, undigested })
}

fn statement(payload: &[u8]) -> Result<Statement, VerifyError> {
    let wrong = |why: String| VerifyError::NotAStatement { why };
    let statement: Statement = serde_json::from_slice(payload).map_err(|error| wrong(error.to_string()))?;
    if statement.of != STATEMENT_TYPE {
        return Err(wrong(format!("its type is {:?}", statement.of)));
    }
    // A statement of nothing holds of everything.
    if !statement.subject.iter().any(|subject| subject.digest.contains_key("sha256")) {
        return Err(wrong("it is about no file with a SHA-256".to_owned()));
    }
    Ok(statement)
}

/// Whether it says what is expected; returns the builder that it names.
fn check_words(statement: &Statement, expected: &Expectations) -> Result<Option<String>, VerifyError> {
    let equal = |what, found: &str, wanted: &Option<String>| match wanted {
        Some(wanted) if wanted != found => {
            Err(VerifyError::Unexpected { what, found: found.to_owned(), wanted: wanted.clone() })
        }
        _ => Ok(()),
    };
    equal("predicate type", &statement.predicate_type, &expected.predicate_type)?;
    let is_asked = expected.builder_id.is_some() || expected.source_uri.is_some();
    if statement.predicate_type != PredicateType::Provenance.uri() {
        // Only provenance names a builder and sources.
        let wanted = is_asked.then(|| PredicateType::Provenance.uri().to_owned());
        equal("predicate type", &statement.predicate_type, &wanted)?;
        return Ok(None);
    }
    let predicate: Predicate = serde_json::from_value(statement.predicate.clone())
        .map_err(|error| VerifyError::NotAStatement { why: format!("its predicate is no SLSA provenance: {error}") })?;
    let builder = predicate.run_details.builder.id;
    equal("builder", &builder, &expected.builder_id)?;
    let sources = predicate.build_definition.resolved_dependencies;
    if let Some(wanted) = &expected.source_uri
        && !sources.iter().any(|source| source.uri == *wanted)
    {
        let found: Vec<_> = sources.into_iter().map(|source| source.uri).filter(|uri| !uri.is_empty()).collect();
        return Err(VerifyError::Unexpected { what: "source", found: found.join(", "), wanted: wanted.clone() });
    }
    Ok(Some(builder))
}

/// Looks for the subject that a file is: one of its name, or of the end of its path where the name has directories.
fn check_artifact(
    path: &Path,
    subjects: &mut [CheckedSubject],
    undigested: &[Undigested],
    digest: &dyn Fn(&Path) -> Result<String, FileDigestError>,
) -> Result<(), VerifyError> {
    let is_named = |name: &str| is_within(name) && path.ends_with(name);
    let about = subjects.iter().map(|subject| subject.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = digest(path)?;
    let mut named: Vec<_> = subjects.iter_mut().filter(|subject| is_named(&subject.name)).collect();
    if let Some(subject) = named.iter_mut().find(|subject| subject.sha256 == found) {
        subject.file = Some(path.to_owned());
        return Ok(());
    }
    let without = undigested.iter().find(|subject| is_named(&subject.name));
    Err(match (named.first(), without) {
        (Some(subject), _) => VerifyError::OtherFile { path: path.to_owned(), found, wanted: subject.sha256.clone() },
        (None, Some(subject)) => VerifyError::NoDigest { path: path.to_owned(), digests: subject.digests.clone() },
        (None, None) => VerifyError::NotASubject { path: path.to_owned(), about },
    })
}

/// Looks at the files of subjects that lie beside the attestation, or below that. Names that lead elsewhere are not followed.
fn check_beside(
    attestation: &Path,
    subjects: &mut [CheckedSubject],
    digest: &dyn Fn(&Path) -> Result<String, FileDigestError>,
) -> Result<(), VerifyError> {
    let beside = attestation.parent().unwrap_or(Path::new(""));
    // Of several subjects of one name, which others write, a file is one.
    let mut of_name: BTreeMap<String, Vec<&mut CheckedSubject>> = BTreeMap::new();
    for subject in subjects {
        of_name.entry(subject.name.clone()).or_default().push(subject);
    }
    for (name, mut subjects) in of_name {
        let path = beside.join(&name);
        if !is_within(&name) || !path.is_file() {
            continue;
        }
        let found = digest(&path)?;
        match subjects.iter_mut().find(|subject| subject.sha256 == found) {
            Some(subject) => subject.file = Some(path),
            None => {
                let wanted: Vec<_> = subjects.iter().map(|subject| subject.sha256.as_str()).collect();
                return Err(VerifyError::OtherFile { path, found, wanted: wanted.join(" or ") });
            }
        }
    }
    Ok(())
}

/// Whether a name stays where it is looked for.
fn is_within(name: &str) -> bool {
    // As it is written: `a/./b` and `a//b` are other names of a file.
    !name.is_empty() && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

#[cfg(test)]
mod tests;
