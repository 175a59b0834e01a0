//! From a template to planned builds: load it, check every option of every component, tell all problems at once.
//!
//! Both `build` and `validate` come through here; `validate` ends here.

mod confined;
mod guestless;
mod shared_export;
mod shared_output;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use kiln_template::{
    Component, ComponentType, DataMode, Diagnostic, Diagnostics, EvaluatedBuild, Files, Generated, Inputs, OsFiles,
    PostProcessor, Provisioner, SourceMap, Span, Style, load_with,
};
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use crate::backends::Backends;
use crate::built::PlannedBuild;
use crate::catalog::{self, BuiltIn};
use crate::context::{EventSink, TemplateFile};
use crate::data_sources::HttpSources;
use crate::option_values::OptionValues;
use crate::plan::{BuildPlan, CommunicatorPlan, OptionsPlan, PostProcessorPlan, ProvisionerPlan, SourcePlan};
use crate::plan_reader::{PlanReader, Purpose};
use crate::{fetch, generated, sources};
use kiln_template::{Redactor, Report};

pub use confined::KILN_CONFINED;

/// A template to check; by default with nothing beside it. Paths are relative to `cwd`, which must be the process's working
/// directory too.
#[derive(Debug, Clone, Default)]
pub struct CheckRequest {
    /// The template: a file or a directory.
    pub template: PathBuf,
    /// Its text, when it does not lie in a file (`-`).
    pub text: Option<String>,
    /// The caller's working directory, absolute.
    pub cwd: PathBuf,
    /// The caller's environment.
    pub environment: BTreeMap<String, String>,
    /// `-var`, as `NAME=VALUE`.
    pub vars: Vec<String>,
    /// `-var-file`.
    pub var_files: Vec<PathBuf>,
    /// `-only`.
    pub only: Vec<String>,
    /// `-except`.
    pub except: Vec<String>,
    /// `-force`: what is in the way is no problem.
    pub force: bool,
    /// Whether variable files may not name undeclared variables without a warning.
    pub warn_on_undeclared_var: bool,
    /// Fetch what data sources name; otherwise their values are not known.
    pub evaluate_data: bool,
}

/// What a check found.
#[derive(Debug, Clone)]
pub struct Validation {
    /// Every build could be built.
    pub valid: bool,
    /// The problems, secrets removed.
    pub problems: Vec<Problem>,
}

/// One problem of a template.
#[derive(Debug, Clone)]
pub struct Problem {
    /// An error, not a warning.
    pub is_error: bool,
    /// For people, with an excerpt; empty when not wanted.
    pub text: String,
    /// For programs; null when not wanted.
    pub json: Json,
}

/// What is wanted of each problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// Texts for people.
    Texts {
        /// With colours.
        colour: bool,
    },
    /// Reports for programs.
    Reports,
    /// Both, the texts without colours.
    Both,
}

/// Checks a template and everything that can be checked without building. Blocks, on the network too when data sources
/// are evaluated.
#[must_use]
pub fn validate(request: &CheckRequest, cache_dir: &Path, wanted: Wanted) -> Validation {
    validate_with(request, cache_dir, wanted, Arc::new(|_| {}))
}

/// [`validate`], telling `sink` what is waited for meanwhile.
#[must_use]
pub fn validate_with(request: &CheckRequest, cache_dir: &Path, wanted: Wanted, sink: EventSink) -> Validation {
    let checked = check(request, Purpose::Validate, &Backends::real(cache_dir, &request.environment), sink);
    Validation { valid: checked.valid, problems: checked.problems(wanted) }
}

/// A template with everything that is known before building.
pub(crate) struct Checked {
    /// The builds without problems; of a template that is only [validated](Purpose::Validate) none are planned.
    pub(crate) planned: Vec<PlannedBuild>,
    pub(crate) redactor: Redactor,
    /// The texts of variables that the environment gave and that are no secrets.
    pub(crate) of_environment: BTreeMap<String, String>,
    /// Nothing is wrong.
    pub(crate) valid: bool,
    diagnostics: Diagnostics,
    sources: SourceMap,
}

