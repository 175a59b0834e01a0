//! Owns type constraints: `string`, `list(number)`, `object({ a = optional(bool, true) })`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::syntax::ast::{Expr, ExprKind, ObjectKey};
use super::value::convert::{ConvertError, convert};
use super::value::{Data, Entries, Type, Value};
use crate::diagnostics::suggest::did_you_mean;
use crate::diagnostics::{Diagnostic, Diagnostics};

/// A type with what is optional in it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Constraint {
    Any,
    Primitive(Type),
    List(Box<Self>),
    Set(Box<Self>),
    Map(Box<Self>),
    Tuple(Vec<Self>),
    Object(BTreeMap<Arc<str>, Attribute>),
}

/// One attribute of an object constraint.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Attribute {
    constraint: Constraint,
    /// What the attribute is when it is left out; nothing makes it required.
    default: Option<Value>,
}

impl Constraint {
    /// Returns the plain type; optional attributes are part of it.
    pub(crate) fn ty(&self) -> Type {
        match self {
            Self::Any => Type::Dynamic,
            Self::Primitive(ty) => ty.clone(),
            Self::List(element) => Type::list(element.ty()),
            Self::Set(element) => Type::set(element.ty()),
            Self::Map(element) => Type::map(element.ty()),
            Self::Tuple(elements) => Type::Tuple(elements.iter().map(Self::ty).collect()),
            Self::Object(attributes) => Type::Object(Arc::new(
                attributes.iter().map(|(name, attribute)| (name.clone(), attribute.constraint.ty())).collect(),
            )),
        }
    }

    /// Converts a value, filling in optional attributes.
    pub(crate) fn apply(&self, value: &Value) -> Result<Value, ConvertError> {
        convert(&self.fill(value), &self.ty())
    }

    /// Adds what is left out. Values of another shape stay as they are; the conversion will complain.
    fn fill(&self, value: &Value) -> Value {
        let sensitive = value.is_sensitive();
        match (self, value.data()) {
            (Self::Object(attributes), Data::Object(entries) | Data::Map(_, entries)) => {
                let mut filled = Entries::clone(entries);
                for (name, attribute) in attributes {
                    let missing = filled.get(name).is_none_or(Value::is_null);
                    match &attribute.default {
                        Some(default) if missing => _ = filled.insert(name.clone(), default.clone()),
                        _ => {
                            if let Some(found) = filled.get_mut(name) {
                                *found = attribute.constraint.fill(found);
                            }
                        }
                    }
                }
                Value::object(filled).marked(sensitive)
            }
            (
                Self::List(element) | Self::Set(element),
                Data::List(_, elements) | Data::Set(_, elements) | Data::Tuple(elements),
            ) if element.has_optional() => {
                Value::tuple(elements.iter().map(|value| element.fill(value)).collect()).marked(sensitive)
            }
            (Self::Map(element), Data::Map(_, entries) | Data::Object(entries)) if element.has_optional() => {
                let filled = entries.iter().map(|(key, value)| (key.clone(), element.fill(value))).collect();
                Value::object(filled).marked(sensitive)
            }
            (Self::Tuple(constraints), Data::Tuple(elements)) if constraints.len() == elements.len() => {
                let filled = elements.iter().zip(constraints).map(|(value, element)| element.fill(value)).collect();
                Value::tuple(filled).marked(sensitive)
            }
            _ => value.clone(),
        }
    }

    fn has_optional(&self) -> bool {
        match self {
            Self::Any | Self::Primitive(_) => false,
            Self::List(element) | Self::Set(element) | Self::Map(element) => element.has_optional(),
            Self::Tuple(elements) => elements.iter().any(Self::has_optional),
            Self::Object(attributes) => {
                attributes.values().any(|attribute| attribute.default.is_some() || attribute.constraint.has_optional())
            }
        }
    }
}

