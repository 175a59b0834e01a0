//! Owns what is called like a function but evaluates expressions of its own: `try`, `can`, `convert` and `templatefile`.

use super::scope::{FunctionSet, Scope};
use crate::diagnostics::source_map::{FileId, SourceMap, Span};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::functions::filesystem::read_text;
use crate::language::functions::table::{Answer, Call, Failure, Function, any, function, text};
use crate::language::syntax::ast::Expr;
use crate::language::syntax::lexer::{continues_identifier, starts_identifier};
use crate::language::syntax::parse_template;
use crate::language::type_expr;
use crate::language::value::convert::convert;
use crate::language::value::{Type, Value};

/// Those whose arguments are not evaluated before the call.
pub(super) const LAZY: &[&str] = &["try", "can", "convert"];

/// The one whose arguments are values, as any function's.
pub(super) static TEMPLATE_FILE: Function = function("templatefile", &[text("path"), any("vars")], template_file);

impl Scope<'_> {
    /// Evaluates `try`, `can` and `convert`, which see expressions and not values.
    pub(super) fn lazy(
        &self,
        name: &str,
        arguments: &[Expr],
        arguments_span: Span,
        span: Span,
        diagnostics: &mut Diagnostics,
    ) -> Value {
        match (name, arguments) {
            ("try", [_, ..]) => {
                let mut failures = Diagnostics::new();
                for argument in arguments {
                    let mut found = Diagnostics::new();
                    let value = self.evaluate(argument, &mut found);
                    if self.environment.budget.is_exhausted() {
                        diagnostics.extend(found);
                        return Value::unknown();
                    }
                    if !found.has_errors() {
                        // A value that is not known yet may still fail; its answer is not known either.
                        return if value.is_wholly_known() { value } else { Value::unknown() };
                    }
                    failures.extend(found);
                }
                let reasons: Vec<String> =
                    failures.iter().map(|failure| format!("- {}: {}", failure.summary, failure.detail)).collect();
                let detail =
                    format!("Call to function \"try\" failed: no expression succeeded:\n{}", reasons.join("\n"));
                diagnostics.push(Diagnostic::error("Error in function call", detail).at(span));
                Value::unknown()
            }
            ("can", [argument]) => {
                let mut found = Diagnostics::new();
                let value = self.evaluate(argument, &mut found);
                if self.environment.budget.is_exhausted() {
                    diagnostics.extend(found);
                    return Value::unknown();
                }
                if found.has_errors() {
                    return false.into();
                }
                if value.is_wholly_known() { true.into() } else { Value::unknown_of(Type::Bool) }
            }
            ("convert", [value, wanted]) => {
                let errors = diagnostics.len();
                let evaluated = self.evaluate(value, diagnostics);
                let Some(constraint) = type_expr::parse(wanted, false, diagnostics) else { return Value::unknown() };
                if diagnostics.len() > errors {
                    return Value::unknown();
                }
                convert(&evaluated, &constraint.ty()).unwrap_or_else(|error| {
                    let detail = format!("Invalid value for \"value\" parameter of \"convert\": {error}.");
                    diagnostics
                        .push(Diagnostic::error("Invalid function argument", detail).at(value.span).within(span));
                    Value::unknown()
                })
            }
            _ => {
                let detail = match name {
                    "try" => "Function \"try\" expects at least one argument.",
                    "can" => "Function \"can\" expects one argument.",
                    _ => "Function \"convert\" expects two arguments: a value and a type.",
                };
                diagnostics.push(Diagnostic::error("Wrong number of function arguments", detail).at(arguments_span));
                Value::unknown()
            }
        }
    }
}

/// Renders another file as a template. Problems inside it are told with their own places.
fn template_file(call: &Call<'_>) -> Answer {
    let Some(entries) = call.value(1).as_entries() else {
        return Err(Failure::at(1, "invalid vars value: must be a map or object"));
    };
    for name in entries.keys() {
        if !name.starts_with(starts_identifier) || !name.chars().all(continues_identifier) {
            let message = format!(
                "invalid template variable name {name:?}: must start with a letter, followed by zero or more letters, \
                 digits, and underscores"
            );
            return Err(Failure::at(1, message));
        }
    }
    let path = call.text(0);
    let text = read_text(call, path)?;
    let mut sources = SourceMap::new();
    let file: FileId = sources.add(path, text.as_str());
    let mut diagnostics = Diagnostics::new();
    let expr = parse_template(file, &text, &mut diagnostics);
    let names = entries.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
    let scope = Scope::new(call.environment, FunctionSet::InsideTemplate, names);
    let value = if diagnostics.has_errors() { Value::unknown() } else { scope.evaluate(&expr, &mut diagnostics) };
    if !diagnostics.has_errors() {
        return Ok(value);
    }
    let problems: Vec<String> = diagnostics
        .reports(&sources)
        .into_iter()
        .map(|report| {
            let place = report.range.map_or_else(String::new, |range| {
                format!("{}:{},{}: ", range.file, range.start.line, range.start.column)
            });
            let hint = report.hint.map_or_else(String::new, |hint| format!(" ({hint})"));
            format!("{place}{}; {}{hint}", report.summary, report.detail.trim_end_matches('.'))
        })
        .collect();
    Err(Failure::new(problems.join("\n")))
}