impl Checked {
    /// Refuses what can be checked but not run yet; for a build, not for a check.
    pub(crate) fn refuse_unbuilt(&mut self) {
        let complaints = crate::unbuilt::complaints(&self.planned);
        self.valid &= !complaints.has_errors();
        self.diagnostics.extend(complaints);
    }

    /// Returns file and line of each component of the builds.
    pub(crate) fn places(&self) -> HashMap<Span, String> {
        let components = self.planned.iter().flat_map(|planned| planned.build.components());
        let place = |component: &Component| {
            let file = self.sources.get(component.span.file)?;
            Some((component.span, format!("{} line {}", file.name(), file.position(component.span.start).line)))
        };
        components.filter_map(place).collect()
    }

    /// Returns the files of the template at `path`: not those with values of variables, which may be secrets.
    pub(crate) fn template_files(&self, path: &Path) -> Vec<TemplateFile> {
        let is_template = |name: &str| {
            let is_part = name.ends_with(".pkr.hcl") || name.ends_with(".pkr.json");
            is_part || Path::new(name).file_name() == path.file_name()
        };
        let files = self.sources.files().map(|(_, file)| file).filter(|file| is_template(file.name()));
        let file = |file: &kiln_template::SourceFile| {
            let digest = Sha256::digest(file.text().as_bytes());
            let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            TemplateFile { name: file.name().to_owned(), sha256 }
        };
        files.map(file).collect()
    }

    /// Returns the problems with every secret removed: they can stand in excerpts, and in values that are quoted.
    pub(crate) fn problems(&self, wanted: Wanted) -> Vec<Problem> {
        let text = |diagnostic: &Diagnostic, colour| {
            self.redactor.redact(&diagnostic.render(&self.sources, &Style { colour, ..Style::default() }))
        };
        let report = |diagnostic: &Diagnostic| {
            let report = serde_json::to_string(&Report::new(diagnostic, &self.sources)).unwrap_or_default();
            serde_json::from_str(&self.redactor.redact(&report)).unwrap_or_default()
        };
        let problem = |diagnostic: &Diagnostic| Problem {
            is_error: diagnostic.is_error(),
            text: match wanted {
                Wanted::Texts { colour } => text(diagnostic, colour),
                Wanted::Reports => String::new(),
                Wanted::Both => text(diagnostic, false),
            },
            json: if matches!(wanted, Wanted::Texts { .. }) { Json::Null } else { report(diagnostic) },
        };
        self.diagnostics.iter().map(problem).collect()
    }
}

