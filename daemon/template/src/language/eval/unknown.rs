//! Owns which functions there are, and what is said of those that cannot be called.

use super::forms::{LAZY, TEMPLATE_FILE};
use super::scope::FunctionSet;
use crate::diagnostics::Diagnostic;
use crate::diagnostics::suggest::did_you_mean;
use crate::language::functions;
use crate::language::syntax::ast::Name;

/// Functions of Terraform that people expect, and what Packer has in their place.
const ELSEWHERE: &[(&str, &str)] = &[
    ("tostring", "write convert(VALUE, string)"),
    ("tonumber", "write convert(VALUE, number)"),
    ("tobool", "write convert(VALUE, bool)"),
    ("tolist", "write convert(VALUE, list(TYPE))"),
    ("toset", "write convert(VALUE, set(TYPE))"),
    ("tomap", "write convert(VALUE, map(TYPE))"),
    ("uuid", "write uuidv4()"),
    ("filesha256", "write sha256(file(PATH))"),
    ("filemd5", "write md5(file(PATH))"),
    ("plantimestamp", "write timestamp()"),
    ("isotime", "write legacy_isotime(LAYOUT) or formatdate(FORMAT, timestamp())"),
    ("strftime", "write legacy_strftime(FORMAT)"),
    ("regexreplace", "write regex_replace(STRING, PATTERN, REPLACEMENT)"),
    ("sensitive", "mark the variable or local value as sensitive"),
];

/// Reports whether there is a function of this name, wherever it may be called.
pub(super) fn exists(name: &str) -> bool {
    functions::find(name).is_some() || LAZY.contains(&name) || name == TEMPLATE_FILE.name
}

/// Explains a call of a function that is not there, or not here.
pub(super) fn explain(name: &Name, set: FunctionSet) -> Diagnostic {
    let text = &*name.text;
    match set {
        FunctionSet::None => {
            return Diagnostic::error("Function calls not allowed", "Functions may not be called here.").at(name.span);
        }
        FunctionSet::Environment if exists(text) => {
            return Diagnostic::error(
                "Function not allowed",
                format!("The default of a variable can call only env(), not {text:?}."),
            )
            .at(name.span)
            .hint("compute the value in a locals block");
        }
        FunctionSet::All | FunctionSet::InsideTemplate if text == "env" => {
            return Diagnostic::error(
                "Call to unknown function",
                "env() can be called only in the default of a variable.",
            )
            .at(name.span)
            .hint("declare a variable with default = env(\"NAME\") and use var.…");
        }
        FunctionSet::InsideTemplate if text == "templatefile" => {
            return Diagnostic::error(
                "Call to unknown function",
                "templatefile() cannot be called inside of a template file.",
            )
            .at(name.span);
        }
        _ => {}
    }
    let mut names: Vec<&str> = functions::names().chain(LAZY.iter().copied()).chain([TEMPLATE_FILE.name]).collect();
    names.sort_unstable();
    let elsewhere = ELSEWHERE.iter().find(|(other, _)| *other == text).map(|(_, hint)| (*hint).to_owned());
    let hint = elsewhere.or_else(|| did_you_mean(text, names));
    Diagnostic::error("Call to unknown function", format!("There is no function named {text:?}."))
        .at(name.span)
        .hint_maybe(hint)
}
