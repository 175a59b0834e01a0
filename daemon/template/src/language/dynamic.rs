//! Owns `dynamic` blocks: one block in the template, many (or none) in effect.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::eval::Scope;
use super::shape::{expect_labels, expect_only};
use super::syntax::ast::{Block, Body, Name};
use super::value::{Type, Value};
use crate::diagnostics::{Diagnostic, Diagnostics};

/// Blocks that one `dynamic` block may become.
const MAX_BLOCKS: usize = 10_000;

/// A block in effect, with the iteration values its content can refer to.
#[derive(Debug, Clone)]
pub(crate) struct Expanded {
    pub(crate) block: Arc<Block>,
    pub(crate) names: BTreeMap<Arc<str>, Value>,
}

/// Returns the blocks of a body with all `dynamic` ones expanded, in order.
pub(crate) fn expand(
    body: &Body,
    names: &BTreeMap<Arc<str>, Value>,
    scope: &Scope<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<Expanded> {
    let mut expanded = Vec::new();
    for block in &body.blocks {
        if &*block.kind.text == "dynamic" {
            expand_one(block, names, scope, &mut expanded, diagnostics);
        } else {
            expanded.push(Expanded { block: Arc::new(block.clone()), names: names.clone() });
        }
    }
    expanded
}

fn expand_one(
    block: &Block,
    outer: &BTreeMap<Arc<str>, Value>,
    scope: &Scope<'_>,
    expanded: &mut Vec<Expanded>,
    diagnostics: &mut Diagnostics,
) {
    if block.labels.len() != 1 {
        expect_labels(block, &["block type"], diagnostics);
        return;
    }
    let body = &block.body;
    expect_only(body, &["for_each", "iterator", "labels"], &["content"], diagnostics);
    let missing = |what: &str, detail: &str| Diagnostic::error(format!("Missing {what}"), detail).at(block.header);
    let Some(for_each) = body.attribute("for_each") else {
        return diagnostics
            .push(missing("for_each", "A dynamic block needs a for_each argument with what to go through."));
    };
    let contents: Vec<&Block> = body.blocks_of("content").collect();
    let [content] = contents.as_slice() else {
        return diagnostics.push(missing("content", "A dynamic block needs exactly one content block."));
    };
    let kind = block.labels[0].clone();
    let iterator = match body.attribute("iterator").map(|attribute| (attribute.value.keyword(), attribute.value.span)) {
        None => kind.text.clone(),
        Some((Some(name), _)) => name.into(),
        Some((None, span)) => {
            let detail = "The iterator of a dynamic block must be a bare name.";
            return diagnostics.push(Diagnostic::error("Invalid iterator name", detail).at(span));
        }
    };
    let errors = diagnostics.len();
    let collection = scope.evaluate(&for_each.value, diagnostics);
    if diagnostics.len() > errors || collection.is_unknown() {
        return;
    }
    if collection.is_null() || !collection.can_iterate() {
        let detail = format!("Cannot use a value of type {} in for_each. A collection is required.", collection.ty());
        return diagnostics.push(Diagnostic::error("Invalid dynamic for_each value", detail).at(for_each.value.span));
    }
    for (key, value) in collection.pairs() {
        if expanded.len() >= MAX_BLOCKS {
            let detail = format!("More than {MAX_BLOCKS} blocks would come of this.");
            return diagnostics.push(Diagnostic::error("Too many blocks", detail).at(for_each.value.span));
        }
        let each: BTreeMap<Arc<str>, Value> = [("key".into(), key), ("value".into(), value)].into_iter().collect();
        let mut names = outer.clone();
        names.insert(iterator.clone(), Value::object(each));
        let inner = scope.child(names.clone());
        let labels = match body.attribute("labels") {
            None => Vec::new(),
            Some(attribute) => {
                let wanted = Type::list(Type::String);
                let Some(labels) = inner.evaluate_as(&attribute.value, &wanted, "attribute \"labels\"", diagnostics)
                else {
                    return;
                };
                let texts = labels.as_elements().map(|elements| elements.to_vec()).unwrap_or_default();
                texts
                    .iter()
                    .filter_map(|text| Some(Name { text: text.as_str()?.into(), span: attribute.value.span }))
                    .collect()
            }
        };
        let made =
            Block { kind: kind.clone(), labels, body: content.body.clone(), header: block.header, span: block.span };
        expanded.push(Expanded { block: Arc::new(made), names });
    }
}
