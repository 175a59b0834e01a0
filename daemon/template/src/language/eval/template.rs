//! Owns the evaluation of templates to strings.

use super::iteration::pairs_of;
use super::scope::Scope;
use crate::diagnostics::source_map::Span;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::budget::Budget;
use crate::language::syntax::ast::{Expr, Part};
use crate::language::value::convert::convert;
use crate::language::value::{Type, Value};

/// Bytes a template may grow to: 64 MiB. Nested `for` directives could otherwise fill the memory.
const MAX_LENGTH: usize = 64 << 20;

/// Text that is being put together.
struct Output {
    text: String,
    known: bool,
    sensitive: bool,
    too_long: bool,
}

impl Scope<'_> {
    /// Evaluates a template to a string.
    pub(super) fn template(&self, parts: &[Part], span: Span, diagnostics: &mut Diagnostics) -> Value {
        if let [Part::Text(text)] = parts {
            return Value::string(text);
        }
        let mut output = Output { text: String::new(), known: true, sensitive: false, too_long: false };
        self.append(parts, &mut output, diagnostics);
        if output.too_long {
            diagnostics.push(Diagnostic::error("Template too long", "The result is larger than 64 MiB.").at(span));
            return Value::unknown_of(Type::String);
        }
        let value = if output.known { Value::string(&output.text) } else { Value::unknown_of(Type::String) };
        value.marked(output.sensitive)
    }

    fn append(&self, parts: &[Part], output: &mut Output, diagnostics: &mut Diagnostics) {
        for part in parts {
            if output.text.len() > MAX_LENGTH {
                output.too_long = true;
                return;
            }
            match part {
                Part::Text(text) => output.text.push_str(text),
                Part::Interpolation(expr) => self.interpolate(expr, output, diagnostics),
                Part::If { condition, yes, no, .. } => match self.evaluate_condition(condition, diagnostics) {
                    None => output.known = false,
                    Some(value) => {
                        output.sensitive |= value.is_sensitive();
                        match value.as_bool() {
                            Some(true) => self.append(yes, output, diagnostics),
                            Some(false) => self.append(no, output, diagnostics),
                            None => output.known = false,
                        }
                    }
                },
                Part::For { key_name, value_name, collection, body, .. } => {
                    let value = self.evaluate(collection, diagnostics);
                    let Some(pairs) = pairs_of(&value, collection.span, diagnostics) else {
                        output.known = false;
                        continue;
                    };
                    output.sensitive |= value.is_sensitive();
                    for (key, element) in pairs {
                        if !self.environment.budget.spend(1) {
                            Budget::complain(collection.span, diagnostics);
                            output.known = false;
                            return;
                        }
                        let key = key_name.iter().map(|name| (name.text.clone(), key.clone()));
                        let inner = self.child(key.chain([(value_name.text.clone(), element)]));
                        inner.append(body, output, diagnostics);
                        if output.too_long {
                            return;
                        }
                    }
                }
            }
        }
    }

    fn interpolate(&self, expr: &Expr, output: &mut Output, diagnostics: &mut Diagnostics) {
        let errors = diagnostics.len();
        let value = self.evaluate(expr, diagnostics);
        if value.is_null() {
            let detail = "The expression result is null. A null value cannot be included in a string template.";
            diagnostics.push(Diagnostic::error("Invalid template interpolation value", detail).at(expr.span));
            output.known = false;
            return;
        }
        match convert(&value, &Type::String) {
            Ok(value) => {
                output.sensitive |= value.is_sensitive();
                match value.as_str() {
                    Some(text) => output.text.push_str(text),
                    None => output.known = false,
                }
            }
            Err(error) => {
                output.known = false;
                if diagnostics.len() == errors {
                    let detail =
                        format!("A value of type {} cannot be included in a string template: {error}.", value.ty());
                    let diagnostic = Diagnostic::error("Invalid template interpolation value", detail);
                    let hint = "jsonencode(VALUE) or join(\", \", VALUE) make a string of it";
                    diagnostics.push(diagnostic.at(expr.span).hint(hint));
                }
            }
        }
    }
}
