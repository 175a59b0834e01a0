//! Owns the checks of a body's shape: labels of blocks, names of arguments.

use super::syntax::ast::{Block, Body};
use crate::diagnostics::suggest::did_you_mean;
use crate::diagnostics::{Diagnostic, Diagnostics};

/// Explains a block that is not expected.
pub(crate) fn unsupported_block(block: &Block, known: &[&str]) -> Diagnostic {
    let kind = &*block.kind.text;
    Diagnostic::error("Unsupported block type", format!("Blocks of type {kind:?} are not expected here."))
        .at(block.kind.span)
        .hint_maybe(did_you_mean(kind, known.iter().copied()))
}

/// Explains an argument that is not expected.
pub(crate) fn unsupported_argument<'a>(
    name: &crate::language::syntax::ast::Name,
    known: impl IntoIterator<Item = &'a str>,
) -> Diagnostic {
    let text = &*name.text;
    Diagnostic::error("Unsupported argument", format!("An argument named {text:?} is not expected here."))
        .at(name.span)
        .hint_maybe(did_you_mean(text, known))
}

/// Checks the labels of a block; `names` says what each is.
pub(crate) fn expect_labels(block: &Block, names: &[&str], diagnostics: &mut Diagnostics) -> bool {
    let kind = &*block.kind.text;
    let expected = || match names {
        [] => "no labels".to_owned(),
        [one] => format!("one label, the {one}"),
        names => format!("{} labels: {}", names.len(), names.join(" and ")),
    };
    if block.labels.len() < names.len() {
        let missing = names[block.labels.len()];
        let detail = format!("A {kind} block has {}; the {missing} is missing.", expected());
        diagnostics.push(Diagnostic::error(format!("Missing {missing} for {kind}"), detail).at(block.header));
        return false;
    }
    if let Some(extra) = block.labels.get(names.len()) {
        let detail = format!("A {kind} block has {}.", expected());
        diagnostics.push(Diagnostic::error(format!("Extraneous label for {kind}"), detail).at(extra.span));
        return false;
    }
    if let Some(bad) = block.labels.iter().find(|label| !is_identifier(&label.text)) {
        let detail = format!(
            "The label {:?} is not a valid name: it must begin with a letter or underscore and may hold only letters, \
             digits, underscores and dashes.",
            bad.text
        );
        diagnostics.push(Diagnostic::error(format!("Invalid {kind} name"), detail).at(bad.span));
        return false;
    }
    true
}

/// Reports whether a text could be written as a bare name.
pub(crate) fn is_identifier(text: &str) -> bool {
    text.starts_with(crate::language::syntax::lexer::starts_identifier)
        && text.chars().all(crate::language::syntax::lexer::continues_identifier)
}

/// Complains about every argument and block that is not named.
pub(crate) fn expect_only(body: &Body, attributes: &[&str], blocks: &[&str], diagnostics: &mut Diagnostics) {
    for attribute in &body.attributes {
        let name = &*attribute.name.text;
        if attributes.contains(&name) {
            continue;
        }
        let diagnostic = if blocks.contains(&name) {
            let detail = format!("An argument named {name:?} is not expected here.");
            Diagnostic::error("Unsupported argument", detail)
                .at(attribute.name.span)
                .hint(format!("{name} is a block: write it without the equals sign"))
        } else {
            unsupported_argument(&attribute.name, attributes.iter().copied())
        };
        diagnostics.push(diagnostic);
    }
    for block in &body.blocks {
        let kind = &*block.kind.text;
        if blocks.contains(&kind) {
            continue;
        }
        let diagnostic = if attributes.contains(&kind) {
            let detail = format!("Blocks of type {kind:?} are not expected here.");
            Diagnostic::error("Unsupported block type", detail)
                .at(block.kind.span)
                .hint(format!("{kind} is an argument: give it its value with an equals sign"))
        } else {
            unsupported_block(block, blocks)
        };
        diagnostics.push(diagnostic);
    }
}
