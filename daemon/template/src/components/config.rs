//! Owns the options of components as the template has them, and what they are evaluated with.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::generated::Generated;
use crate::go_template::Context;
use crate::language::environment::Environment;
use crate::language::eval::FunctionSet;
use crate::language::eval::Scope;
use crate::language::syntax::ast::{Block, Name};
use crate::language::syntax::json::Json;
use crate::language::value::{Entries, Value};

/// What every expression of a template's blocks can refer to.
#[derive(Debug)]
pub(crate) struct HclBase {
    pub(crate) names: BTreeMap<Arc<str>, Value>,
    pub(crate) environment: Environment,
    /// Texts that must not be shown.
    pub(crate) sensitive: Vec<String>,
}

impl HclBase {
    /// Returns a scope with the base's names and a few more.
    pub(crate) fn scope(&self, more: impl IntoIterator<Item = (Arc<str>, Value)>) -> Scope<'_> {
        let mut names = self.names.clone();
        names.extend(more);
        Scope::new(&self.environment, FunctionSet::All, names)
    }
}

/// What every option of a template is rendered with.
#[derive(Debug)]
pub(crate) struct JsonBase {
    pub(crate) variables: Arc<BTreeMap<String, String>>,
    /// Texts that must not be shown.
    pub(crate) sensitive: Vec<String>,
    /// The template's folder, absolute.
    pub(crate) template_dir: PathBuf,
    pub(crate) cwd: PathBuf,
    pub(crate) now: jiff::Timestamp,
}

impl JsonBase {
    /// Returns what texts outside of `variables` can refer to.
    pub(crate) fn context(&self) -> Context {
        Context {
            variables: self.variables.clone(),
            template_dir: Some(self.template_dir.clone()),
            cwd: self.cwd.clone(),
            now: self.now,
            ..Context::default()
        }
    }
}

/// Options of a legacy JSON template.
#[derive(Debug, Clone)]
pub(crate) struct JsonConfig {
    pub(crate) base: Arc<JsonBase>,
    pub(crate) options: Vec<(Name, Json)>,
    pub(crate) build_name: String,
    pub(crate) build_type: String,
}

/// Options of an HCL2 template.
#[derive(Debug, Clone)]
pub(crate) struct HclConfig {
    pub(crate) base: Arc<HclBase>,
    /// Names beyond those of the base: `source`, iteration values of dynamic blocks.
    pub(crate) names: BTreeMap<Arc<str>, Value>,
    /// The bodies that make up the options: of a builder, the source and what the build adds to it.
    pub(crate) bodies: Vec<Arc<Block>>,
    /// What `override` says for this build.
    pub(crate) overrides: Option<Value>,
    /// Arguments that are not the component's own.
    pub(crate) skip: &'static [&'static str],
    /// Whether `build.*` can be used.
    pub(crate) has_build_values: bool,
    pub(crate) block_name: Option<String>,
    pub(crate) build_name: String,
    pub(crate) build_type: String,
}

/// Returns the value of `build` in expressions.
pub(crate) fn build_object(generated: &Generated, block_name: Option<&str>) -> Value {
    let mut entries: Entries =
        generated.build.iter().map(|(name, text)| (name.as_str().into(), Value::string(text))).collect();
    entries.entry("name".into()).or_insert_with(|| Value::string(block_name.unwrap_or_default()));
    Value::object(entries)
}
