//! Owns the declaration of input variables.

use std::sync::Arc;

use super::blocks::{Root, declared_twice};
use crate::diagnostics::source_map::Span;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::environment::Environment;
use crate::language::eval::FunctionSet;
use crate::language::eval::Scope;
use crate::language::shape::{expect_only, is_identifier, unsupported_block};
use crate::language::syntax::ast::{Attribute, Block};
use crate::language::type_expr::{self, Constraint};
use crate::language::value::{Data, Entries, Type, Value};

/// One declared variable.
#[derive(Debug, Clone)]
pub(super) struct Variable {
    pub(super) name: Arc<str>,
    /// The name in its declaration.
    pub(super) span: Span,
    pub(super) constraint: Option<Constraint>,
    pub(super) default: Option<Value>,
    pub(super) sensitive: bool,
    pub(super) validations: Vec<Arc<Block>>,
    /// The value and where it was given.
    pub(super) value: Option<(Value, Span)>,
    /// Whether something about it is wrong, so that its value says nothing.
    pub(super) broken: bool,
}

impl Variable {
    /// Returns the type that values must have: the declared one, or that of the default.
    pub(super) fn effective(&self) -> Constraint {
        if let Some(constraint) = &self.constraint {
            return constraint.clone();
        }
        match self.default.as_ref().map(|default| (default.ty(), default.data())) {
            None | Some((Type::Dynamic, _)) => Constraint::Any,
            // Empty lists and objects say nothing about their elements.
            Some((_, Data::Tuple(elements))) if elements.is_empty() => Constraint::Any,
            Some((_, Data::Object(entries))) if entries.is_empty() => Constraint::Any,
            Some((ty, _)) => Constraint::Primitive(ty),
        }
    }

    /// Returns the value to use: what was given, else the default.
    pub(super) fn resolved(&self) -> Option<Value> {
        let value = self.value.as_ref().map(|(value, _)| value).or(self.default.as_ref())?;
        Some(value.clone().marked(self.sensitive))
    }
}

/// Returns the values of all variables; those without one are unknown, which has been reported.
pub(super) fn values(variables: &[Variable]) -> Entries {
    variables
        .iter()
        .map(|variable| (variable.name.clone(), variable.resolved().unwrap_or_else(Value::unknown)))
        .collect()
}

/// Reads all declarations.
pub(super) fn declare(root: &Root, environment: &Environment, diagnostics: &mut Diagnostics) -> Vec<Variable> {
    let mut variables: Vec<Variable> = Vec::new();
    let mut add = |variable: Variable, diagnostics: &mut Diagnostics| {
        if let Some(known) = variables.iter().find(|known| known.name == variable.name) {
            diagnostics.push(declared_twice("variable", &variable.name, known.span, variable.span));
        } else {
            variables.push(variable);
        }
    };
    for block in &root.variable {
        let variable = declare_one(block, environment, diagnostics);
        add(variable, diagnostics);
    }
    for block in &root.variables {
        for nested in &block.body.blocks {
            diagnostics.push(unsupported_block(nested, &[]));
        }
        for attribute in &block.body.attributes {
            let scope = Scope::new(environment, FunctionSet::Environment, [].into());
            let errors = diagnostics.len();
            let default = scope.evaluate(&attribute.value, diagnostics);
            add(
                Variable {
                    name: attribute.name.text.clone(),
                    span: attribute.name.span,
                    constraint: None,
                    broken: diagnostics.len() > errors,
                    default: Some(default),
                    sensitive: false,
                    validations: Vec::new(),
                    value: None,
                },
                diagnostics,
            );
        }
    }
    variables
}

fn declare_one(block: &Arc<Block>, environment: &Environment, diagnostics: &mut Diagnostics) -> Variable {
    let body = &block.body;
    let errors = diagnostics.len();
    expect_only(body, &["type", "default", "description", "sensitive"], &["validation"], diagnostics);
    let (name, span) =
        block.labels.first().map_or_else(|| ("".into(), block.header), |label| (label.text.clone(), label.span));
    debug_assert!(is_identifier(&name));
    let scope = Scope::new(environment, FunctionSet::Environment, [].into());
    let constraint = body.attribute("type").and_then(|attribute| type_expr::parse(&attribute.value, true, diagnostics));
    let sensitive = literal_bool(body.attribute("sensitive"), &scope, diagnostics);
    if let Some(attribute) = body.attribute("description") {
        scope.evaluate_as(&attribute.value, &Type::String, "attribute \"description\"", diagnostics);
    }
    let mut default = body.attribute("default").map(|attribute| scope.evaluate(&attribute.value, diagnostics));
    if let (Some(value), Some(constraint), Some(attribute)) = (&default, &constraint, body.attribute("default"))
        && !value.is_unknown()
    {
        match constraint.apply(value) {
            Ok(value) => default = Some(value),
            Err(error) => {
                let detail =
                    format!("This default value is not compatible with the variable's type constraint: {error}.");
                diagnostics
                    .push(Diagnostic::error("Invalid default value for variable", detail).at(attribute.value.span));
                default = Some(Value::unknown_of(constraint.ty()));
            }
        }
    }
    Variable {
        name,
        span,
        constraint,
        default,
        sensitive,
        validations: body.blocks_of("validation").cloned().map(Arc::new).collect(),
        value: None,
        broken: diagnostics.len() > errors,
    }
}

/// Evaluates an optional boolean argument that cannot refer to anything.
pub(super) fn literal_bool(attribute: Option<&Attribute>, scope: &Scope<'_>, diagnostics: &mut Diagnostics) -> bool {
    let Some(attribute) = attribute else { return false };
    let what = format!("attribute {:?}", attribute.name.text);
    scope
        .evaluate_as(&attribute.value, &Type::Bool, &what, diagnostics)
        .and_then(|value| value.as_bool())
        .unwrap_or(false)
}
