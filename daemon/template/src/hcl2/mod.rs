//! Owns HCL2 templates: from files to builds.

mod blocks;
mod build;
mod builds;
mod data_sources;
mod idle;
mod locals;
mod meta;
mod outline;
mod read;
mod registry;
mod requirements;
mod select;
mod torn;
mod uses;
mod validate;
mod values;
mod variables;

pub(crate) use outline::BuildOutline;
pub(crate) use requirements::required_plugins;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::components::config::HclBase;
use crate::components::evaluated::Loaded;
use crate::components::schema::Catalog;
use crate::diagnostics::Diagnostics;
use crate::diagnostics::redact::Redactor;
use crate::diagnostics::source_map::SourceMap;
use crate::go_template::PACKER_VERSION;
use crate::language::budget::Budget;
use crate::language::environment::Environment;
use crate::language::syntax::ast::Block;
use crate::language::value::{Data, Entries, Value};
use crate::world::data::{DataMode, Unset};
use crate::world::files::Files;
use crate::world::inputs::Inputs;

/// A template whose variables and locals have values.
pub(crate) struct Prepared {
    pub(crate) base: Arc<HclBase>,
    root: blocks::Root,
    /// The texts of variables that the environment gave and that are no secrets.
    of_environment: BTreeMap<String, String>,
    /// Whether the template is for this version; if not, nothing else is looked at.
    suitable: bool,
    /// Whether something was wrong before any value was looked at.
    broken: bool,
}

impl Prepared {
    /// Reports whether the template's text or structure is wrong.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken || !self.suitable
    }

    /// Lists the parts of all build blocks.
    pub(crate) fn outline(&self, diagnostics: &mut Diagnostics) -> Vec<BuildOutline> {
        outline::outline(&self.root, &self.base, diagnostics)
    }
}

/// Loads an HCL2 template.
pub(crate) fn load(inputs: &Inputs, files: Arc<dyn Files>, catalog: &dyn Catalog, data: DataMode) -> Loaded {
    let mut sources = SourceMap::new();
    let mut diagnostics = Diagnostics::new();
    let evaluated = prepare(inputs, files, data, Unset::Refused, &mut sources, &mut diagnostics)
        .filter(|prepared| prepared.suitable)
        .map(|prepared| {
            let mut evaluated = builds::evaluate(inputs, &prepared.root, &prepared.base, catalog, &mut diagnostics);
            evaluated.sensitive.clone_from(&prepared.base.sensitive);
            evaluated.of_environment = prepared.of_environment;
            evaluated
        });
    diagnostics.dedup();
    Loaded::new(evaluated, diagnostics, sources)
}

/// Reads a template and checks which blocks it has and how its variables are declared.
pub(crate) fn check_structure(
    inputs: &Inputs,
    files: &Arc<dyn Files>,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) {
    let Some(found) = read::read(inputs, &**files, sources, diagnostics) else { return };
    if requirements::check(&found.bodies, diagnostics) {
        let root = blocks::collect(&found.bodies, diagnostics);
        variables::declare(&root, &environment(inputs, files.clone(), &found.root), diagnostics);
    }
}

