//! Owns evaluation: expression + scope → value, collecting every problem on the way.

mod budget;
mod iteration;
mod operators;
mod template;
mod traversal;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use budget::Budget;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::functions::{self, Environment, FunctionSet};
use crate::diagnostics::source_map::Span;
use crate::diagnostics::suggest::did_you_mean;
use crate::language::syntax::ast::{Expr, ExprKind, ObjectKey};
use crate::language::value::convert::{convert, unify};
use crate::language::value::{Data, Entries, Type, Value};

/// The names an expression can refer to, and the functions it can call.
#[derive(Debug, Clone)]
pub(crate) struct Scope<'a> {
    parent: Option<&'a Self>,
    names: BTreeMap<Arc<str>, Value>,
    /// The current element of a splat.
    item: Option<Value>,
    pub(crate) functions: FunctionSet,
    pub(crate) environment: &'a Environment,
}

impl<'a> Scope<'a> {
    pub(crate) fn new(environment: &'a Environment, functions: FunctionSet, names: BTreeMap<Arc<str>, Value>) -> Self {
        Self { parent: None, names, item: None, functions, environment }
    }

    /// Returns a scope inside this one with more names.
    pub(crate) fn child(&'a self, names: impl IntoIterator<Item = (Arc<str>, Value)>) -> Self {
        Self {
            parent: Some(self),
            names: names.into_iter().collect(),
            item: None,
            functions: self.functions,
            environment: self.environment,
        }
    }

    fn with_item(&'a self, item: Value) -> Self {
        Self { item: Some(item), ..self.child([]) }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.names.get(name).or_else(|| self.parent.and_then(|parent| parent.get(name)))
    }

    fn splat_item(&self) -> Option<&Value> {
        self.item.as_ref().or_else(|| self.parent.and_then(Self::splat_item))
    }

    fn all_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.names.keys().map(|name| &**name).collect();
        if let Some(parent) = self.parent {
            names.extend(parent.all_names());
        }
        names
    }
}

/// Evaluates an expression. What cannot be evaluated becomes an unknown value, and a diagnostic says why.
pub(crate) fn evaluate(expr: &Expr, scope: &Scope<'_>, diagnostics: &mut Diagnostics) -> Value {
    // A name alone takes nothing from the budget, and what it stands for was measured when it was made.
    match &expr.kind {
        ExprKind::Literal(value) => return value.clone(),
        ExprKind::Variable(name) => return evaluate_name(name, expr.span, scope, diagnostics),
        _ => {}
    }
    let budget = &scope.environment.budget;
    if !budget.spend(1) {
        Budget::complain(expr.span, diagnostics);
        return Value::unknown();
    }
    let value = evaluate_kind(expr, scope, diagnostics);
    let made = matches!(
        expr.kind,
        ExprKind::Tuple(_)
            | ExprKind::Object(_)
            | ExprKind::Call { .. }
            | ExprKind::For(_)
            | ExprKind::Splat { .. }
            | ExprKind::Template(_)
    );
    if !made {
        return value;
    }
    if value.weight() > budget::MAX_WEIGHT || value.depth() > budget::MAX_DEPTH {
        Budget::complain_of_size(expr.span, diagnostics);
        return Value::unknown();
    }
    if !budget.spend_weight(value.weight()) {
        Budget::complain(expr.span, diagnostics);
        return Value::unknown();
    }
    value
}

