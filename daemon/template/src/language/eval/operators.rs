//! Owns prefix and infix operators.

use super::scope::Scope;
use crate::diagnostics::source_map::Span;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::budget::Budget;
use crate::language::syntax::ast::{BinaryOperator as B, Expr, UnaryOperator};
use crate::language::value::convert::convert;
use crate::language::value::{Data, NumberError, Type, Value};

impl Scope<'_> {
    /// Evaluates `-x` or `!x`.
    pub(super) fn unary(
        &self,
        operator: UnaryOperator,
        operand: &Expr,
        span: Span,
        diagnostics: &mut Diagnostics,
    ) -> Value {
        let value = self.evaluate(operand, diagnostics);
        let wanted = if operator == UnaryOperator::Negate { Type::Number } else { Type::Bool };
        let Some(value) =
            operand_as(&value, &wanted, "Unsuitable value for unary operand: ", operand.span, span, diagnostics)
        else {
            return Value::unknown_of(wanted);
        };
        match value.data() {
            Data::Number(number) => Value::from(number.negate()).marked(value.is_sensitive()),
            Data::Bool(truth) => Value::from(!truth).marked(value.is_sensitive()),
            _ => Value::unknown_of(wanted).marked(value.is_sensitive()),
        }
    }

    /// Evaluates operators of one precedence from left to right.
    pub(super) fn chain(&self, first: &Expr, rest: &[(B, Expr)], diagnostics: &mut Diagnostics) -> Value {
        let mut left = self.evaluate(first, diagnostics);
        let mut left_span = first.span;
        for (operator, operand) in rest {
            let right = self.evaluate(operand, diagnostics);
            let span = left_span.to(operand.span);
            let budget = &self.environment.budget;
            if !budget.spend_weight(left.weight()) || !budget.spend_weight(right.weight()) {
                Budget::complain(span, diagnostics);
                return Value::unknown();
            }
            left = binary(*operator, (&left, left_span), (&right, operand.span), span, diagnostics);
            left_span = span;
        }
        left
    }
}

fn binary(
    operator: B,
    (left, left_span): (&Value, Span),
    (right, right_span): (&Value, Span),
    span: Span,
    diagnostics: &mut Diagnostics,
) -> Value {
    let sensitive = left.is_sensitive_within() || right.is_sensitive_within();
    if matches!(operator, B::Equal | B::NotEqual) {
        let answer = match left.equals(right) {
            Some(equal) => (equal == (operator == B::Equal)).into(),
            None => Value::unknown_of(Type::Bool),
        };
        return answer.marked(sensitive);
    }
    let (wanted, result) = match operator {
        B::Or | B::And => (Type::Bool, Type::Bool),
        B::Less | B::LessEqual | B::Greater | B::GreaterEqual => (Type::Number, Type::Bool),
        _ => (Type::Number, Type::Number),
    };
    let left = operand_as(left, &wanted, "Unsuitable value for left operand: ", left_span, span, diagnostics);
    let right = operand_as(right, &wanted, "Unsuitable value for right operand: ", right_span, span, diagnostics);
    let (Some(left), Some(right)) = (left, right) else { return Value::unknown_of(result) };
    match compute(operator, &left, &right) {
        Ok(Some(value)) => value.marked(sensitive),
        Ok(None) => Value::unknown_of(result).marked(sensitive),
        Err(error) => {
            let (summary, detail) = match error {
                NumberError::DivisionByZero => ("Division by zero", "The right operand is zero.".to_owned()),
                NumberError::TooLarge | NumberError::Undefined(_) => {
                    ("Operation failed", format!("Error during operation: {error}."))
                }
            };
            diagnostics.push(Diagnostic::error(summary, detail).at(right_span).within(span));
            Value::unknown_of(result)
        }
    }
}

/// Computes an operation on converted operands; nothing when an operand is unknown.
fn compute(operator: B, left: &Value, right: &Value) -> Result<Option<Value>, NumberError> {
    if let (Some(left), Some(right)) = (left.as_bool(), right.as_bool()) {
        let value = if operator == B::Or { left || right } else { left && right };
        return Ok(Some(value.into()));
    }
    let (Some(left), Some(right)) = (left.as_number(), right.as_number()) else { return Ok(None) };
    Ok(Some(match operator {
        B::Less => (left < right).into(),
        B::LessEqual => (left <= right).into(),
        B::Greater => (left > right).into(),
        B::GreaterEqual => (left >= right).into(),
        B::Add => left.add(right)?.into(),
        B::Subtract => left.subtract(right)?.into(),
        B::Multiply => left.multiply(right)?.into(),
        B::Divide => left.divide(right)?.into(),
        B::Modulo => left.modulo(right)?.into(),
        B::Or | B::And | B::Equal | B::NotEqual => return Ok(None),
    }))
}

fn operand_as(
    value: &Value,
    wanted: &Type,
    prefix: &str,
    operand: Span,
    operation: Span,
    diagnostics: &mut Diagnostics,
) -> Option<Value> {
    let problem = match convert(value, wanted) {
        Ok(value) if value.is_null() => "argument must not be null".to_owned(),
        Ok(value) => return Some(value),
        Err(error) => error.to_string(),
    };
    let detail = format!("{prefix}{problem}.");
    diagnostics.push(Diagnostic::error("Invalid operand", detail).at(operand).within(operation));
    None
}
