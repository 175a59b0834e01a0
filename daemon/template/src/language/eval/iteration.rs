//! Owns `for` expressions and splats.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::scope::Scope;
use crate::diagnostics::source_map::Span;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::budget::Budget;
use crate::language::syntax::ast::{Expr, ForExpr};
use crate::language::value::convert::convert;
use crate::language::value::{Data, Entries, Type, Value};

/// Returns what `for` goes through; nothing when that is unknown or, with a diagnostic, not possible.
pub(super) fn pairs_of(value: &Value, span: Span, diagnostics: &mut Diagnostics) -> Option<Vec<(Value, Value)>> {
    if value.is_unknown() {
        return None;
    }
    if value.is_null() {
        let detail = "A null value cannot be used as the collection in a 'for' expression.";
        diagnostics.push(Diagnostic::error("Iteration over null value", detail).at(span));
        return None;
    }
    if !value.can_iterate() {
        let detail = format!("A value of type {} cannot be used as the collection in a 'for' expression.", value.ty());
        diagnostics.push(Diagnostic::error("Iteration over non-iterable value", detail).at(span));
        return None;
    }
    Some(value.pairs())
}

impl Scope<'_> {
    /// Evaluates `[for …]` and `{for …}`.
    pub(super) fn for_expression(&self, expr: &ForExpr, span: Span, diagnostics: &mut Diagnostics) -> Value {
        let collection = self.evaluate(&expr.collection, diagnostics);
        let Some(pairs) = pairs_of(&collection, expr.collection.span, diagnostics) else { return Value::unknown() };
        let mut known = true;
        let mut sensitive = collection.is_sensitive();
        let mut items = Vec::new();
        let mut entries: BTreeMap<Arc<str>, Vec<Value>> = BTreeMap::new();
        for (key, element) in pairs {
            if !self.environment.budget.spend(1) {
                Budget::complain(span, diagnostics);
                return Value::unknown();
            }
            let names = expr.key_name.iter().map(|name| (name.text.clone(), key.clone()));
            let inner = self.child(names.chain([(expr.value_name.text.clone(), element)]));
            // Stop at the first element that fails: the others would say the same.
            let errors = diagnostics.len();
            if let Some(condition) = &expr.condition {
                let included = inner.evaluate_condition(condition, diagnostics);
                if diagnostics.len() > errors {
                    return Value::unknown();
                }
                sensitive |= included.as_ref().is_some_and(Value::is_sensitive);
                match included.and_then(|value| value.as_bool()) {
                    Some(true) => {}
                    Some(false) => continue,
                    None => {
                        known = false;
                        continue;
                    }
                }
            }
            let Some(key) = &expr.key else {
                items.push(inner.evaluate(&expr.value, diagnostics));
                if diagnostics.len() > errors {
                    return Value::unknown();
                }
                continue;
            };
            let Some(key_value) = inner.for_key(key, diagnostics) else { return Value::unknown() };
            sensitive |= key_value.is_sensitive();
            let value = inner.evaluate(&expr.value, diagnostics);
            if diagnostics.len() > errors {
                return Value::unknown();
            }
            let Some(text) = key_value.as_str() else {
                known = false;
                continue;
            };
            let values = entries.entry(text.into()).or_default();
            if !values.is_empty() && !expr.group {
                let detail = format!(
                    "Two different items produced the key {text:?} in this 'for' expression. If that is meant, put an \
                     ellipsis (...) after the value to group the values by key."
                );
                diagnostics.push(Diagnostic::error("Duplicate object key", detail).at(key.span).within(span));
                return Value::unknown();
            }
            values.push(value);
        }
        let value = match (&expr.key, known) {
            (_, false) => Value::unknown(),
            (None, true) => Value::tuple(items),
            (Some(_), true) => {
                let object: Entries = entries
                    .into_iter()
                    .filter_map(|(key, mut values)| {
                        let value = if expr.group { Value::tuple(values) } else { values.pop()? };
                        Some((key, value))
                    })
                    .collect();
                Value::object(object)
            }
        };
        value.marked(sensitive)
    }

    fn for_key(&self, key: &Expr, diagnostics: &mut Diagnostics) -> Option<Value> {
        let errors = diagnostics.len();
        let value = self.evaluate(key, diagnostics);
        if diagnostics.len() > errors {
            return None;
        }
        let problem = if value.is_null() {
            "the key is null".to_owned()
        } else {
            match convert(&value, &Type::String) {
                Ok(value) => return Some(value),
                Err(error) => error.to_string(),
            }
        };
        let detail = format!("Invalid key in this 'for' expression: {problem}.");
        diagnostics.push(Diagnostic::error("Invalid object key", detail).at(key.span));
        None
    }

    /// Evaluates `source.*.name` and `source[*].name`.
    pub(super) fn splat(&self, source: &Expr, each: &Expr, marker: Span, diagnostics: &mut Diagnostics) -> Value {
        let errors = diagnostics.len();
        let value = self.evaluate(source, diagnostics);
        if diagnostics.len() > errors {
            return Value::unknown();
        }
        let elements: Vec<Value> = match value.data() {
            Data::Unknown(_) => return Value::unknown().marked(value.is_sensitive()),
            Data::Null(Type::List(_) | Type::Set(_) | Type::Tuple(_)) => {
                let detail = "Splat expressions (with the * symbol) cannot be applied to null sequences.";
                diagnostics.push(
                    Diagnostic::error("Splat of null value", detail).at(source.span).within(source.span.to(marker)),
                );
                return Value::unknown();
            }
            // Anything that is not a sequence is treated as one of a single element, or of none if it is null.
            Data::Null(_) => return Value::tuple(Vec::new()).marked(value.is_sensitive()),
            Data::List(_, elements) | Data::Set(_, elements) | Data::Tuple(elements) => elements.to_vec(),
            _ => vec![value.clone()],
        };
        let mut results = Vec::with_capacity(elements.len());
        for element in elements {
            if !self.environment.budget.spend(1) {
                Budget::complain(marker, diagnostics);
                return Value::unknown();
            }
            let inner = self.with_item(element);
            results.push(inner.evaluate(each, diagnostics));
            if diagnostics.len() > errors {
                return Value::unknown();
            }
        }
        let result = match value.data() {
            Data::List(element, _) | Data::Set(element, _) => match results.first().map(Value::ty) {
                // What each element would give says the type, and whether it could be done at all.
                None => Value::list(
                    self.with_item(Value::unknown_of(element.clone())).evaluate(each, diagnostics).ty(),
                    results,
                ),
                Some(first) if results.iter().all(|result| result.ty() == first) => Value::list(first, results),
                Some(_) => Value::tuple(results),
            },
            _ => Value::tuple(results),
        };
        result.marked(value.is_sensitive())
    }
}
