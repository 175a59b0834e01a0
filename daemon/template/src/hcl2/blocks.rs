//! Owns the root of a template: which blocks there are, and whether each has the right labels.

use std::sync::Arc;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::source_map::Span;
use crate::suggest::did_you_mean;
use crate::syntax::ast::{Block, Body};

/// The root blocks of all files by kind, in order.
#[derive(Default)]
pub(super) struct Root {
    pub(super) variable: Vec<Arc<Block>>,
    pub(super) variables: Vec<Arc<Block>>,
    pub(super) local: Vec<Arc<Block>>,
    pub(super) locals: Vec<Arc<Block>>,
    pub(super) source: Vec<Arc<Block>>,
    pub(super) data: Vec<Arc<Block>>,
    pub(super) build: Vec<Arc<Block>>,
}

const KINDS: &[&str] = &[
    "build",
    "communicator",
    "data",
    "hcp_packer_registry",
    "local",
    "locals",
    "packer",
    "source",
    "variable",
    "variables",
];

/// Sorts the root blocks.
pub(super) fn collect(bodies: &[Arc<Body>], diagnostics: &mut Diagnostics) -> Root {
    let mut root = Root::default();
    for body in bodies {
        // A block that a stray brace has closed too early spills its arguments here; the brace is what is wrong.
        let spilled = body.attributes.first().is_some_and(|attribute| {
            let here = |subject: Span| subject.file == attribute.name.span.file;
            diagnostics.iter().any(|told| told.is_error() && told.subject.is_some_and(here))
        });
        for attribute in body.attributes.iter().filter(|_| !spilled) {
            let detail =
                format!("An argument named {:?} is not expected here, outside of all blocks.", attribute.name.text);
            diagnostics.push(
                Diagnostic::error("Unsupported argument", detail)
                    .at(attribute.name.span)
                    .hint(format!("values belong into a block: locals {{ {} = … }}", attribute.name.text)),
            );
        }
        for block in &body.blocks {
            let labels: &[&str] = match &*block.kind.text {
                "variable" | "local" => &["name"],
                "source" | "data" | "communicator" => &["type", "name"],
                _ => &[],
            };
            if !KINDS.contains(&&*block.kind.text) {
                diagnostics.push(unsupported_block(block, KINDS));
                continue;
            }
            if !expect_labels(block, labels, diagnostics) {
                continue;
            }
            let into = match &*block.kind.text {
                "variable" => &mut root.variable,
                "variables" => &mut root.variables,
                "local" => &mut root.local,
                "locals" => &mut root.locals,
                "source" => &mut root.source,
                "data" => &mut root.data,
                "build" => &mut root.build,
                _ => continue,
            };
            into.push(Arc::new(block.clone()));
        }
    }
    root
}

/// Explains a block that is not expected.
pub(super) fn unsupported_block(block: &Block, known: &[&str]) -> Diagnostic {
    let kind = &*block.kind.text;
    Diagnostic::error("Unsupported block type", format!("Blocks of type {kind:?} are not expected here."))
        .at(block.kind.span)
        .hint_maybe(did_you_mean(kind, known.iter().copied()))
}

/// Explains an argument that is not expected.
pub(super) fn unsupported_argument<'a>(
    name: &crate::syntax::ast::Name,
    known: impl IntoIterator<Item = &'a str>,
) -> Diagnostic {
    let text = &*name.text;
    Diagnostic::error("Unsupported argument", format!("An argument named {text:?} is not expected here."))
        .at(name.span)
        .hint_maybe(did_you_mean(text, known))
}

/// Checks the labels of a block; `names` says what each is.
pub(super) fn expect_labels(block: &Block, names: &[&str], diagnostics: &mut Diagnostics) -> bool {
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
    text.starts_with(crate::syntax::lexer::starts_identifier)
        && text.chars().all(crate::syntax::lexer::continues_identifier)
}

/// Complains about every argument and block that is not named.
pub(super) fn expect_only(body: &Body, attributes: &[&str], blocks: &[&str], diagnostics: &mut Diagnostics) {
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
