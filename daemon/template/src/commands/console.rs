//! Owns the console: lines evaluated with the variables and locals of a template.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use crate::components::config::HclBase;
use crate::diagnostics::redact::SENSITIVE;
use crate::diagnostics::source_map::{SourceMap, Span};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::go_template::{self, Context};
use crate::hcl2;
use crate::language::eval::FunctionSet;
use crate::language::eval::Scope;
use crate::language::syntax::parse_expression;
use crate::language::value::{Data, Number, Value};
use crate::legacy;
use crate::load::is_hcl2;
use crate::world::data::{DataMode, Unset};
use crate::world::files::Files;
use crate::world::inputs::Inputs;

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

/// Evaluates lines in the scope of a template, or of none.
///
/// With an HCL2 template, and with none, a line is an expression; with a JSON template it is a text with `{{ … }}` in it.
#[derive(Debug, Clone)]
pub struct Console {
    scope: Names,
}

/// What lines can refer to.
#[derive(Debug, Clone)]
enum Names {
    Hcl(Arc<HclBase>),
    Json {
        context: Box<Context>,
        /// Texts that must not be shown.
        sensitive: Vec<String>,
    },
}

impl Console {
    /// Opens a console for expressions without a template: only functions, `path` and `packer`.
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
        Self { scope: Names::Hcl(Arc::new(HclBase { names, environment, sensitive: Vec::new() })) }
    }

    /// Opens a console for texts with `{{ … }}` without a template: its variables are those that `-var` sets.
    #[must_use]
    pub fn empty_json(inputs: &Inputs) -> Self {
        let variables = inputs.vars.iter().filter_map(|set| set.split_once('='));
        let context = Context {
            variables: Arc::new(variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()),
            cwd: inputs.cwd.clone(),
            now: inputs.now,
            ..Context::default()
        };
        Self { scope: Names::Json { context: Box::new(context), sensitive: Vec::new() } }
    }

    /// Opens a console on a template. It opens also when the template has problems, which are told too;
    /// that a variable has no value is none, as lines may not need it.
    #[must_use]
    pub fn open(inputs: &Inputs, files: Arc<dyn Files>) -> (Self, Diagnostics, SourceMap) {
        let mut sources = SourceMap::new();
        let mut diagnostics = Diagnostics::new();
        let console = if is_hcl2(inputs, &*files) {
            let prepared =
                hcl2::prepare(inputs, files.clone(), DataMode::Unknown, Unset::Unknown, &mut sources, &mut diagnostics);
            match prepared {
                Some(prepared) => Self { scope: Names::Hcl(prepared.base) },
                None => Self::empty(inputs, files),
            }
        } else {
            match legacy::prepare(inputs, &*files, DataMode::Unknown, Unset::Unknown, &mut sources, &mut diagnostics) {
                Some((_, base)) => {
                    let (context, sensitive) = (Box::new(base.context()), base.sensitive.clone());
                    Self { scope: Names::Json { context, sensitive } }
                }
                None => Self::empty_json(inputs),
            }
        };
        diagnostics.dedup();
        (console, diagnostics, sources)
    }

    /// Reports whether lines are expressions, not texts with `{{ … }}`.
    #[must_use]
    pub fn is_hcl2(&self) -> bool {
        matches!(self.scope, Names::Hcl(_))
    }

    /// Returns the texts that must not be shown or kept.
    #[must_use]
    pub fn sensitive(&self) -> &[String] {
        match &self.scope {
            Names::Hcl(base) => &base.sensitive,
            Names::Json { sensitive, .. } => sensitive,
        }
    }

    /// Evaluates one line.
    #[must_use]
    pub fn evaluate(&self, line: &str) -> Answer {
        let mut sources = SourceMap::new();
        if let Names::Hcl(base) = &self.scope {
            sources.share_redactor(&base.environment.redactor);
        }
        sources.hide_texts(self.sensitive());
        let file = sources.add("<console-input>", line);
        let mut diagnostics = Diagnostics::new();
        let text = match &self.scope {
            Names::Hcl(base) => {
                base.environment.budget.renew();
                let expr = parse_expression(&sources, file, &mut diagnostics);
                let scope = Scope::new(&base.environment, FunctionSet::All, base.names.clone());
                let value = (!diagnostics.has_errors()).then(|| scope.evaluate(&expr, &mut diagnostics));
                value.filter(|_| !diagnostics.has_errors()).map(|value| show(&value))
            }
            Names::Json { context, sensitive } => match go_template::render(line, context) {
                Ok(text) => Some(sensitive.iter().fold(text, |text, secret| text.replace(secret, SENSITIVE))),
                Err(error) => {
                    let to_u32 = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
                    let start = to_u32(error.offset.min(line.len()));
                    let end = to_u32(error.offset.saturating_add(error.length).min(line.len()));
                    let diagnostic = Diagnostic::error("Interpolation error", format!("{error}."));
                    diagnostics.push(diagnostic.at(Span { file, start, end }));
                    None
                }
            },
        };
        Answer { text, diagnostics, sources }
    }

    /// Returns the names and values of variables or locals (`namespace` is `var` or `local`), secrets hidden. Those of JSON
    /// templates are plain texts.
    #[must_use]
    pub fn values(&self, namespace: &str) -> Vec<(String, String)> {
        match &self.scope {
            Names::Hcl(base) => {
                let entries = base.names.get(namespace).and_then(|value| value.as_entries().cloned());
                let entries = entries.unwrap_or_default();
                entries.iter().map(|(name, value)| (name.to_string(), quoted_once(value))).collect()
            }
            Names::Json { context, sensitive } if namespace == "var" => {
                let hide =
                    |value: &String| if sensitive.contains(value) { SENSITIVE.to_owned() } else { value.clone() };
                context.variables.iter().map(|(name, value)| (name.clone(), hide(value))).collect()
            }
            Names::Json { .. } => Vec::new(),
        }
    }

    /// Lists all variables and locals, as Packer's console does for `variables`.
    #[must_use]
    pub fn variables(&self) -> String {
        if self.is_hcl2() {
            return hcl_variables(&self.values("var"), &self.values("local"));
        }
        self.values("var").iter().map(|(name, value)| format!("{name}: {value},\n")).collect()
    }
}

