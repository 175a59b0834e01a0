//! Verifying: the signature first, then what the statement says, then the files that it is about.

use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use super::envelope::{Envelope, EnvelopeError, MAX_ENVELOPE};
use super::files::{FileDigestError, digest_of_file};
use super::key::VerifyingKey;
use super::statement::{Predicate, PredicateType, STATEMENT_TYPE, Statement};

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
    /// A file cannot be read, or nobody wants to know any more.
    #[error(transparent)]
    File(#[from] FileDigestError),
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
    let read = read(attestation).map_err(|source| VerifyError::Read { path: attestation.to_owned(), source })?;
    let envelope = |source| VerifyError::Envelope { path: attestation.to_owned(), source };
    let payload = Envelope::read(&read).and_then(|sealed| sealed.open(key)).map_err(envelope)?;
    let statement = statement(&payload)?;
    let builder_id = check_words(&statement, expected)?;
    let digest = |path: &Path| {
        let total = path.metadata().map_or(0, |metadata| metadata.len());
        digest_of_file(path, &|done| progress(done, total))
    };
    let mut subjects: Vec<CheckedSubject> = statement
        .subject
        .iter()
        .filter_map(|subject| {
            let sha256 = subject.digest.get("sha256")?.to_ascii_lowercase();
            Some(CheckedSubject { name: subject.name.clone(), sha256, file: None })
        })
        .collect();
    for path in &expected.artifacts {
        check_artifact(path, &mut subjects, &digest)?;
    }
    if expected.artifacts.is_empty() {
        for subject in &mut subjects {
            check_beside(attestation, subject, &digest)?;
        }
    }
    Ok(Verified { predicate_type: statement.predicate_type, builder_id, subjects })
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX_ENVELOPE + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MAX_ENVELOPE {
        return Err(io::Error::other(format!("it has more than {} MiB", MAX_ENVELOPE >> 20)));
    }
    Ok(bytes)
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

/// Looks for the subject that a file is.
fn check_artifact(
    path: &Path,
    subjects: &mut [CheckedSubject],
    digest: &dyn Fn(&Path) -> Result<String, FileDigestError>,
) -> Result<(), VerifyError> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let about = subjects.iter().map(|subject| subject.name.as_str()).collect::<Vec<_>>().join(", ");
    let found = digest(path)?;
    let mut named: Vec<_> = subjects.iter_mut().filter(|subject| subject.name == name).collect();
    if let Some(subject) = named.iter_mut().find(|subject| subject.sha256 == found) {
        subject.file = Some(path.to_owned());
        return Ok(());
    }
    Err(match named.first() {
        Some(subject) => VerifyError::OtherFile { path: path.to_owned(), found, wanted: subject.sha256.clone() },
        None => VerifyError::NotASubject { path: path.to_owned(), about },
    })
}