/// Reads a type constraint; nothing after an error. `optional` says whether `optional(…)` may be used.
pub(crate) fn parse(expr: &Expr, optional: bool, diagnostics: &mut Diagnostics) -> Option<Constraint> {
    let invalid = |detail: String| Diagnostic::error("Invalid type specification", detail).at(expr.span);
    match &expr.kind {
        ExprKind::Parens(inner) => parse(inner, optional, diagnostics),
        ExprKind::Invalid => None,
        ExprKind::Variable(name) => match &**name {
            "string" => Some(Constraint::Primitive(Type::String)),
            "number" => Some(Constraint::Primitive(Type::Number)),
            "bool" => Some(Constraint::Primitive(Type::Bool)),
            "any" => Some(Constraint::Any),
            "list" | "map" | "set" | "object" | "tuple" => {
                let example = match &**name {
                    "list" => "list(string)",
                    "map" => "map(string)",
                    "set" => "set(string)",
                    "object" => "object({ name = string })",
                    _ => "tuple([string, number])",
                };
                diagnostics.push(invalid(format!("The {name} type needs an argument, such as {example}.")));
                None
            }
            other => {
                let known = ["string", "number", "bool", "any", "list", "set", "map", "object", "tuple"];
                let diagnostic = invalid(format!("The keyword {other:?} is not a valid type specification."));
                diagnostics.push(diagnostic.hint_maybe(did_you_mean(other, known)));
                None
            }
        },
        ExprKind::Call { name, arguments, .. } => {
            let [argument] = arguments.as_slice() else {
                if &*name.text == "optional" {
                    diagnostics.push(invalid("optional() can be used only for attributes of an object type.".into()));
                } else {
                    diagnostics.push(invalid(format!("{}() needs exactly one argument.", name.text)));
                }
                return None;
            };
            match &*name.text {
                "list" => Some(Constraint::List(Box::new(parse(argument, optional, diagnostics)?))),
                "set" => Some(Constraint::Set(Box::new(parse(argument, optional, diagnostics)?))),
                "map" => Some(Constraint::Map(Box::new(parse(argument, optional, diagnostics)?))),
                "tuple" => {
                    let ExprKind::Tuple(items) = &argument.kind else {
                        diagnostics.push(invalid("tuple() needs a list of types: tuple([string, number]).".into()));
                        return None;
                    };
                    let elements: Option<Vec<Constraint>> =
                        items.iter().map(|item| parse(item, optional, diagnostics)).collect();
                    Some(Constraint::Tuple(elements?))
                }
                "object" => parse_object(argument, optional, diagnostics),
                "string" | "number" | "bool" | "any" => {
                    diagnostics.push(invalid(format!("The {} type takes no argument.", name.text)));
                    None
                }
                other => {
                    let known = ["list", "set", "map", "object", "tuple", "optional"];
                    let diagnostic = invalid(format!("The keyword {other:?} is not a valid type specification."));
                    diagnostics.push(diagnostic.hint_maybe(did_you_mean(other, known)));
                    None
                }
            }
        }
        _ => {
            // JSON syntax and old templates write the type as a string.
            if let Some(text) = expr.literal_string()
                && ["string", "number", "bool", "any"].contains(&text.as_str())
            {
                let diagnostic = invalid(format!("Types are not quoted: write {text}."));
                diagnostics.push(diagnostic);
                return None;
            }
            diagnostics
                .push(invalid("A type is either a keyword, such as string, or a call, such as list(string).".into()));
            None
        }
    }
}

fn parse_object(argument: &Expr, optional: bool, diagnostics: &mut Diagnostics) -> Option<Constraint> {
    let ExprKind::Object(items) = &argument.kind else {
        let detail = "object() needs the types of its attributes: object({ name = string }).";
        diagnostics.push(Diagnostic::error("Invalid type specification", detail).at(argument.span));
        return None;
    };
    let mut attributes = BTreeMap::new();
    for (key, value) in items {
        let name: Arc<str> = match key {
            ObjectKey::Name(name) => name.text.clone(),
            ObjectKey::Expr(key) => match key.literal_string() {
                Some(text) => text.into(),
                None => {
                    let detail = "The names of attributes must be plain names.";
                    diagnostics.push(Diagnostic::error("Invalid type specification", detail).at(key.span));
                    return None;
                }
            },
        };
        let attribute = match &value.kind {
            ExprKind::Call { name: function, arguments, .. } if &*function.text == "optional" && optional => {
                parse_optional(value, arguments, diagnostics)?
            }
            _ => Attribute { constraint: parse(value, optional, diagnostics)?, default: None },
        };
        attributes.insert(name, attribute);
    }
    Some(Constraint::Object(attributes))
}

fn parse_optional(expr: &Expr, arguments: &[Expr], diagnostics: &mut Diagnostics) -> Option<Attribute> {
    let (ty, default) = match arguments {
        [ty] => (ty, None),
        [ty, default] => (ty, Some(default)),
        _ => {
            let detail = "optional() needs a type and may have a default: optional(string, \"x\").";
            diagnostics.push(Diagnostic::error("Invalid type specification", detail).at(expr.span));
            return None;
        }
    };
    let constraint = parse(ty, true, diagnostics)?;
    let value = match default {
        None => Value::null_of(constraint.ty()),
        Some(default) => {
            let value = literal_value(default).or_else(|| {
                let detail = "The default of an optional attribute must be a literal value.";
                diagnostics.push(Diagnostic::error("Invalid type specification", detail).at(default.span));
                None
            })?;
            match constraint.apply(&value) {
                Ok(value) => value,
                Err(error) => {
                    let detail = format!("This default value is not compatible with the attribute's type: {error}.");
                    let diagnostic = Diagnostic::error("Invalid default value for optional attribute", detail);
                    diagnostics.push(diagnostic.at(default.span));
                    return None;
                }
            }
        }
    };
    Some(Attribute { constraint, default: Some(value) })
}

/// Evaluates an expression without references and calls.
fn literal_value(expr: &Expr) -> Option<Value> {
    match &expr.kind {
        ExprKind::Literal(value) => Some(value.clone()),
        ExprKind::Parens(inner) => literal_value(inner),
        ExprKind::Template(_) => expr.literal_string().map(Value::from),
        ExprKind::Tuple(items) => items.iter().map(literal_value).collect::<Option<Vec<_>>>().map(Value::tuple),
        ExprKind::Object(items) => {
            let mut entries = Entries::new();
            for (key, value) in items {
                let key = match key {
                    ObjectKey::Name(name) => name.text.clone(),
                    ObjectKey::Expr(key) => key.literal_string()?.into(),
                };
                entries.insert(key, literal_value(value)?);
            }
            Some(Value::object(entries))
        }
        ExprKind::Unary { operator: crate::language::syntax::ast::UnaryOperator::Negate, operand } => {
            literal_value(operand)?.as_number().map(|number| number.negate().into())
        }
        _ => None,
    }
}
