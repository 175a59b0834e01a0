//! Owns where the values of variables come from: environment, variable files, `-var`; the later wins.

use std::collections::BTreeMap;

use super::read::Found;
use super::variables::Variable;
use crate::diagnostics::source_map::{SourceMap, Span};
use crate::diagnostics::suggest::did_you_mean;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::environment::Environment;
use crate::language::eval::FunctionSet;
use crate::language::eval::Scope;
use crate::language::syntax::ast::{Body, Expr, ExprKind};
use crate::language::syntax::parse_expression;
use crate::language::type_expr::Constraint;
use crate::language::value::{Type, Value};
use crate::world::data::Unset;
use crate::world::inputs::Inputs;

/// Prefix of variables in the environment.
const ENVIRONMENT_PREFIX: &str = "PKR_VAR_";
/// Undeclared names of variable files that are warned about one by one; the rest are counted.
const MAX_UNDECLARED: usize = 5;

/// Gives all variables their values and complains about those that have none. Returns the texts of those that have theirs from the environment
/// and are no secrets.
pub(super) fn assign(
    variables: &mut [Variable],
    inputs: &Inputs,
    found: &Found,
    unset: Unset,
    environment: &Environment,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) -> BTreeMap<String, String> {
    hide_defaults(variables, found, sources);
    let mut of_environment: Vec<(Option<Span>, &str)> = Vec::new();
    for variable in &mut *variables {
        let text = inputs.env.get(&format!("{ENVIRONMENT_PREFIX}{}", variable.name));
        if let Some(text) = text {
            from_text(variable, text, "environment", environment, sources, diagnostics);
        }
        of_environment.push((text.and(place(variable)), text.map_or("", String::as_str)));
    }
    let mut undeclared = Vec::new();
    for body in &found.variable_files {
        from_body(variables, body, environment, &mut undeclared, sources, diagnostics);
    }
    if inputs.warn_on_undeclared_var {
        warn_undeclared(variables, &undeclared, diagnostics);
    }
    for text in &inputs.vars {
        from_argument(variables, text, environment, sources, diagnostics);
    }
    // Neither a file nor an argument has given them another.
    let kept = variables.iter().zip(of_environment);
    let kept =
        kept.filter(|(variable, (given, _))| given.is_some() && *given == place(variable) && !variable.sensitive);
    let kept = kept.map(|(variable, (_, text))| (variable.name.to_string(), text.to_owned())).collect();
    // A variable file that could not be read may have set them.
    if unset == Unset::Unknown || found.variables_torn {
        return kept;
    }
    for variable in variables.iter().filter(|variable| variable.resolved().is_none() && !variable.broken) {
        let detail = "A variable must be set or have a default value, even if nothing uses it.";
        diagnostics.push(
            Diagnostic::error(format!("Unset variable {:?}", variable.name), detail).at(variable.span).hint(format!(
                "pass -var '{}=…', set {ENVIRONMENT_PREFIX}{} in the environment, or put it into a variable file",
                variable.name, variable.name
            )),
        );
    }
    kept
}

/// Where the value of a variable stands.
fn place(variable: &Variable) -> Option<Span> {
    variable.value.as_ref().map(|(_, span)| *span)
}

/// Keeps the default values of sensitive variables out of excerpts.
fn hide_defaults(variables: &[Variable], found: &Found, sources: &mut SourceMap) {
    let blocks = found.bodies.iter().flat_map(|body| body.blocks_of("variable"));
    for block in blocks {
        let name = block.labels.first().map(|label| &*label.text);
        let sensitive = variables.iter().any(|variable| variable.sensitive && Some(&*variable.name) == name);
        if let Some(attribute) = block.body.attribute("default").filter(|_| sensitive) {
            sources.hide(attribute.value.span);
        }
    }
    for block in found.bodies.iter().flat_map(|body| body.blocks_of("local")) {
        let sensitive = block.body.attribute("sensitive").is_some_and(|attribute| !is_false(&attribute.value));
        if let Some(attribute) = block.body.attribute("expression").filter(|_| sensitive) {
            // What is written out is the secret; names and calls are not.
            attribute.value.walk(&mut |inner| {
                if matches!(&inner.kind, ExprKind::Template(parts) if !parts.is_empty()) {
                    sources.hide(inner.span);
                }
            });
        }
    }
}

fn is_false(expr: &Expr) -> bool {
    matches!(&expr.kind, ExprKind::Literal(value) if value.as_bool() == Some(false))
}