/// Looks at the file of a subject when it lies beside the attestation. Names that lead elsewhere are not followed.
fn check_beside(
    attestation: &Path,
    subject: &mut CheckedSubject,
    digest: &dyn Fn(&Path) -> Result<String, FileDigestError>,
) -> Result<(), VerifyError> {
    if Path::new(&subject.name).file_name().is_none_or(|name| name != subject.name.as_str()) {
        return Ok(());
    }
    let path = attestation.with_file_name(&subject.name);
    if !path.is_file() {
        return Ok(());
    }
    let found = digest(&path)?;
    if found != subject.sha256 {
        return Err(VerifyError::OtherFile { path, found, wanted: subject.sha256.clone() });
    }
    subject.file = Some(path);
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::key::SigningKey;
    use super::super::key::tests::{P256, key};
    use super::super::statement::sha256;
    use super::*;

    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    struct World {
        directory: tempfile::TempDir,
        key: SigningKey,
    }

    impl World {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            std::fs::write(directory.path().join("a.img"), "abc").unwrap();
            Self { directory, key: key(P256) }
        }

        fn path(&self, name: &str) -> PathBuf {
            self.directory.path().join(name)
        }

        fn sign(&self, payload: &serde_json::Value) {
            let envelope = Envelope::sign(payload.to_string().as_bytes(), &self.key).unwrap();
            std::fs::write(self.path("a.json"), envelope.to_json().unwrap()).unwrap();
        }

        fn verify(&self, expected: &Expectations) -> Result<Verified, String> {
            let verified =
                verify(&self.path("a.json"), self.key.verifying(), expected, &|_, _| ControlFlow::Continue(()));
            verified.map_err(|error| error.to_string())
        }
    }

    fn provenance() -> serde_json::Value {
        json!({
            "_type": STATEMENT_TYPE,
            "subject": [{"name": "a.img", "digest": {"sha256": ABC.to_uppercase()}}, {"name": "gone.img", "digest": sha256(ABC)}],
            "predicateType": PredicateType::Provenance.uri(),
            "predicate": {
                "buildDefinition": {"buildType": "t", "externalParameters": {}, "resolvedDependencies": [{"uri": "git+x"}]},
                "runDetails": {"builder": {"id": "me"}},
            },
        })
    }

    #[test]
    fn what_lies_beside_is_looked_at_and_what_does_not_is_told() {
        let world = World::new();
        world.sign(&provenance());
        let verified = world.verify(&Expectations::default()).unwrap();
        assert_eq!(verified.builder_id.as_deref(), Some("me"));
        let files: Vec<_> = verified.subjects.into_iter().map(|subject| subject.file).collect();
        assert_eq!(files, [Some(world.path("a.img")), None]);
        std::fs::write(world.path("a.img"), "abd").unwrap();
        assert!(world.verify(&Expectations::default()).unwrap_err().contains("its SHA-256 is"));
    }

    #[test]
    fn each_expectation_is_held() {
        let world = World::new();
        world.sign(&provenance());
        let some = |text: &str| Some(text.to_owned());
        let of = |expected: Expectations| world.verify(&expected);
        let default = Expectations::default;
        of(Expectations { predicate_type: some(PredicateType::Provenance.uri()), ..default() }).unwrap();
        of(Expectations { builder_id: some("me"), ..default() }).unwrap();
        of(Expectations { source_uri: some("git+x"), ..default() }).unwrap();
        of(Expectations { artifacts: vec![world.path("a.img")], ..default() }).unwrap();
        for (expected, words) in [
            (Expectations { predicate_type: some("x"), ..default() }, "predicate type is"),
            (Expectations { builder_id: some("you"), ..default() }, "builder is \"me\", not \"you\""),
            (Expectations { source_uri: some("git+y"), ..default() }, "source is \"git+x\", not \"git+y\""),
            (Expectations { artifacts: vec![world.path("gone.img")], ..default() }, "cannot read "),
            (Expectations { artifacts: vec![world.path("a.json")], ..default() }, "is not about "),
        ] {
            let error = of(expected.clone()).unwrap_err();
            assert!(error.contains(words), "{expected:?}: {error}");
        }
        std::fs::create_dir(world.path("d")).unwrap();
        std::fs::write(world.path("d/a.img"), "other").unwrap();
        let other = Expectations { artifacts: vec![world.path("a.img"), world.path("d/a.img")], ..default() };
        assert!(of(other).unwrap_err().contains("d/a.img is not the file"));
    }

    #[test]
    fn another_statement_has_no_builder() {
        let world = World::new();
        let mut statement = provenance();
        statement["predicateType"] = PredicateType::Spdx.uri().into();
        world.sign(&statement);
        assert_eq!(world.verify(&Expectations::default()).unwrap().builder_id, None);
        let error = world.verify(&Expectations { builder_id: Some("me".to_owned()), ..Expectations::default() });
        assert!(error.unwrap_err().contains("predicate type is"));
    }

    #[test]
    fn what_is_signed_and_no_statement_is_refused() {
        let world = World::new();
        for (change, words) in [
            (json!({"_type": "https://in-toto.io/Statement/v0.1"}), "its type is"),
            (json!({"subject": []}), "about no file"),
            (json!({"subject": [{"name": "a.img", "digest": {"md5": "00"}}]}), "about no file"),
            (json!({"subject": 7}), "no statement"),
            (json!({"predicate": 7}), "no SLSA provenance"),
        ] {
            let mut statement = provenance();
            for (name, value) in change.as_object().unwrap() {
                statement[name] = value.clone();
            }
            world.sign(&statement);
            let error = world.verify(&Expectations::default()).unwrap_err();
            assert!(error.contains(words), "{change}: {error}");
        }
        std::fs::write(world.path("a.json"), "x").unwrap();
        assert!(world.verify(&Expectations::default()).unwrap_err().contains("no DSSE envelope"));
        std::fs::File::create(world.path("a.json")).unwrap().set_len(MAX_ENVELOPE + 1).unwrap();
        assert!(world.verify(&Expectations::default()).unwrap_err().contains("cannot read"));
    }

    #[test]
    fn a_subject_that_leads_elsewhere_is_not_opened() {
        let world = World::new();
        let mut statement = provenance();
        for name in ["../a.img", "/etc/passwd", "", ".."] {
            statement["subject"] = json!([{"name": name, "digest": sha256("00")}]);
            world.sign(&statement);
            let verified = world.verify(&Expectations::default()).unwrap();
            assert_eq!(verified.subjects[0].file, None, "{name}");
        }
    }

    #[test]
    fn who_does_not_wait_is_heard() {
        let world = World::new();
        world.sign(&provenance());
        let stopped = verify(&world.path("a.json"), world.key.verifying(), &Expectations::default(), &|_, _| {
            ControlFlow::Break(())
        });
        assert!(stopped.unwrap_err().is_cancelled());
    }
}