/// Loads a template and plans its builds. `sink` is told which servers are waited for.
pub(crate) fn check(request: &CheckRequest, purpose: Purpose, backends: &Backends, sink: EventSink) -> Checked {
    let inputs = Inputs {
        path: request.template.clone(),
        cwd: request.cwd.clone(),
        vars: request.vars.clone(),
        var_files: request.var_files.clone(),
        env: request.environment.clone(),
        only: request.only.clone(),
        except: request.except.clone(),
        now: jiff::Timestamp::now(),
        warn_on_undeclared_var: request.warn_on_undeclared_var,
    };
    let files: Arc<dyn Files> = match &request.text {
        Some(text) => Arc::new(GivenText { path: request.cwd.join(&request.template), text: text.clone() }),
        None => Arc::new(OsFiles),
    };
    let asked = Arc::new(HttpSources::new(sink));
    let data = if request.evaluate_data { DataMode::Fetch(asked.clone()) } else { DataMode::Unknown };
    let loaded = load_with(&inputs, files, &BuiltIn, data);
    let whole = loaded.evaluated.is_some();
    let (mut diagnostics, sources) = (loaded.diagnostics, loaded.sources);
    let mut checked = Checked {
        planned: Vec::new(),
        redactor: Redactor::default(),
        of_environment: BTreeMap::new(),
        valid: false,
        diagnostics: Diagnostics::new(),
        sources,
    };
    // Of a template with errors the rest is checked too, so that everything is told at once; nothing of it is built.
    if let Some(evaluated) = loaded.evaluated.or(loaded.incomplete) {
        checked.redactor = checked.sources.redactor().clone();
        checked.of_environment = evaluated.of_environment;
        let mentions_key = checked
            .sources
            .files()
            .any(|(_, file)| ["SSHPublicKey", "SSHPrivateKey"].iter().any(|name| file.text().contains(name)));
        if evaluated.builds.is_empty() && !diagnostics.has_errors() {
            let detail = "The template has no build, or -only and -except leave none.";
            diagnostics.push(Diagnostic::error("No builds to run", detail));
        }
        let mut sound = Vec::new();
        for build in evaluated.builds {
            let (source, mut problems) = check_build(&build, request.force, mentions_key, purpose, backends);
            if confined::is_asked_for(&request.environment) {
                confined::check(&build, &mut problems);
            }
            // Of a build that is wrong too: its problems quote what it says.
            checked.redactor.add_all(secrets_of(&source).iter().map(|secret| &**secret));
            if !problems.has_errors() {
                sound.push((build, source));
            }
            diagnostics.extend(problems);
        }
        shared_output::check(&sound, purpose, &mut diagnostics);
        // A plan decodes every component again: a tenth of all the time that checking takes.
        if purpose != Purpose::Validate {
            let planned = |(build, source)| PlannedBuild { plan: whole_plan(&build, source), build };
            checked.planned = sound.into_iter().map(planned).collect();
        }
        for (component, part) in &evaluated.orphans {
            check_part(*component, part, mentions_key, purpose, &mut diagnostics);
        }
        checked.valid = whole && !diagnostics.has_errors();
    }
    checked.redactor.add_all(asked.secrets().iter().map(|secret| &**secret).filter(|secret| is_secret(secret)));
    // What several builds share is wrong once.
    diagnostics.dedup();
    checked.diagnostics = diagnostics;
    checked
}

/// Checks all of a build, and reads what its source will do.
fn check_build(
    build: &EvaluatedBuild,
    force: bool,
    mentions_key: bool,
    purpose: Purpose,
    backends: &Backends,
) -> (SourcePlan, Diagnostics) {
    let unknown = Generated::plan();
    // Checked on although some options are wrong: whoever mends a template wants to hear everything at once.
    let (options, mut diagnostics) = build.source.decode_partly(&unknown);
    let mut reader = PlanReader {
        options: &options,
        schema: build.source.schema(),
        diagnostics: &mut diagnostics,
        source_name: build.source_name.clone(),
        force,
        mentions_key,
        purpose,
        late: build.source.template_context(&unknown),
    };
    check_rules(&mut reader, ComponentType::Builder, &build.source_type);
    let values = reader.values();
    let source = sources::read(&build.source_type, values, &build.source_name, mentions_key);
    if let Some(builder) = sources::machine(&source) {
        builder.check_host(&mut reader, backends);
    }
    guestless::check(build, &options, &mut diagnostics);
    for provisioner in build.provisioners.iter().chain(&build.cleanup_provisioner) {
        check_part(ComponentType::Provisioner, &provisioner.component, mentions_key, purpose, &mut diagnostics);
    }
    for post_processor in build.post_processors.iter().flatten() {
        check_part(ComponentType::PostProcessor, &post_processor.component, mentions_key, purpose, &mut diagnostics);
    }
    if let Some(builder) = sources::machine(&source) {
        shared_export::check(build, builder, &mut diagnostics);
    }
    // The rules of a table and the reader of a plan can say the same.
    diagnostics.dedup();
    (source, diagnostics)
}