/// Reads a template and gives its variables and locals their values.
pub(crate) fn prepare(
    inputs: &Inputs,
    files: Arc<dyn Files>,
    data: DataMode,
    unset: Unset,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) -> Option<Prepared> {
    let found = read::read(inputs, &*files, sources, diagnostics)?;
    let mut environment = environment(inputs, files, &found.root);
    environment.data = data;
    environment.redactor = sources.redactor().clone();
    environment.budget = Arc::new(Budget::new(sources.files().map(|(_, file)| file.text().len()).sum()));
    // A template for another version may use blocks this one does not know, so that comes before everything else.
    if !requirements::check(&found.bodies, diagnostics) {
        let base = Arc::new(HclBase { names: BTreeMap::new(), environment, sensitive: Vec::new() });
        let (root, of_environment) = (blocks::Root::default(), BTreeMap::new());
        return Some(Prepared { base, root, of_environment, suitable: false, broken: false });
    }
    let mut root = blocks::collect(&found.bodies, diagnostics);
    root.torn = found.torn;
    let mut variables = variables::declare(&root, &environment, diagnostics);
    let broken = diagnostics.has_errors();
    let of_environment = values::assign(&mut variables, inputs, &found, unset, &environment, sources, diagnostics);
    let mut values = variables::values(&variables);
    let mut sensitive = Vec::new();
    values.values().for_each(|value| collect_sensitive(value, false, &mut sensitive));
    // What is computed of secrets is compared with them, so they must be known first.
    sources.hide_texts(&sensitive);
    validate::check(&variables, &environment, sources, diagnostics);
    let mut names: BTreeMap<Arc<str>, Value> = BTreeMap::new();
    let lost = torn::names(&root, &found.bodies);
    for name in lost.variables {
        values.entry(name).or_insert_with(Value::unknown);
    }
    names.insert("var".into(), Value::object(values));
    names.insert("path".into(), path_object(&found.root, &inputs.cwd));
    names.insert("packer".into(), packer_object());
    let locals = locals::resolve(&root, &lost.locals, &environment, &mut names, diagnostics);
    let declared = |name: &str| {
        let named = |block: &&Arc<Block>| block.labels.first().is_some_and(|label| &*label.text == name);
        root.local.iter().find(named).is_some_and(|block| block.body.attribute("sensitive").is_some())
    };
    for (name, value) in locals.as_entries().into_iter().flat_map(|entries| entries.iter()) {
        if value.is_sensitive() && declared(name) {
            let mut secrets = Vec::new();
            collect_sensitive(value, false, &mut secrets);
            sources.hide_texts(&secrets);
            sensitive.extend(secrets);
        } else if value.is_sensitive_within() {
            collect_derived(value, false, sources.redactor(), &mut sensitive);
        }
    }
    names.insert("local".into(), locals);
    sensitive.sort();
    sensitive.dedup();
    let base = Arc::new(HclBase { names, environment, sensitive });
    Some(Prepared { base, root, of_environment, suitable: true, broken })
}

pub(crate) fn environment(inputs: &Inputs, files: Arc<dyn Files>, root: &Path) -> Environment {
    Environment {
        files,
        root: inputs.cwd.join(root),
        cwd: inputs.cwd.clone(),
        variables: inputs.env.clone(),
        now: inputs.now,
        data: DataMode::Unknown,
        redactor: Redactor::default(),
        budget: Arc::default(),
    }
}

pub(crate) fn path_object(root: &Path, cwd: &Path) -> Value {
    let text = |path: &Path| Value::string(&path.to_string_lossy().replace('\\', "/"));
    let entries: Entries = [("root".into(), text(root)), ("cwd".into(), text(cwd))].into_iter().collect();
    Value::object(entries)
}

pub(crate) fn packer_object() -> Value {
    let entries: Entries = [("version", PACKER_VERSION), ("iterationID", ""), ("versionFingerprint", "")]
        .into_iter()
        .map(|(name, text)| (name.into(), Value::string(text)))
        .collect();
    Value::object(entries)
}

/// Collects what is marked as secret. Shorter results of computing with secrets are left out: a derived `8` would make
/// every 8 unreadable.
fn collect_sensitive(value: &Value, inherited: bool, into: &mut Vec<String>) {
    let sensitive = inherited || value.is_sensitive();
    match value.data() {
        Data::String(text) if sensitive && !text.trim().is_empty() => {
            into.push(text.to_string());
            if text.trim() != &**text {
                into.push(text.trim().to_owned());
            }
            // A secret of several lines is shown line by line.
            into.extend(text.lines().map(str::trim).filter(|line| line.len() >= 4).map(str::to_owned));
        }
        Data::Number(number) if sensitive => {
            let text = number.to_string();
            if text.len() >= 4 {
                into.push(text);
            }
        }
        _ => value.children().for_each(|child| collect_sensitive(child, sensitive, into)),
    }
}

/// Collects what was computed from secrets and is not hidden with them. Of a text that holds a secret only the secret is
/// one.
fn collect_derived(value: &Value, inherited: bool, redactor: &Redactor, into: &mut Vec<String>) {
    let sensitive = inherited || value.is_sensitive();
    match value.data() {
        Data::String(text) if sensitive && text.len() >= 4 && redactor.redact(text) == **text => {
            redactor.add_derived(text);
            into.push(text.to_string());
        }
        _ => value.children().for_each(|child| collect_derived(child, sensitive, redactor, into)),
    }
}