fn evaluate_kind(expr: &Expr, scope: &Scope<'_>, diagnostics: &mut Diagnostics) -> Value {
    match &expr.kind {
        ExprKind::Literal(value) => value.clone(),
        ExprKind::Invalid => Value::unknown(),
        ExprKind::Template(parts) => template::evaluate_parts(parts, expr.span, scope, diagnostics),
        ExprKind::Wrapped(inner) | ExprKind::Parens(inner) => evaluate(inner, scope, diagnostics),
        ExprKind::Tuple(items) => Value::tuple(items.iter().map(|item| evaluate(item, scope, diagnostics)).collect()),
        ExprKind::Object(items) => evaluate_object(items, scope, diagnostics),
        ExprKind::Call { name, arguments, expand, arguments_span } => {
            functions::call(name, arguments, *expand, *arguments_span, expr.span, scope, diagnostics)
        }
        ExprKind::Variable(name) => evaluate_name(name, expr.span, scope, diagnostics),
        ExprKind::Traversal { source, steps } => traversal::evaluate(source, steps, scope, diagnostics),
        ExprKind::Splat { source, each, marker } => iteration::splat(source, each, *marker, scope, diagnostics),
        ExprKind::SplatItem => scope.splat_item().cloned().unwrap_or_else(Value::unknown),
        ExprKind::For(inner) => iteration::for_expression(inner, expr.span, scope, diagnostics),
        ExprKind::Conditional { condition, yes, no } => {
            evaluate_conditional(condition, yes, no, expr.span, scope, diagnostics)
        }
        ExprKind::Unary { operator, operand } => operators::unary(*operator, operand, expr.span, scope, diagnostics),
        ExprKind::Binary { first, rest } => operators::chain(first, rest, scope, diagnostics),
    }
}

/// Evaluates an expression and converts the result, naming `what` when that fails.
pub(crate) fn evaluate_as(
    expr: &Expr,
    ty: &Type,
    what: &str,
    scope: &Scope<'_>,
    diagnostics: &mut Diagnostics,
) -> Option<Value> {
    let errors = diagnostics.len();
    let value = evaluate(expr, scope, diagnostics);
    if diagnostics.len() > errors && value.is_unknown() {
        return None;
    }
    match convert(&value, ty) {
        Ok(value) => Some(value),
        Err(error) => {
            let detail = format!("Inappropriate value for {what}: {error}.");
            diagnostics.push(Diagnostic::error("Incorrect attribute value type", detail).at(expr.span));
            None
        }
    }
}

fn evaluate_name(name: &Arc<str>, span: Span, scope: &Scope<'_>, diagnostics: &mut Diagnostics) -> Value {
    if let Some(value) = scope.get(name) {
        return value.clone();
    }
    let names = scope.all_names();
    let diagnostic = if names.is_empty() {
        Diagnostic::error("Variables not allowed", "References cannot be used here; only literal values can.")
    } else {
        Diagnostic::error("Unknown variable", format!("There is no variable named {name:?}."))
            .hint_maybe(did_you_mean(name, names).or_else(|| name_hint(name, scope)))
    };
    diagnostics.push(diagnostic.at(span));
    Value::unknown()
}

/// Explains the most common wrong names: a forgotten prefix or forgotten quotes.
fn name_hint(name: &str, scope: &Scope<'_>) -> Option<String> {
    let has = |root: &str| {
        let entries = scope.get(root)?.as_entries()?.clone();
        entries.contains_key(name).then_some(())
    };
    if has("var").is_some() {
        return Some(format!("did you mean var.{name}?"));
    }
    if has("local").is_some() {
        return Some(format!("did you mean local.{name}?"));
    }
    Some(format!("to write the text itself, put it in quotes: \"{name}\""))
}

fn evaluate_object(items: &[(ObjectKey, Expr)], scope: &Scope<'_>, diagnostics: &mut Diagnostics) -> Value {
    let mut entries = Entries::new();
    let mut known = true;
    let mut sensitive = false;
    for (key, value) in items {
        let evaluated = evaluate(value, scope, diagnostics);
        let key = match key {
            ObjectKey::Name(name) => Value::string(&name.text),
            ObjectKey::Expr(key) => {
                let Some(key) = object_key(key, scope, diagnostics) else {
                    known = false;
                    continue;
                };
                key
            }
        };
        sensitive |= key.is_sensitive();
        match key.as_str() {
            Some(text) => _ = entries.insert(text.into(), evaluated),
            None => known = false,
        }
    }
    if known { Value::object(entries).marked(sensitive) } else { Value::unknown() }
}