/// Lists variables and locals, whose values are quoted.
pub(crate) fn hcl_variables(variables: &[(String, String)], locals: &[(String, String)]) -> String {
    let lines = |namespace: &str, values: &[(String, String)]| -> String {
        values.iter().map(|(name, value)| format!("{namespace}.{name}: {value}\n")).collect()
    };
    let (variables, locals) = (lines("var", variables), lines("local", locals));
    format!("> input-variables:\n\n{variables}\n> local-variables:\n\n{locals}")
}

/// Writes a value as one quoted text.
pub(crate) fn quoted_once(value: &Value) -> String {
    let hidden = value.is_sensitive() && !value.is_null();
    crate::go::strings::quote(&if hidden { SENSITIVE.to_owned() } else { show(value) })
}

/// Writes a value as the console shows it: strings plain at the top, quoted inside.
pub(crate) fn show(value: &Value) -> String {
    match value.data() {
        Data::Null(_) => "null".to_owned(),
        _ if value.is_sensitive() => SENSITIVE.to_owned(),
        // Of what is known in part nothing is shown, as in Packer.
        _ if !value.is_wholly_known() => "<unknown>".to_owned(),
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

/// Writes a number as Packer shows it: whole machine integers as they are, all else as a machine float.
fn shown_number(number: &Number) -> String {
    if number.to_i64().is_some() {
        return number.to_string();
    }
    let sign = if number.sign() < 0 { "-" } else { "" };
    match Number::from_f64(number.to_f64()) {
        Some(float) if float.sign() == 0 => "0".to_owned(),
        Some(float) => format!("{sign}{}", float.general(None)),
        None => format!("{}Inf", if sign.is_empty() { "+" } else { sign }),
    }
}

fn write(value: &Value, level: usize, out: &mut String) {
    let indentation = "  ".repeat(level);
    match value.data() {
        _ if value.is_sensitive() => out.push_str(SENSITIVE),
        Data::Null(_) => out.push_str("null"),
        Data::Unknown(_) => out.push_str("<unknown>"),
        Data::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Data::Number(number) => out.push_str(&shown_number(number)),
        Data::String(text) => out.push_str(&crate::go::strings::quote(text)),
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
                out.push_str(&crate::go::strings::quote(key));
                out.push_str(" = ");
                write(element, level + 1, out);
                out.push('\n');
            }
            out.push_str(&indentation);
            out.push('}');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_shown_as_packer_shows_them() {
        // Recorded from Packer 1.6.6.
        for (text, shown) in [
            ("1000000", "1000000"),
            ("1e17", "100000000000000000"),
            ("1e20", "1e+20"),
            ("12345678901234567890", "1.2345678901234567e+19"),
            ("-0.000001", "-1e-06"),
            ("0.0001", "0.0001"),
            ("123456789.5", "1.234567895e+08"),
            ("1e100", "1e+100"),
            ("-1e400", "-Inf"),
            ("1e-400", "0"),
            ("0.1", "0.1"),
        ] {
            assert_eq!(show(&Number::parse(text).unwrap().into()), shown, "{text}");
        }
        let third = Number::from(10_i64).divide(&Number::parse("3").unwrap()).unwrap();
        assert_eq!(show(&Value::tuple(vec![third.into()])), "[\n  3.3333333333333335,\n]");
    }

    fn opened(path: &str, text: &str) -> (Console, String) {
        let inputs = Inputs { path: path.into(), cwd: "/w".into(), warn_on_undeclared_var: true, ..Inputs::default() };
        let files = crate::world::files::MemoryFiles::new().with(format!("/w/{path}"), text);
        let (console, diagnostics, sources) = Console::open(&inputs, Arc::new(files));
        (console, diagnostics.render(&sources, &crate::diagnostics::Style::default()))
    }

    #[test]
    fn what_needs_no_unset_variable_is_answered() {
        // Recorded from Packer 1.6.6.
        let (console, said) = opened(
            "t.pkr.hcl",
            r#"
variable "u" {
  type = string
  validation {
    condition     = length(var.u) > 2
    error_message = "Too short."
  }
}
locals {
  k      = "kk"
  w      = upper(var.u)
  merged = merge({ a = 1 }, { b = var.u })
}
"#,
        );
        assert_eq!(said, "");
        for (line, text) in [
            ("1+1", "2"),
            ("local.k", "kk"),
            ("var.u", "<unknown>"),
            ("upper(var.u)", "<unknown>"),
            ("local.w", "<unknown>"),
            ("local.merged.a", "1"),
            ("local.merged", "<unknown>"),
            ("values(local.merged)[0] + concat([1], [var.u])[0] + element([1, var.u], 0)", "3"),
            ("element(keys(local.merged), 1)", "b"),
            ("merge(var.u, { a = 1 })", "<unknown>"),
        ] {
            let answer = console.evaluate(line);
            let problems = answer.diagnostics.render(&answer.sources, &crate::diagnostics::Style::default());
            assert_eq!((answer.text.as_deref(), problems.as_str()), (Some(text), ""), "{line}");
        }
        let listed = "> input-variables:\n\nvar.u: \"<unknown>\"\n\n> local-variables:\n\nlocal.k: \"kk\"\n\
                      local.merged: \"<unknown>\"\nlocal.w: \"<unknown>\"\n";
        assert_eq!(console.variables(), listed);
        assert!(console.evaluate("var.nope").diagnostics.has_errors());
    }

    #[test]
    fn texts_that_need_no_unset_variable_are_rendered() {
        let (console, said) = opened("t.json", r#"{"variables": {"a": null, "b": "bb", "c": "{{user `a`}}x"}}"#);
        // That there are no builders is told.
        assert!(!said.contains("Unset variable"), "{said}");
        for (line, text) in [("{{user `b`}}", "bb"), ("{{user `a`}}", "<unknown>"), ("{{user `c`}}", "<unknown>")] {
            assert_eq!(console.evaluate(line).text.as_deref(), Some(text), "{line}");
        }
    }

    #[test]
    fn other_problems_of_a_template_are_told() {
        let (_, said) = opened("t.pkr.hcl", "variable \"u\" {}\nlocals {\n  k = nope(1)\n}\n");
        assert!(said.contains("nope") && !said.contains("Unset variable"), "{said}");
    }
}