/// Puts what the source will do beside the rest of the build.
fn whole_plan(build: &EvaluatedBuild, source: SourcePlan) -> BuildPlan {
    let provisioner = |part: &Provisioner| ProvisionerPlan {
        kind: part.component.kind.clone(),
        name: part.name.clone(),
        options: options_plan(&part.component),
        pause_before: part.pause_before,
        timeout: part.timeout,
        max_retries: part.max_retries,
        continue_on_error: part.continue_on_error,
    };
    let post_processor = |part: &PostProcessor| PostProcessorPlan {
        kind: part.component.kind.clone(),
        name: part.name.clone(),
        options: options_plan(&part.component),
        keep_input_artifact: part.keep_input_artifact,
    };
    let sequences = build.post_processors.iter();
    BuildPlan {
        name: build.name.clone(),
        source_name: build.source_name.clone(),
        source_type: build.source_type.clone(),
        source,
        provisioners: build.provisioners.iter().map(provisioner).collect(),
        cleanup_provisioner: build.cleanup_provisioner.as_ref().map(provisioner),
        post_processors: sequences.map(|sequence| sequence.iter().map(post_processor).collect()).collect(),
    }
}

pub(crate) fn options_plan(part: &Component) -> OptionsPlan {
    // What is wrong with them has been said.
    let (options, _) = part.decode_partly(&generated::names());
    let values = OptionValues::new(&options, part.schema());
    OptionsPlan::new(values.to_json(true), values.to_json(false))
}

/// Checks a provisioner or post-processor.
fn check_part(
    component: ComponentType,
    part: &Component,
    mentions_key: bool,
    purpose: Purpose,
    diagnostics: &mut Diagnostics,
) {
    let (options, problems) = part.decode_partly(&Generated::plan());
    diagnostics.extend(problems);
    let mut reader = PlanReader {
        options: &options,
        schema: part.schema(),
        diagnostics,
        source_name: String::new(),
        force: false,
        mentions_key,
        purpose,
        late: part.template_context(&Generated::plan()),
    };
    check_rules(&mut reader, component, &part.kind);
}

fn check_rules(reader: &mut PlanReader<'_>, component: ComponentType, kind: &str) {
    if let Some(definition) = catalog::definition(component, kind) {
        definition.check(reader);
    }
}

/// A shorter password is a word that stands in ordinary text too (`vagrant`, `packer`, `root`), and hiding it there
/// would hide paths and names; the template marks it `sensitive` when it is a secret all the same.
const SECRET_LENGTH: usize = 8;

/// Passwords, and what lets its owner in as part of a URL, are secrets even when the template does not say so, unless they are
/// everyday words.
fn secrets_of(plan: &SourcePlan) -> Vec<String> {
    let mut secrets = Vec::new();
    if let Some(image) = sources::machine(plan).and_then(|builder| builder.guest().image) {
        let checksum = image.checksum.strip_prefix("file:").unwrap_or(&image.checksum);
        secrets.extend(image.urls.iter().map(String::as_str).chain([checksum]).flat_map(fetch::secrets_in));
    }
    let username = plan.communicator().and_then(CommunicatorPlan::username).unwrap_or_default();
    let passwords = plan.secrets().into_iter().map(|password| password.expose().to_owned());
    secrets.extend(passwords.filter(|password| password != username));
    secrets.retain(|secret| is_secret(secret));
    secrets
}

fn is_secret(text: &str) -> bool {
    text.len() >= SECRET_LENGTH
}

/// The machine's files, and the text of the template.
struct GivenText {
    path: PathBuf,
    text: String,
}

impl Files for GivenText {
    fn read(&self, path: &Path) -> std::io::Result<Vec<u8>> {
        if path == self.path { Ok(self.text.clone().into_bytes()) } else { OsFiles.read(path) }
    }

    fn list(&self, path: &Path) -> std::io::Result<Vec<PathBuf>> {
        OsFiles.list(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        path != self.path && OsFiles.is_dir(path)
    }

    fn is_file(&self, path: &Path) -> bool {
        path == self.path || OsFiles.is_file(path)
    }
}

#[cfg(test)]
mod tests {
    use kiln_template::BUILT_IN_PLUGINS;

    #[test]
    fn plugins_that_are_said_to_be_built_in_are() {
        for plugin in BUILT_IN_PLUGINS {
            assert!(!plugin.components.is_empty(), "{}", plugin.source);
            for (component, kind) in plugin.components {
                let definition = crate::catalog::definition(*component, kind);
                assert!(definition.is_some_and(|definition| definition.runs), "{} {kind}", component.noun());
            }
        }
    }
}
