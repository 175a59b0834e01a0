//! Owns the console: expressions evaluated with the variables and locals of a template.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::data::DataMode;
use crate::diagnostics::Diagnostics;
use crate::eval::{Scope, evaluate};
use crate::files::Files;
use crate::functions::FunctionSet;
use crate::hcl2::{self, Base};
use crate::load::Inputs;
use crate::options::SENSITIVE;
use crate::source_map::SourceMap;
use crate::syntax::parse_expression;
use crate::value::{Data, Value};

/// What an evaluated line says.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The value as text; nothing when the line has errors.
    pub text: Option<String>,
    /// What is wrong with the line.
    pub diagnostics: Diagnostics,
    /// The line, for rendering the diagnostics.
    pub sources: SourceMap,
}

/// Evaluates expressions in the scope of a template, or of none.
#[derive(Debug, Clone)]
pub struct Console {
    base: Arc<Base>,
}

impl Console {
    /// Opens a console without a template: only functions, `path` and `packer`.
    #[must_use]
    pub fn empty(inputs: &Inputs, files: Arc<dyn Files>) -> Self {
        let environment = hcl2::environment(inputs, files, Path::new("."));
        let names: BTreeMap<Arc<str>, Value> = [
            ("var".into(), Value::object(BTreeMap::new())),
            ("local".into(), Value::object(BTreeMap::new())),
            ("path".into(), hcl2::path_object(Path::new("."), &inputs.cwd)),
            ("packer".into(), hcl2::packer_object()),
        ]
        .into_iter()
        .collect();
        Self { base: Arc::new(Base { names, environment, sensitive: Vec::new() }) }
    }

    /// Opens a console on an HCL2 template. It opens also when the template has problems, which are told too.
    #[must_use]
    pub fn open(inputs: &Inputs, files: Arc<dyn Files>) -> (Self, Diagnostics, SourceMap) {
        let mut sources = SourceMap::new();
        let mut diagnostics = Diagnostics::new();
        let prepared = hcl2::prepare(inputs, files.clone(), DataMode::Unknown, &mut sources, &mut diagnostics);
        let console = match prepared {
            Some(prepared) => Self { base: prepared.base },
            None => Self::empty(inputs, files),
        };
        diagnostics.dedup();
        (console, diagnostics, sources)
    }

    /// Evaluates one line.
    #[must_use]
    pub fn evaluate(&self, line: &str) -> Answer {
        let mut sources = SourceMap::new();
        let file = sources.add("<console-input>", line);
        let mut diagnostics = Diagnostics::new();
        let expr = parse_expression(&sources, file, &mut diagnostics);
        let mut text = None;
        if !diagnostics.has_errors() {
            let scope = Scope::new(&self.base.environment, FunctionSet::All, self.base.names.clone());
            let value = evaluate(&expr, &scope, &mut diagnostics);
            text = (!diagnostics.has_errors()).then(|| show(&value));
        }
        Answer { text, diagnostics, sources }
    }

    /// Returns the names and values of variables or locals (`namespace` is `var` or `local`), secrets hidden.
    #[must_use]
    pub fn values(&self, namespace: &str) -> Vec<(String, String)> {
        let entries = self.base.names.get(namespace).and_then(|value| value.as_entries().cloned());
        entries
            .map(|entries| entries.iter().map(|(name, value)| (name.to_string(), quoted(value))).collect())
            .unwrap_or_default()
    }
}

/// Writes a value as the console shows it: strings plain at the top, quoted inside.
pub(crate) fn show(value: &Value) -> String {
    match value.data() {
        Data::Null(_) => "null".to_owned(),
        _ if value.is_sensitive() => SENSITIVE.to_owned(),
        Data::String(text) => text.to_string(),
        _ => quoted(value),
    }
}

/// Writes a value with strings quoted.
pub(crate) fn quoted(value: &Value) -> String {
    let mut out = String::new();
    write(value, 0, &mut out);
    out
}

fn write(value: &Value, level: usize, out: &mut String) {
    let indentation = "  ".repeat(level);
    match value.data() {
        _ if value.is_sensitive() => out.push_str(SENSITIVE),
        Data::Null(_) => out.push_str("null"),
        Data::Unknown(_) => out.push_str("<unknown>"),
        Data::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Data::Number(number) => out.push_str(&number.to_string()),
        Data::String(text) => out.push_str(&crate::go_text::quote(text)),
        Data::List(_, elements) | Data::Set(_, elements) | Data::Tuple(elements) => {
            if elements.is_empty() {
                return out.push_str("[]");
            }
            out.push_str("[\n");
            for element in elements.iter() {
                out.push_str(&indentation);
                out.push_str("  ");
                write(element, level + 1, out);
                out.push_str(",\n");
            }
            out.push_str(&indentation);
            out.push(']');
        }
        Data::Map(_, entries) | Data::Object(entries) => {
            if entries.is_empty() {
                return out.push_str("{}");
            }
            out.push_str("{\n");
            // What is null is as if it were not there, as in Packer.
            for (key, element) in entries.iter().filter(|(_, element)| !element.is_null()) {
                out.push_str(&indentation);
                out.push_str("  ");
                out.push_str(&crate::go_text::quote(key));
                out.push_str(" = ");
                write(element, level + 1, out);
                out.push('\n');
            }
            out.push_str(&indentation);
            out.push('}');
        }
    }
}
