//! Owns calls: what is checked and converted before a function runs, and what is said when it refuses.

use super::disclosure;
use super::forms::TEMPLATE_FILE;
use super::scope::Scope;
use super::unknown;
use crate::diagnostics::source_map::Span;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::budget::Budget;
use crate::language::functions;
use crate::language::functions::table::{Call, Function, Parameter};
use crate::language::syntax::ast::{Expr, Name};
use crate::language::value::convert::convert;
use crate::language::value::{Data, Value};

/// Steps that a call takes beside those of its arguments.
const CALL: u64 = 8;

impl Scope<'_> {
    /// Evaluates a call.
    pub(super) fn call(
        &self,
        name: &Name,
        arguments: &[Expr],
        expand: bool,
        arguments_span: Span,
        span: Span,
        diagnostics: &mut Diagnostics,
    ) -> Value {
        if !unknown::exists(&name.text) || !self.functions.contains(&name.text) {
            diagnostics.push(unknown::explain(name, self.functions));
            return Value::unknown();
        }
        let Some(function) =
            functions::find(&name.text).or_else(|| Some(&TEMPLATE_FILE).filter(|form| form.name == &*name.text))
        else {
            return self.lazy(&name.text, arguments, arguments_span, span, diagnostics);
        };
        let errors = diagnostics.len();
        let mut values: Vec<(Value, Span)> =
            arguments.iter().map(|argument| (self.evaluate(argument, diagnostics), argument.span)).collect();
        if diagnostics.len() > errors {
            return Value::unknown();
        }
        if expand && !expand_last(&mut values, diagnostics) {
            return Value::unknown();
        }
        if !check_count(function, name, &values, arguments_span, diagnostics) {
            return Value::unknown();
        }
        let Some(converted) = convert_arguments(function, name, &values, span, diagnostics) else {
            return Value::unknown();
        };
        let budget = &self.environment.budget;
        if !budget.spend(CALL) || !converted.iter().all(|argument| budget.spend_weight(argument.weight())) {
            Budget::complain(span, diagnostics);
            return Value::unknown();
        }
        let sensitive = converted.iter().any(Value::is_sensitive_within);
        let known = |value: &Value| match value.data() {
            Data::Unknown(_) => false,
            _ => function.moves || value.is_wholly_known(),
        };
        if !converted.iter().all(known) {
            return Value::unknown().marked(sensitive);
        }
        match (function.run)(&Call { arguments: &converted, environment: self.environment }) {
            Ok(value) => {
                if sensitive && functions::derives(function.name) {
                    disclosure::remember(&value, &self.environment.redactor);
                }
                value.marked(sensitive)
            }
            Err(mut failure) => {
                if sensitive && disclosure::gives_away(&failure.message, &converted) {
                    failure.message =
                        "the reason is not shown, because it would show a part of a sensitive value".into();
                }
                let diagnostic = match failure.argument {
                    Some(index) => Diagnostic::error(
                        "Invalid function argument",
                        format!(
                            "Invalid value for {:?} parameter: {}.",
                            parameter_name(function, index),
                            failure.message
                        ),
                    )
                    .at(values.get(index).map_or(span, |(_, span)| *span)),
                    None => Diagnostic::error(
                        "Error in function call",
                        format!("Call to function {:?} failed: {}.", name.text, failure.message),
                    )
                    .at(span),
                };
                diagnostics.push(diagnostic.within(span));
                Value::unknown()
            }
        }
    }
}

fn parameter(function: &Function, index: usize) -> Option<Parameter> {
    function.parameters.get(index).copied().or(function.rest)
}

fn parameter_name(function: &Function, index: usize) -> &'static str {
    parameter(function, index).map_or("", |parameter| parameter.name)
}

fn expand_last(values: &mut Vec<(Value, Span)>, diagnostics: &mut Diagnostics) -> bool {
    let Some((last, span)) = values.pop() else { return true };
    if last.is_unknown() {
        // An unknown number of arguments makes the answer unknown.
        values.push((Value::unknown(), span));
        return true;
    }
    match last.as_elements() {
        Some(elements) => {
            values.extend(elements.iter().map(|value| (value.clone().marked(last.is_sensitive()), span)));
            true
        }
        None => {
            let detail = "The argument before \"...\" must be a list, set or tuple.";
            diagnostics.push(Diagnostic::error("Invalid expanding argument value", detail).at(span));
            false
        }
    }
}

fn check_count(
    function: &Function,
    name: &Name,
    values: &[(Value, Span)],
    arguments_span: Span,
    diagnostics: &mut Diagnostics,
) -> bool {
    let wanted = function.parameters.len();
    if values.len() < wanted {
        let missing = function.parameters[values.len()].name;
        let detail = format!(
            "Function {:?} expects {}{wanted} argument(s). Missing value for {missing:?}.",
            name.text,
            if function.rest.is_some() { "at least " } else { "" },
        );
        diagnostics.push(Diagnostic::error("Not enough function arguments", detail).at(arguments_span));
        return false;
    }
    if values.len() > wanted && function.rest.is_none() {
        let detail = format!("Function {:?} expects only {wanted} argument(s).", name.text);
        let span = values.get(wanted).map_or(arguments_span, |(_, span)| *span);
        diagnostics.push(Diagnostic::error("Too many function arguments", detail).at(span));
        return false;
    }
    true
}

fn convert_arguments(
    function: &Function,
    name: &Name,
    values: &[(Value, Span)],
    span: Span,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<Value>> {
    let mut converted = Vec::with_capacity(values.len());
    for (index, (value, argument_span)) in values.iter().enumerate() {
        let parameter = parameter(function, index)?;
        let problem = match convert(value, &parameter.kind.ty()) {
            Ok(value) if value.is_null() && !parameter.null => "argument must not be null".to_owned(),
            Ok(value) => {
                converted.push(value);
                continue;
            }
            Err(error) => error.to_string(),
        };
        let detail = format!("Invalid value for {:?} parameter of {:?}: {problem}.", parameter.name, name.text);
        diagnostics.push(Diagnostic::error("Invalid function argument", detail).at(*argument_span).within(span));
        return None;
    }
    Some(converted)
}
