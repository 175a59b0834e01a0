//! Owns the `validation` blocks of variables.

use super::variables::Variable;
use crate::diagnostics::source_map::SourceMap;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::environment::Environment;
use crate::language::eval::FunctionSet;
use crate::language::eval::Scope;
use crate::language::shape::expect_only;
use crate::language::syntax::ast::{Block, Expr, ExprKind, Step};
use crate::language::value::{Type, Value};

/// Checks every rule against the final value of its variable.
pub(super) fn check(
    variables: &[Variable],
    environment: &Environment,
    sources: &SourceMap,
    diagnostics: &mut Diagnostics,
) {
    for variable in variables {
        for rule in &variable.validations {
            check_rule(variable, rule, environment, sources, diagnostics);
        }
    }
}

fn check_rule(
    variable: &Variable,
    rule: &Block,
    environment: &Environment,
    sources: &SourceMap,
    diagnostics: &mut Diagnostics,
) {
    let body = &rule.body;
    expect_only(body, &["condition", "error_message"], &[], diagnostics);
    let missing = |name: &str| {
        let detail = format!("The argument {name:?} is required, but no definition was found.");
        Diagnostic::error("Missing required argument", detail).at(rule.header)
    };
    let Some(condition) = body.attribute("condition") else {
        return diagnostics.push(missing("condition"));
    };
    let Some(message) = body.attribute("error_message") else {
        return diagnostics.push(missing("error_message"));
    };
    if !refers_only_to(&condition.value, &variable.name, diagnostics) {
        return;
    }
    let Some(value) = variable.resolved().filter(|_| !variable.broken) else { return };
    let own = [(variable.name.clone(), value.clone())].into_iter().collect();
    let names = [("var".into(), Value::object(own))].into_iter().collect();
    let scope = Scope::new(environment, FunctionSet::All, names);
    let Some(text) = scope.evaluate_as(&message.value, &Type::String, "attribute \"error_message\"", diagnostics)
    else {
        return;
    };
    let text = text.as_str().unwrap_or_default().trim().to_owned();
    if !looks_like_sentence(&text) {
        let detail = "The message must be at least one full sentence: it begins with an upper case letter and ends with \
                      a full stop, question mark or exclamation mark.";
        diagnostics.push(Diagnostic::error("Invalid validation error message", detail).at(message.value.span));
    }
    let result = scope.evaluate_as(&condition.value, &Type::Bool, "attribute \"condition\"", diagnostics);
    let Some(result) = result else { return };
    if result.is_null() {
        let detail = "The condition of a validation must be true or false, not null.";
        diagnostics.push(Diagnostic::error("Invalid variable validation result", detail).at(condition.value.span));
        return;
    }
    if result.as_bool() == Some(false) {
        let line = sources
            .get(rule.span.file)
            .map(|file| format!(" at {}:{}", file.name(), file.position(condition.value.span.start).line));
        let detail = format!("{text}\n\nThis was checked by the validation rule{}.", line.unwrap_or_default());
        let subject = variable.value.as_ref().map_or(variable.span, |(_, span)| *span);
        diagnostics.push(Diagnostic::error("Invalid value for variable", detail).at(subject));
    }
}

fn looks_like_sentence(text: &str) -> bool {
    text.starts_with(char::is_uppercase) && text.ends_with(['.', '?', '!'])
}

/// Complains about references to anything but the variable itself.
fn refers_only_to(expr: &Expr, name: &str, diagnostics: &mut Diagnostics) -> bool {
    let mut right = true;
    let mut bound: Vec<&str> = Vec::new();
    expr.walk(&mut |inner| {
        if let ExprKind::For(inner) = &inner.kind {
            bound.extend(inner.key_name.iter().chain([&inner.value_name]).map(|name| &*name.text));
        }
    });
    expr.walk(&mut |inner| {
        let ExprKind::Traversal { source, steps } = &inner.kind else { return };
        let Some(root) = source.keyword() else { return };
        let first = match steps.first() {
            Some(Step::Attribute(first)) => Some(&*first.text),
            _ => None,
        };
        if bound.contains(&root) || (root == "var" && first == Some(name)) {
            return;
        }
        right = false;
        let detail =
            format!("The condition for variable {name:?} can refer only to the variable itself, using var.{name}.");
        let diagnostic = Diagnostic::error("Invalid reference in variable validation", detail);
        diagnostics.push(diagnostic.at(inner.span));
    });
    right
}
