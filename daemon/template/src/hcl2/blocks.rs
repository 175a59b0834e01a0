//! Owns the root of a template: which blocks there are, and whether each has the right labels.

use std::sync::Arc;

use super::registry::{check_bucket, without_effect};
use crate::diagnostics::source_map::Span;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::shape::{expect_labels, unsupported_block};
use crate::language::syntax::ast::{Block, Body};

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
    /// Whether a syntax error may have swallowed some of them.
    pub(super) torn: bool,
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
                "hcp_packer_registry" => {
                    let name =
                        block.body.attribute("bucket_name").and_then(|attribute| attribute.value.literal_string());
                    if let Some(name) = name {
                        check_bucket(&name, &block.body, diagnostics);
                    }
                    diagnostics.push(without_effect(block));
                    continue;
                }
                _ => continue,
            };
            into.push(Arc::new(block.clone()));
        }
    }
    root
}

/// Returns what is said of a second definition.
pub(super) fn declared_twice(kind: &str, name: &str, first: Span, again: Span) -> Diagnostic {
    let detail = format!("There is already a {kind} named {name:?}; each name can be defined only once.");
    Diagnostic::error(format!("Duplicate {kind}"), detail).at(again).related(first, "first defined here")
}
