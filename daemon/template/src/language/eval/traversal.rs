//! Owns references: attributes and indexes of values.

use super::scope::Scope;
use crate::diagnostics::suggest::did_you_mean;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::syntax::ast::{Expr, ExprKind, Step};
use crate::language::value::convert::convert;
use crate::language::value::{Data, Type, Value};

impl Scope<'_> {
    /// Evaluates `source.name[index]…`.
    pub(super) fn traversal(&self, source: &Expr, steps: &[Step], diagnostics: &mut Diagnostics) -> Value {
        let mut value = self.evaluate(source, diagnostics);
        for (index, step) in steps.iter().enumerate() {
            let next = match step {
                Step::Attribute(name) => {
                    let root = source.keyword();
                    let found = match root {
                        Some("data") if index < 2 => get_data(&value, steps, index, &name.text),
                        _ => get_attribute(&value, &name.text, root.filter(|_| index == 0)),
                    };
                    found.map_err(|diagnostic| diagnostic.at(name.span))
                }
                Step::Index { key, span } => {
                    let key_value = self.evaluate_key(key, diagnostics);
                    get_index(&value, &key_value).map_err(|diagnostic| diagnostic.at(*span))
                }
            };
            match next {
                Ok(next) => value = next,
                Err(diagnostic) => {
                    diagnostics.push(diagnostic.within(source.span.to(step.span())));
                    return Value::unknown();
                }
            }
        }
        value
    }

    fn evaluate_key(&self, key: &Expr, diagnostics: &mut Diagnostics) -> Value {
        match &key.kind {
            ExprKind::Literal(value) => value.clone(),
            _ => self.evaluate(key, diagnostics),
        }
    }
}

/// Returns an attribute or map element; `root` is the name of the value when it is a namespace such as `var`.
fn get_attribute(value: &Value, name: &str, root: Option<&str>) -> Result<Value, Diagnostic> {
    let summary = "Unsupported attribute";
    match value.data() {
        Data::Null(_) => Err(Diagnostic::error(
            "Attempt to get attribute from null value",
            "This value is null, so it does not have any attributes.",
        )),
        Data::Unknown(Type::Dynamic | Type::Map(_)) => Ok(Value::unknown().marked(value.is_sensitive())),
        Data::Unknown(Type::Object(attributes)) => match attributes.get(name) {
            Some(ty) => Ok(Value::unknown_of(ty.clone()).marked(value.is_sensitive())),
            None => Err(missing(name, attributes.keys().map(|key| &**key), root)),
        },
        Data::Object(attributes) => match attributes.get(name) {
            Some(found) => Ok(found.clone().marked(value.is_sensitive())),
            None => Err(missing(name, attributes.keys().map(|key| &**key), root)),
        },
        Data::Map(_, entries) => match entries.get(name) {
            Some(found) => Ok(found.clone().marked(value.is_sensitive())),
            None => Err(Diagnostic::error(
                "Missing map element",
                format!("This map does not have an element with the key {name:?}."),
            )
            .hint_maybe(did_you_mean(name, entries.keys().map(|key| &**key)))),
        },
        Data::List(..) | Data::Set(..) | Data::Tuple(_) => {
            let what = value.ty();
            Err(Diagnostic::error(
                summary,
                format!(
                    "This value is a {what}, which has no attributes. Did you mean an attribute of one element \
                     ([0].{name}) or of all elements ([*].{name})?"
                ),
            ))
        }
        _ => Err(Diagnostic::error(summary, format!("This value is a {}, which has no attributes.", value.ty()))),
    }
}

