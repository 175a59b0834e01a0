//! The provenance post-processor: says what was made of what, in an attestation beside the artifact, signed when there is a key.
//!
//! ```text
//! NAME.provenance.json   how the files were made: an envelope, or the bare statement with `signing_mode = "none"`
//! NAME.sbom.att.json     with `sbom`: what they hold, as NAME.sbom.cdx.json or NAME.sbom.spdx.json lists it
//! ```
//!
//! NAME is that of the artifact's first file, behind the build's name where it does not begin with it, as in Packer.

mod digest;
mod inputs;
mod origin;
mod sbom;
mod secrecy;
mod signing;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, json};
use sha2::{Digest as _, Sha256};

use self::digest::digest;
pub(crate) use self::sbom::FORMATS as SBOM_FORMATS;
use self::secrecy::{HIDDEN, Secrecy};
pub(crate) use self::signing::{Mode, complaint};
use super::context::{PostProcessContext, Processed, base_name};
use super::new_file;
use crate::artifact::Artifact;
use crate::attestation::{
    BuildDefinition, Builder, Envelope, Material, Predicate, PredicateType, RunDetails, RunMetadata, SigningKey,
    Statement, Subject, sha256, subject_names,
};
use crate::context::BuildContext;
use crate::error::StepError;
use crate::option_values::OptionValues;

pub(crate) async fn run(
    context: &PostProcessContext,
    options: OptionValues<'_>,
    input: &Artifact,
) -> Result<Processed, StepError> {
    let unchanged = || Processed { artifact: input.clone(), keep_input: true, force_keep: true };
    if !options.flag("provenance") {
        return Ok(unchanged());
    }
    let key = signing::key(options).await?;
    let subjects = subjects(context, input).await?;
    let predicate = predicate(context, options, input).await?;
    let statement = Statement::new(subjects.clone(), PredicateType::Provenance, predicate);
    let (directory, stem) = place(options, &context.source_name, input);
    write(context, key.as_ref(), statement, &directory.join(format!("{stem}.provenance.json"))).await?;
    if options.flag("sbom") {
        let found = sbom::find(options, &context.source_name).await?;
        let raw = directory.join(format!("{stem}.sbom.{}", found.ending()));
        write_text(context, &raw, found.text.clone()).await?;
        let statement = Statement::new(subjects, found.kind, found.document);
        write(context, key.as_ref(), statement, &directory.join(format!("{stem}.sbom.att.json"))).await?;
        context.build.say(format!("Wrote SBOM to {}", raw.display()));
    }
    Ok(unchanged())
}

/// Says before a build that its attestation will be refused, for what is to be attested has a name that cannot be said: each name with the option
/// that gives it. No more than a warning: it may have another name by then.
pub(crate) fn warn_of_names(build: &BuildContext, names: &[(String, String)]) {
    for (option, name) in names {
        if !Secrecy(&build.redactor).is_name(name) {
            build.error(format!(
                "warning: {option} holds a secret of the template (a password is one, too): the provenance post-processor attests nothing that \
                 is named so; give it another name"
            ));
        }
    }
}

/// Where the attestations go, and how their names begin.
fn place(options: OptionValues<'_>, source_name: &str, input: &Artifact) -> (PathBuf, String) {
    let first = input.files.first();
    let beside = first.and_then(|file| file.parent()).map(Path::to_owned).unwrap_or_default();
    let directory = options.given("output_dir").map_or(beside, PathBuf::from);
    let base = match first {
        Some(file) => base_name(file),
        None => file_name(&format!("{}-{}", input.builder_id, input.id)),
    };
    let name = file_name(source_name.trim());
    let is_named = name.is_empty() || base == name || base.starts_with(&format!("{name}."));
    (directory, if is_named { base } else { format!("{name}.{base}") })
}

/// A text as a file name.
fn file_name(text: &str) -> String {
    text.chars().map(|c| if c.is_alphanumeric() || ".-_".contains(c) { c } else { '_' }).collect()
}

/// Each file of the artifact with its digest; an artifact without files is a subject itself.
async fn subjects(context: &PostProcessContext, input: &Artifact) -> Result<Vec<Subject>, StepError> {
    if input.files.is_empty() {
        let digest = hex(&Sha256::digest(identity(input)));
        return Ok(vec![Subject { name: format!("{}:{}", input.builder_id, input.id), digest: sha256(digest) }]);
    }
    let mut subjects = Vec::new();
    for (file, name) in input.files.iter().zip(subject_names(&input.files)) {
        let digest = digest(context, file).await?;
        subjects.push(Subject { name, digest: sha256(digest) });
    }
    // Asked for first: before the other files of the build are read.
    Secrecy(&context.build.redactor).subjects(&subjects)?;
    Ok(subjects)
}