fn from_body(
    variables: &mut [Variable],
    body: &Body,
    environment: &Environment,
    undeclared: &mut Vec<(String, Span)>,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) {
    for block in &body.blocks {
        let (summary, detail, hint) = if &*block.kind.text == "variable" {
            (
                "Variable declaration in a variable file",
                "A variable file gives values to variables; it does not declare them.",
                "move the block to a .pkr.hcl file, and write NAME = VALUE here",
            )
        } else {
            (
                "Unsupported block type",
                "A variable file holds only arguments: NAME = VALUE.",
                "move the block to a .pkr.hcl file",
            )
        };
        diagnostics.push(Diagnostic::error(summary, detail).at(block.header).hint(hint));
    }
    let scope = Scope::new(environment, FunctionSet::None, [].into());
    for attribute in &body.attributes {
        let Some(variable) = variables.iter_mut().find(|variable| variable.name == attribute.name.text) else {
            undeclared.push((attribute.name.text.to_string(), attribute.name.span));
            continue;
        };
        if variable.sensitive {
            sources.hide(attribute.value.span);
        }
        let errors = diagnostics.len();
        let value = scope.evaluate(&attribute.value, diagnostics);
        if diagnostics.len() > errors {
            variable.broken = true;
            variable.value = Some((Value::unknown(), attribute.value.span));
            continue;
        }
        set(variable, &value, attribute.value.span, "in this variable file", diagnostics);
    }
}

fn warn_undeclared(variables: &[Variable], undeclared: &[(String, Span)], diagnostics: &mut Diagnostics) {
    for (name, span) in undeclared.iter().take(MAX_UNDECLARED) {
        let known = variables.iter().map(|variable| &*variable.name);
        let hint = did_you_mean(name, known).unwrap_or_else(|| format!("declare it with: variable {name:?} {{}}"));
        let detail = format!("A {name:?} variable was set but was not declared as an input variable.");
        diagnostics.push(Diagnostic::warning("Undefined variable", detail).at(*span).hint(hint));
    }
    if undeclared.len() > MAX_UNDECLARED {
        let detail = format!("{} more variables were set but not declared.", undeclared.len() - MAX_UNDECLARED);
        diagnostics.push(Diagnostic::warning("Undefined variables", detail));
    }
}

fn from_argument(
    variables: &mut [Variable],
    text: &str,
    environment: &Environment,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) {
    let Some((name, value)) = text.split_once('=') else {
        let detail = format!("No '=' value in arg: {text}.");
        diagnostics.push(Diagnostic::error("Invalid -var option", detail).hint("write -var NAME=VALUE"));
        return;
    };
    let known: Vec<String> = variables.iter().map(|variable| variable.name.to_string()).collect();
    let Some(variable) = variables.iter_mut().find(|variable| &*variable.name == name) else {
        let detail =
            format!("A {name:?} variable was passed in the command line but was not found in known variables.");
        let hint = did_you_mean(name, known.iter().map(String::as_str));
        let hint = hint.unwrap_or_else(|| format!("declare it with: variable {name:?} {{}}"));
        diagnostics.push(Diagnostic::error("Undefined -var variable", detail).hint(hint));
        return;
    };
    from_text(variable, value, "arguments", environment, sources, diagnostics);
}

/// Reads a value given as text: literally for strings, numbers and untyped variables, else as an expression.
fn from_text(
    variable: &mut Variable,
    text: &str,
    origin: &str,
    environment: &Environment,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) {
    let file = sources.add(format!("<value for var.{} from {origin}>", variable.name), text);
    let span = Span { file, start: 0, end: u32::try_from(text.len()).unwrap_or(u32::MAX) };
    if variable.sensitive {
        sources.hide(span);
    }
    let literal = matches!(
        variable.effective(),
        Constraint::Any | Constraint::Primitive(Type::String | Type::Number | Type::Dynamic)
    );
    let value = if literal {
        Value::string(text)
    } else {
        let errors = diagnostics.len();
        let expr = parse_expression(sources, file, diagnostics);
        let scope = Scope::new(environment, FunctionSet::None, [].into());
        let value = if diagnostics.len() > errors { Value::unknown() } else { scope.evaluate(&expr, diagnostics) };
        if diagnostics.len() > errors {
            variable.broken = true;
            let value = Value::unknown_of(variable.effective().ty());
            variable.value = Some((value, span));
            return;
        }
        value
    };
    set(variable, &value, span, &format!("from the {origin}"), diagnostics);
}

fn set(variable: &mut Variable, value: &Value, span: Span, origin: &str, diagnostics: &mut Diagnostics) {
    match variable.effective().apply(value) {
        Ok(value) => variable.value = Some((value, span)),
        Err(error) => {
            let detail = format!(
                "The value for {:?} {origin} is not compatible with the variable's type constraint: {error}.",
                variable.name
            );
            diagnostics.push(Diagnostic::error("Invalid value for variable", detail).at(span));
            variable.broken = true;
            variable.value = Some((Value::unknown(), span));
        }
    }
}
