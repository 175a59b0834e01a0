//! Owns the evaluation of expressions: expression + scope → value, collecting every problem on the way. Parts of their own
//! have files of their own.

use std::sync::Arc;

use super::scope::Scope;
use crate::diagnostics::source_map::Span;
use crate::diagnostics::suggest::did_you_mean;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::budget::{Budget, MAX_DEPTH, MAX_WEIGHT};
use crate::language::syntax::ast::{Expr, ExprKind, ObjectKey};
use crate::language::value::convert::{convert, unify};
use crate::language::value::{Data, Entries, Type, Value};

impl Scope<'_> {
    /// Evaluates an expression. What cannot be evaluated becomes an unknown value, and a diagnostic says why.
    pub(crate) fn evaluate(&self, expr: &Expr, diagnostics: &mut Diagnostics) -> Value {
        // A name alone takes nothing from the budget, and what it stands for was measured when it was made.
        match &expr.kind {
            ExprKind::Literal(value) => return value.clone(),
            ExprKind::Variable(name) => return self.evaluate_name(name, expr.span, diagnostics),
            _ => {}
        }
        let budget = &self.environment.budget;
        if !budget.spend(1) {
            Budget::complain(expr.span, diagnostics);
            return Value::unknown();
        }
        let value = self.evaluate_kind(expr, diagnostics);
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
        if value.weight() > MAX_WEIGHT || value.depth() > MAX_DEPTH {
            Budget::complain_of_size(expr.span, diagnostics);
            return Value::unknown();
        }
        if !budget.spend_weight(value.weight()) {
            Budget::complain(expr.span, diagnostics);
            return Value::unknown();
        }
        value
    }

    fn evaluate_kind(&self, expr: &Expr, diagnostics: &mut Diagnostics) -> Value {
        match &expr.kind {
            ExprKind::Literal(value) => value.clone(),
            ExprKind::Invalid => Value::unknown(),
            ExprKind::Template(parts) => self.template(parts, expr.span, diagnostics),
            ExprKind::Wrapped(inner) | ExprKind::Parens(inner) => self.evaluate(inner, diagnostics),
            ExprKind::Tuple(items) => Value::tuple(items.iter().map(|item| self.evaluate(item, diagnostics)).collect()),
            ExprKind::Object(items) => self.evaluate_object(items, diagnostics),
            ExprKind::Call { name, arguments, expand, arguments_span } => {
                self.call(name, arguments, *expand, *arguments_span, expr.span, diagnostics)
            }
            ExprKind::Variable(name) => self.evaluate_name(name, expr.span, diagnostics),
            ExprKind::Traversal { source, steps } => self.traversal(source, steps, diagnostics),
            ExprKind::Splat { source, each, marker } => self.splat(source, each, *marker, diagnostics),
            ExprKind::SplatItem => self.splat_item().cloned().unwrap_or_else(Value::unknown),
            ExprKind::For(inner) => self.for_expression(inner, expr.span, diagnostics),
            ExprKind::Conditional { condition, yes, no } => {
                self.evaluate_conditional(condition, yes, no, expr.span, diagnostics)
            }
            ExprKind::Unary { operator, operand } => self.unary(*operator, operand, expr.span, diagnostics),
            ExprKind::Binary { first, rest } => self.chain(first, rest, diagnostics),
        }
    }

    /// Evaluates an expression and converts the result, naming `what` when that fails.
    pub(crate) fn evaluate_as(
        &self,
        expr: &Expr,
        ty: &Type,
        what: &str,
        diagnostics: &mut Diagnostics,
    ) -> Option<Value> {
        let errors = diagnostics.len();
        let value = self.evaluate(expr, diagnostics);
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

    fn evaluate_name(&self, name: &Arc<str>, span: Span, diagnostics: &mut Diagnostics) -> Value {
        if let Some(value) = self.get(name) {
            return value.clone();
        }
        let names = self.all_names();
        let diagnostic = if names.is_empty() {
            Diagnostic::error("Variables not allowed", "References cannot be used here; only literal values can.")
        } else {
            Diagnostic::error("Unknown variable", format!("There is no variable named {name:?}."))
                .hint_maybe(did_you_mean(name, names).or_else(|| self.name_hint(name)))
        };
        diagnostics.push(diagnostic.at(span));
        Value::unknown()
    }

    /// Explains the most common wrong names: a forgotten prefix or forgotten quotes.
    fn name_hint(&self, name: &str) -> Option<String> {
        let has = |root: &str| {
            let entries = self.get(root)?.as_entries()?.clone();
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

    fn evaluate_object(&self, items: &[(ObjectKey, Expr)], diagnostics: &mut Diagnostics) -> Value {
        let mut entries = Entries::new();
        let mut known = true;
        let mut sensitive = false;
        for (key, value) in items {
            let evaluated = self.evaluate(value, diagnostics);
            let key = match key {
                ObjectKey::Name(name) => Value::string(&name.text),
                ObjectKey::Expr(key) => {
                    let Some(key) = self.object_key(key, diagnostics) else {
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
    fn object_key(&self, key: &Expr, diagnostics: &mut Diagnostics) -> Option<Value> {
        if let ExprKind::Traversal { source, .. } = &key.kind
            && matches!(source.kind, ExprKind::Variable(_))
        {
            let detail = "If this key is meant as a reference, put it in parentheses. If it is meant as a name that \
                          contains dots, put it in quotes.";
            diagnostics.push(Diagnostic::error("Ambiguous attribute key", detail).at(key.span));
            return None;
        }
        let errors = diagnostics.len();
        let value = self.evaluate(key, diagnostics);
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
        &self,
        condition: &Expr,
        yes: &Expr,
        no: &Expr,
        span: Span,
        diagnostics: &mut Diagnostics,
    ) -> Value {
        // Both results are evaluated for their types, but only problems of the chosen one count.
        let mut yes_diagnostics = Diagnostics::new();
        let mut no_diagnostics = Diagnostics::new();
        let yes_value = self.evaluate(yes, &mut yes_diagnostics);
        let no_value = self.evaluate(no, &mut no_diagnostics);
        let budget = &self.environment.budget;
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
                yes_value.ty(),
                no_value.ty()
            );
            let span = yes.span.to(no.span);
            diagnostics.push(Diagnostic::error("Inconsistent conditional result types", detail).at(span));
            return Value::unknown();
        };
        let Some(condition) = self.evaluate_condition(condition, diagnostics) else { return Value::unknown() };
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

    /// Evaluates the condition of `? :` or `%{if}` to a boolean or unknown; nothing after an error.
    pub(super) fn evaluate_condition(&self, condition: &Expr, diagnostics: &mut Diagnostics) -> Option<Value> {
        let errors = diagnostics.len();
        let value = self.evaluate(condition, diagnostics);
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
}