/// What an artifact without files is told by.
fn identity(input: &Artifact) -> String {
    json!({"builderId": input.builder_id, "id": input.id}).to_string()
}

async fn predicate(
    context: &PostProcessContext,
    options: OptionValues<'_>,
    input: &Artifact,
) -> Result<serde_json::Value, StepError> {
    let environment: BTreeMap<String, String> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let mut materials: Vec<Material> =
        origin::source(&environment, options.given("source_uri")).await.into_iter().collect();
    materials.extend(inputs::materials(context).await?);
    let mut internal = Map::new();
    internal.insert("kilnVersion".to_owned(), env!("CARGO_PKG_VERSION").into());
    internal.insert("packerBuildName".to_owned(), context.source_name.as_str().into());
    internal.insert("packerBuilderType".to_owned(), context.source_type.as_str().into());
    let byproducts = match input.files.is_empty() {
        true => vec![json!({"name": "cloud-artifact-identity", "content": STANDARD.encode(identity(input))})],
        false => Vec::new(),
    };
    let predicate = Predicate {
        build_definition: BuildDefinition {
            build_type: options.text("build_type").unwrap_or_default(),
            external_parameters: external(options, &context.build.settings.of_environment),
            internal_parameters: internal,
            resolved_dependencies: materials,
        },
        run_details: RunDetails {
            builder: Builder::kiln(origin::builder_id(&environment)),
            metadata: RunMetadata {
                invocation_id: origin::invocation_id(&environment)
                    .unwrap_or_else(|| context.build.settings.run_uuid.clone()),
            },
            byproducts,
        },
    };
    let (predicate, missing) = Secrecy(&context.build.redactor).predicate(predicate)?;
    if !missing.is_empty() {
        let missing = missing.join(" and ");
        context.build.say(format!("The attestation does not say {missing}: a secret of the template stands in it"));
    }
    serde_json::to_value(predicate).map_err(StepError::wrap)
}

/// What the user asked for: the template, the builds, and variables: those that the options name, and those that the template declares and
/// the environment gave.
fn external(options: OptionValues<'_>, of_environment: &BTreeMap<String, String>) -> Map<String, serde_json::Value> {
    let mut parameters = Map::new();
    if let Some(template) = options.given("template") {
        parameters.insert("template".to_owned(), template.into());
    }
    let builds = options.texts("only_builds");
    if !builds.is_empty() {
        parameters.insert("onlyBuilds".to_owned(), builds.into());
    }
    let mut variables = of_environment.clone();
    variables.extend(options.map("user_variables"));
    for name in options.texts("packer_sensitive_variables") {
        variables.entry(name).and_modify(|value| HIDDEN.clone_into(value));
    }
    if !variables.is_empty() {
        parameters.insert("userVariables".to_owned(), json!(variables));
    }
    parameters
}

/// Writes a statement, signed when there is a key.
async fn write(
    context: &PostProcessContext,
    key: Option<&signing::Keys>,
    statement: Statement,
    path: &Path,
) -> Result<(), StepError> {
    let text = match key {
        None => serde_json::to_string_pretty(&statement).map_err(StepError::wrap)?,
        Some(keys) => sign(&statement, keys)?,
    };
    write_text(context, path, text).await?;
    context.build.say(format!("Wrote attestation to {}", path.display()));
    Ok(())
}

/// The envelope, once the key that others verify by has verified it.
fn sign(statement: &Statement, keys: &signing::Keys) -> Result<String, StepError> {
    let payload = serde_json::to_vec(statement).map_err(StepError::wrap)?;
    let signer: &SigningKey = &keys.signer;
    let envelope = Envelope::sign(&payload, signer).map_err(StepError::wrap)?;
    let verifier = keys.verifier.as_ref().unwrap_or_else(|| signer.verifying());
    envelope.open(verifier).map_err(|error| {
        StepError::new("`verifier` does not verify what `signer` signs")
            .with_source(error)
            .with_hint("`openssl pkey -in SIGNER -pubout` writes the verifier of a signer")
    })?;
    envelope.to_json().map_err(StepError::wrap)
}

async fn write_text(context: &PostProcessContext, path: &Path, text: String) -> Result<(), StepError> {
    new_file::write(context, path, move |file, _| std::io::Write::write_all(file, text.as_bytes())).await
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
