//! The attestation of a conversion: what was read, what was written, signed and beside the first output.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use kiln_builder::attestation::{
    BuildDefinition, Builder, Envelope, FileDigestError, Material, Predicate, PredicateType, RunDetails, RunMetadata,
    SigningKey, Statement, Subject, digest_of_file, sha256,
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
        inputs: &[PathBuf],
        result: &ConvertResult,
        job_directory: &Path,
        reporter: &Reporter,
    ) -> Result<String, Failures> {
        let subject = result
            .files
            .iter()
            .filter_map(|file| Some(Subject { name: base_name(&file.filename), digest: sha256(file.sha256.clone()?) }));
        let predicate = Predicate {
            build_definition: BuildDefinition {
                build_type: BUILD_TYPE.to_owned(),
                external_parameters: parameters(request),
                internal_parameters: Map::new(),
                resolved_dependencies: materials(request, inputs, result, reporter)?,
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
        let statement = Statement::new(subject.collect(), PredicateType::Provenance, predicate);
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
fn materials(
    request: &ConvertRequest,
    inputs: &[PathBuf],
    result: &ConvertResult,
    reporter: &Reporter,
) -> Result<Vec<Material>, Failures> {
    let named = request.inputs.iter().map(|input| PathBuf::from(&input.path));
    let mut files: Vec<PathBuf> = inputs.iter().cloned().chain(named).filter(|path| path.is_file()).collect();
    files.sort();
    files.dedup();
    let mut materials = Vec::new();
    for file in files {
        let total = file.metadata().map_or(0, |metadata| metadata.len());
        let progress = reporter.progress(format!("SHA-256 of {}", file.display()));
        let digest = digest_of_file(&file, &|done| progress(done, total)).map_err(|error| match error {
            FileDigestError::Cancelled => Failures { list: Vec::new(), exit_code: EXIT_FAILURE, cancelled: true },
            error => Failure::new(with_causes(&error)).into(),
        })?;
        materials.push(Material { name: file.display().to_string(), digest: sha256(digest), uri: String::new() });
    }
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
