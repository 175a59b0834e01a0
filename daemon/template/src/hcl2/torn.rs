//! Owns what is assumed of a template with syntax errors: names that a broken text may have declared are unknown, not
//! wrong, so that what is told of the rest are problems of their own.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::blocks::Root;
use crate::language::syntax::ast::{Block, Body, ExprKind, Step};

/// Names that expressions refer to.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) variables: BTreeSet<Arc<str>>,
    pub(super) locals: BTreeSet<Arc<str>>,
}

/// Returns the variables and local values that any expression refers to, where some may have been lost.
pub(super) fn names(root: &Root, bodies: &[Arc<Body>]) -> Names {
    let torn = |blocks: &[Arc<Block>]| root.torn || blocks.iter().any(|block| block.body.torn);
    let (variables, locals) = (torn(&root.variables), torn(&root.locals));
    let mut names = Names::default();
    if variables || locals {
        bodies.iter().for_each(|body| collect(body, &mut names));
    }
    if !variables {
        names.variables.clear();
    }
    if !locals {
        names.locals.clear();
    }
    names
}

fn collect(body: &Body, names: &mut Names) {
    for attribute in &body.attributes {
        attribute.value.walk(&mut |inner| {
            let ExprKind::Traversal { source, steps } = &inner.kind else { return };
            let name: Option<Arc<str>> = match steps.first() {
                Some(Step::Attribute(name)) => Some(name.text.clone()),
                Some(Step::Index { key, .. }) => key.literal_string().map(Arc::from),
                None => None,
            };
            match (source.keyword(), name) {
                (Some("var"), Some(name)) => _ = names.variables.insert(name),
                (Some("local"), Some(name)) => _ = names.locals.insert(name),
                _ => {}
            }
        });
    }
    body.blocks.iter().for_each(|block| collect(&block.body, names));
}
