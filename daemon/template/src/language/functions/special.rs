//! Owns the functions that are not like the others: lazily evaluated ones, `templatefile`, `env`, and secrets.

use std::collections::BTreeMap;

use crate::world::data::{DataMode, DataSources};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::eval::{Scope, evaluate};
use crate::world::secret_stores;
use crate::diagnostics::source_map::{FileId, SourceMap, Span};
use crate::language::syntax::ast::Expr;
use crate::language::syntax::parse_template;
use crate::language::type_expr;
use crate::language::value::convert::convert;
use crate::language::value::{Type, Value};

use super::filesystem::read_text;
use super::{Answer, Call, Failure, Function, FunctionSet, any, function, text};

pub(super) const FUNCTIONS: &[Function] = &[
    function("env", &[text("key")], |call| {
        Ok(call.environment.variables.get(call.text(0)).map_or("", String::as_str).into())
    }),
    function("templatefile", &[text("path"), any("vars")], template_file),
    function("aws_secretsmanager", &[text("name"), text("key").or_null()], |_| {
        Err(unreachable_service("AWS Secrets Manager"))
    }),
    function("aws_secretsmanager_raw", &[text("name")], |_| Err(unreachable_service("AWS Secrets Manager"))),
    function("consul_key", &[text("path")], |call| {
        stored(call, |sources, environment| secret_stores::consul_key(sources, environment, call.text(0)))
    }),
    function("vault", &[text("path"), text("key")], |call| {
        let value = stored(call, |sources, environment| {
            secret_stores::vault(sources, environment, call.text(0), call.text(1))
        })?;
        // Whoever keeps a value in a vault does not want to see it in a log.
        if let Some(text) = value.as_str() {
            call.environment.redactor.add(text);
        }
        Ok(value.marked(true))
    }),
];

/// Reads from a store of secrets, where the world may be asked.
fn stored(
    call: &Call<'_>,
    read: impl FnOnce(&dyn DataSources, &BTreeMap<String, String>) -> Result<String, String>,
) -> Answer {
    match &call.environment.data {
        DataMode::Refuse => Err(Failure::new("stores of secrets are not read here; pass the value as a variable")),
        DataMode::Unknown => Ok(Value::unknown_of(Type::String)),
        DataMode::Fetch(sources) => {
            read(&**sources, &call.environment.variables).map(Value::from).map_err(Failure::new)
        }
    }
}

fn unreachable_service(service: &str) -> Failure {
    Failure::new(format!(
        "this version of Kiln does not read secrets from {service}; pass the value as a variable, for example with \
         PKR_VAR_name in the environment"
    ))
}

/// Evaluates `try`, `can` and `convert`, which see expressions and not values.
pub(super) fn lazy(
    name: &str,
    arguments: &[Expr],
    arguments_span: Span,
    span: Span,
    scope: &Scope<'_>,
    diagnostics: &mut Diagnostics,
) -> Value {
    match (name, arguments) {
        ("try", [_, ..]) => {
            let mut failures = Diagnostics::new();
            for argument in arguments {
                let mut found = Diagnostics::new();
                let value = evaluate(argument, scope, &mut found);
                if scope.environment.budget.is_exhausted() {
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
            let detail = format!("Call to function \"try\" failed: no expression succeeded:\n{}", reasons.join("\n"));
            diagnostics.push(Diagnostic::error("Error in function call", detail).at(span));
            Value::unknown()
        }
        ("can", [argument]) => {
            let mut found = Diagnostics::new();
            let value = evaluate(argument, scope, &mut found);
            if scope.environment.budget.is_exhausted() {
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
            let evaluated = evaluate(value, scope, diagnostics);
            let Some(constraint) = type_expr::parse(wanted, false, diagnostics) else { return Value::unknown() };
            if diagnostics.len() > errors {
                return Value::unknown();
            }
            convert(&evaluated, &constraint.ty()).unwrap_or_else(|error| {
                let detail = format!("Invalid value for \"value\" parameter of \"convert\": {error}.");
                diagnostics.push(Diagnostic::error("Invalid function argument", detail).at(value.span).within(span));
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

/// Renders another file as a template. Problems inside it are told with their own places.
fn template_file(call: &Call<'_>) -> Answer {
    let Some(entries) = call.value(1).as_entries() else {
        return Err(Failure::at(1, "invalid vars value: must be a map or object"));
    };
    for name in entries.keys() {
        if !name.starts_with(crate::language::syntax::lexer::starts_identifier)
            || !name.chars().all(crate::language::syntax::lexer::continues_identifier)
        {
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
    let value = if diagnostics.has_errors() { Value::unknown() } else { evaluate(&expr, &scope, &mut diagnostics) };
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