/// Returns `data.TYPE` or `data.TYPE.NAME`, whose object holds the data sources of the template.
fn get_data(value: &Value, steps: &[Step], index: usize, name: &str) -> Result<Value, Diagnostic> {
    let Data::Object(entries) = value.data() else { return get_attribute(value, name, None) };
    if entries.contains_key(name) {
        return get_attribute(value, name, None);
    }
    let detail = match steps.first() {
        Some(Step::Attribute(kind)) if index == 1 => {
            format!("There is no data source {:?} named {name:?}.", &*kind.text)
        }
        _ => format!("The template has no data source of the type {name:?}."),
    };
    let hint = did_you_mean(name, entries.keys().map(|key| &**key));
    Err(Diagnostic::error("Unknown data source", detail).hint_maybe(hint))
}

fn missing<'a>(name: &str, known: impl Iterator<Item = &'a str> + Clone, root: Option<&str>) -> Diagnostic {
    let suggestion = did_you_mean(name, known.clone());
    let (detail, hint) = match root {
        Some("var") => {
            (format!("There is no input variable named {name:?}."), format!("declare it with: variable {name:?} {{}}"))
        }
        Some("local") => {
            (format!("There is no local value named {name:?}."), format!("declare it in a locals block: {name} = …"))
        }
        Some("build") => (
            format!("There is no build value named {name:?}."),
            format!("the build values are {}", known.collect::<Vec<_>>().join(", ")),
        ),
        _ => {
            let diagnostic = Diagnostic::error(
                "Unsupported attribute",
                format!("This object does not have an attribute named {name:?}."),
            );
            return diagnostic.hint_maybe(suggestion);
        }
    };
    Diagnostic::error("Unsupported attribute", detail).hint(suggestion.unwrap_or(hint))
}

/// Returns the element a key names.
fn get_index(value: &Value, key: &Value) -> Result<Value, Diagnostic> {
    let summary = "Invalid index";
    let sensitive = value.is_sensitive() || key.is_sensitive();
    let invalid = |detail: String| Err(Diagnostic::error(summary, detail));
    if value.is_null() {
        let detail = "This value is null, so it does not have any indices.";
        return Err(Diagnostic::error("Attempt to index null value", detail));
    }
    if key.is_null() {
        return invalid("Can't use a null value as an indexing key.".into());
    }
    match value.data() {
        Data::Unknown(ty) => {
            let element = ty.element().cloned().unwrap_or(Type::Dynamic);
            Ok(Value::unknown_of(element).marked(sensitive))
        }
        Data::List(_, elements) | Data::Tuple(elements) => {
            let key = match convert(key, &Type::Number) {
                Ok(key) => key,
                Err(error) => {
                    return invalid(format!("The given key does not identify an element: {error}."));
                }
            };
            let Some(number) = key.as_number() else { return Ok(Value::unknown().marked(sensitive)) };
            if !number.is_integer() {
                return invalid("The given key is not a whole number.".into());
            }
            let index = number.to_i64().and_then(|index| usize::try_from(index).ok());
            match index.and_then(|index| elements.get(index)) {
                Some(found) => Ok(found.clone().marked(sensitive)),
                None if elements.is_empty() => invalid("The collection has no elements.".into()),
                None => invalid(format!(
                    "The given key does not identify an element: the collection has {} elements, so indexes from 0 \
                     to {} are possible, not {number}.",
                    elements.len(),
                    elements.len() - 1
                )),
            }
        }
        Data::Map(_, entries) | Data::Object(entries) => {
            let key = match convert(key, &Type::String) {
                Ok(key) => key,
                Err(error) => return invalid(format!("The given key does not identify an element: {error}.")),
            };
            let Some(name) = key.as_str() else { return Ok(Value::unknown().marked(sensitive)) };
            match entries.get(name) {
                Some(found) => Ok(found.clone().marked(sensitive)),
                None => Err(Diagnostic::error(
                    summary,
                    format!("The given key {name:?} does not identify an element in this collection value."),
                )
                .hint_maybe(did_you_mean(name, entries.keys().map(|key| &**key)))),
            }
        }
        Data::Set(..) => invalid(
            "Elements of a set have no index. Convert the set to a list first: convert(SET, list(TYPE)).".into(),
        ),
        _ => invalid("This value does not have any indices.".into()),
    }
}