/// Evaluates a key in an object expression; nothing after an error.
fn object_key(key: &Expr, scope: &Scope<'_>, diagnostics: &mut Diagnostics) -> Option<Value> {
    if let ExprKind::Traversal { source, .. } = &key.kind
        && matches!(source.kind, ExprKind::Variable(_))
    {
        let detail = "If this key is meant as a reference, put it in parentheses. If it is meant as a name that \
                      contains dots, put it in quotes.";
        diagnostics.push(Diagnostic::error("Ambiguous attribute key", detail).at(key.span));
        return None;
    }
    let errors = diagnostics.len();
    let value = evaluate(key, scope, diagnostics);
    if diagnostics.len() > errors {
        return None;
    }
    if value.is_null() {
        diagnostics.push(Diagnostic::error("Null value as key", "A null value cannot be a key.").at(key.span));
        return None;
    }
    match convert(&value, &Type::String) {
        Ok(value) => Some(value),
        Err(error) => {
            let detail = format!("This value cannot be a key: {error}.");
            diagnostics.push(Diagnostic::error("Incorrect key type", detail).at(key.span));
            None
        }
    }
}

fn evaluate_conditional(
    condition: &Expr,
    yes: &Expr,
    no: &Expr,
    span: Span,
    scope: &Scope<'_>,
    diagnostics: &mut Diagnostics,
) -> Value {
    // Both results are evaluated for their types, but only problems of the chosen one count.
    let mut yes_diagnostics = Diagnostics::new();
    let mut no_diagnostics = Diagnostics::new();
    let yes_value = evaluate(yes, scope, &mut yes_diagnostics);
    let no_value = evaluate(no, scope, &mut no_diagnostics);
    let budget = &scope.environment.budget;
    if !budget.spend_weight(yes_value.weight()) || !budget.spend_weight(no_value.weight()) {
        Budget::complain(span, diagnostics);
        return Value::unknown();
    }
    let untyped_null = |value: &Value| matches!(value.data(), Data::Null(Type::Dynamic));
    let result_type = if untyped_null(&yes_value) {
        Some(no_value.ty())
    } else if untyped_null(&no_value) {
        Some(yes_value.ty())
    } else {
        unify(&[yes_value.ty(), no_value.ty()], true)
    };
    let Some(result_type) = result_type else {
        let detail = format!(
            "The true and false result expressions must have consistent types. The given expressions are {} and {}, \
             respectively.",
            described(&yes_value),
            described(&no_value)
        );
        let span = yes.span.to(no.span);
        diagnostics.push(Diagnostic::error("Inconsistent conditional result types", detail).at(span));
        return Value::unknown();
    };
    let Some(condition) = evaluate_condition(condition, scope, diagnostics) else { return Value::unknown() };
    let sensitive = condition.is_sensitive();
    let (value, found) = match condition.as_bool() {
        None => return Value::unknown_of(result_type).marked(sensitive),
        Some(true) => (yes_value, yes_diagnostics),
        Some(false) => (no_value, no_diagnostics),
    };
    diagnostics.extend(found);
    match convert(&value, &result_type) {
        Ok(value) => value.marked(sensitive),
        Err(error) => {
            let detail = format!("The chosen result does not convert to the type of both: {error}.");
            diagnostics.push(Diagnostic::error("Inconsistent conditional result types", detail).at(span));
            Value::unknown()
        }
    }
}

/// Names a value's type with an article where it has structure.
fn described(value: &Value) -> String {
    value.ty().to_string()
}

/// Evaluates the condition of `? :` or `%{if}` to a boolean or unknown; nothing after an error.
fn evaluate_condition(condition: &Expr, scope: &Scope<'_>, diagnostics: &mut Diagnostics) -> Option<Value> {
    let errors = diagnostics.len();
    let value = evaluate(condition, scope, diagnostics);
    if diagnostics.len() > errors {
        return None;
    }
    if value.is_null() {
        let detail = "The condition value is null. Conditions must either be true or false.";
        diagnostics.push(Diagnostic::error("Null condition", detail).at(condition.span));
        return None;
    }
    match convert(&value, &Type::Bool) {
        Ok(value) => Some(value),
        Err(error) => {
            let detail = format!("The condition must be a boolean: {error}.");
            diagnostics.push(Diagnostic::error("Incorrect condition type", detail).at(condition.span));
            None
        }
    }
}
