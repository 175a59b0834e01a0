//! The attestation of a conversion: what was read, what was written, signed and beside the first output.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use kiln_builder::attestation::{
    BuildDefinition, Builder, Envelope, FileDigestError, Material, Predicate, PredicateType, RunDetails, RunMetadata,
    SigningKey, Statement, Subject, digest_of_file, sha256, subject_names,
};
use kiln_builder::write_whole;
use kiln_protocol::{ConvertRequest, ConvertResult};
use serde_json::{Map, Value, json};

use super::failure::{Failure, Failures};
use super::reporter::{EXIT_FAILURE, Reporter};
use super::verify_attestation::with_causes;

/// How the parameters of a conversion are to be read.
const BUILD_TYPE: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/buildtypes/convert/v1");

/// What is to be signed with, and where it goes.
pub(super) struct Attestation {
    key: SigningKey,
    path: PathBuf,
}

/// The files that a conversion reads, as they were before it read them.
pub(super) struct Inputs {
    files: Vec<(PathBuf, Option<Stamp>)>,
}

/// What changes when a file is written to, or another is put in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: (u64, u64),
    size: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let found = path.metadata().ok()?;
        Some(Self {
            file: (found.dev(), found.ino()),
            size: found.size(),
            written: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

impl Inputs {
    /// Looks at the files of `request` and those that its images name (`read`).
    pub(super) fn of(request: &ConvertRequest, read: impl IntoIterator<Item = PathBuf>) -> Self {
        let named = request.inputs.iter().map(|input| PathBuf::from(&input.path));
        let mut files: Vec<PathBuf> = read.into_iter().chain(named).filter(|path| path.is_file()).collect();
        files.sort();
        files.dedup();
        Self { files: files.into_iter().map(|file| (file.clone(), Stamp::of(&file))).collect() }
    }

    /// Their digests. What was read and what is hashed now is the same only in a file that nobody has written to since.
    fn materials(&self, reporter: &Reporter) -> Result<Vec<Material>, Failures> {
        let mut materials = Vec::new();
        for (file, before) in &self.files {
            let total = file.metadata().map_or(0, |metadata| metadata.len());
            let progress = reporter.progress(format!("SHA-256 of {}", file.display()));
            let digest = digest_of_file(file, &|done| progress(done, total)).map_err(|error| match error {
                FileDigestError::Cancelled => Failures { list: Vec::new(), exit_code: EXIT_FAILURE, cancelled: true },
                error => Failure::new(with_causes(&error)).into(),
            })?;
            if before.is_none() || Stamp::of(file) != *before {
                let text = format!("{} was changed while it was converted: nobody knows what was read", file.display());
                return Err(Failure::new(text)
                    .hint("convert it again when nothing writes to it; nothing is attested")
                    .into());
            }
            materials.push(Material { name: file.display().to_string(), digest: sha256(digest), uri: String::new() });
        }
        Ok(materials)
    }
}

impl Attestation {
    /// What the request asks for: all that can be wrong with it is told before anything is written.
    pub(super) fn of(request: &ConvertRequest) -> Result<Option<Self>, Failures> {
        let (Some(key), Some(first)) = (&request.provenance_key, request.outputs.first()) else { return Ok(None) };
        if request.outputs.iter().any(|output| output.path == "-") {
            let failure = Failure::new("an attestation is of files, and standard output is none");
            return Err(failure.hint("write to a file, and send that").into());
        }
        let key = SigningKey::load(Path::new(key)).map_err(|error| {
            let failure = Failure::new(with_causes(&error));
            match error.hint() {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
        let path = PathBuf::from(format!("{}.provenance.json", first.path));
        if path.exists() && !request.force {
            let failure = Failure::new(format!("{} exists", path.display()));
            return Err(failure.hint("choose another name, or replace it with `--force`").into());
        }
        Ok(Some(Self { key, path }))
    }

    /// Writes it; returns its path. `inputs` are the files that were read.
    pub(super) fn write(
        &self,
        request: &ConvertRequest,
        inputs: &Inputs,
        result: &ConvertResult,
        job_directory: &Path,
        reporter: &Reporter,
    ) -> Result<String, Failures> {
        let files: Vec<PathBuf> = result.files.iter().map(|file| PathBuf::from(&file.filename)).collect();
        let mut subject = Vec::new();
        for (file, name) in result.files.iter().zip(subject_names(&files)) {
            let Some(digest) = &file.sha256 else {
                let text = format!("{} has no SHA-256, so nothing can be attested of it", file.filename);
                return Err(Failure::new(text)
                    .hint("what was converted is whole; only the attestation is missing")
                    .into());
            };
            subject.push(Subject { name, digest: sha256(digest.clone()) });
        }
        let predicate = Predicate {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE.to_owned(),
                external_parameters: parameters(request),
                internal_parameters: Map::new(),
                resolved_dependencies: materials(inputs, result, reporter)?,
            },
            run_details: RunDetails {
                builder: Builder::kiln(None),
                metadata: RunMetadata { invocation_id: base_name(&job_directory.to_string_lossy()) },
                byproducts: Vec::new(),
            },
        };
        let cannot = |why: String| {
            let text = format!("cannot write {}: {why}", self.path.display());
            Failures::from(Failure::new(text).hint("what was converted is whole; only the attestation is missing"))
        };
        let predicate = serde_json::to_value(predicate).map_err(|error| cannot(error.to_string()))?;
        let statement = Statement::new(subject, PredicateType::Provenance, predicate);
        let payload = serde_json::to_vec(&statement).map_err(|error| cannot(error.to_string()))?;
        let envelope = Envelope::sign(&payload, &self.key).map_err(|error| cannot(error.to_string()))?;
        let text = envelope.to_json().map_err(|error| cannot(error.to_string()))?;
        write_whole(job_directory, &self.path, &text).map_err(|error| cannot(error.to_string()))?;
        Ok(self.path.to_string_lossy().into_owned())
    }
}

/// What was asked for, without where the key lies.
fn parameters(request: &ConvertRequest) -> Map<String, Value> {
    let outputs: Vec<Value> =
        request.outputs.iter().map(|output| json!({"path": output.path, "format": output.format})).collect();
    let mut parameters = Map::new();
    parameters.insert("inputs".to_owned(), request.inputs.iter().map(|input| json!(input.path)).collect());
    parameters.insert("outputs".to_owned(), outputs.into());
    if !request.options.is_empty() {
        let options: Map<String, Value> =
            request.options.iter().map(|option| (option.name.clone(), option.value.clone().into())).collect();
        parameters.insert("options".to_owned(), options.into());
    }
    if request.compress {
        parameters.insert("compress".to_owned(), true.into());
    }
    if !request.machine.is_default() {
        parameters.insert("machine".to_owned(), json!(request.machine));
    }
    parameters
}

/// The files that were read with their digests, and the guests' disks with theirs.
fn materials(inputs: &Inputs, result: &ConvertResult, reporter: &Reporter) -> Result<Vec<Material>, Failures> {
    let mut materials = inputs.materials(reporter)?;
    for disk in &result.disks {
        let Some(digest) = &disk.content_digest else { continue };
        let digest = BTreeMap::from([("kilnContentV1".to_owned(), digest.clone())]);
        materials.push(Material { name: format!("disk of {}", disk.filename), digest, uri: String::new() });
    }
    Ok(materials)
}

fn base_name(path: &str) -> String {
    Path::new(path).file_name().map_or_else(|| path.to_owned(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;

    #[test]
    fn an_input_that_was_written_to_meanwhile_is_not_attested() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("a.raw");
        std::fs::write(&path, "abc").unwrap();
        let request = serde_json::json!({"inputs": [{"path": path}], "outputs": []});
        let request: ConvertRequest = serde_json::from_value(request).unwrap();
        let reporter = Reporter::new(Arc::new(|_| {}), Arc::new(AtomicBool::new(false)));
        let inputs = Inputs::of(&request, [path.clone()]);
        assert_eq!(inputs.materials(&reporter).unwrap().len(), 1, "one file, however often it is named");
        // Of the same size; it was written to all the same.
        let other = scratch.path().join("b");
        std::fs::write(&other, "abd").unwrap();
        std::fs::rename(&other, &path).unwrap();
        let failures = inputs.materials(&reporter).unwrap_err();
        assert!(failures.list[0].text.contains("was changed while it was converted"), "{failures:?}");
    }
}
