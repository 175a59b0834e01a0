//! Owns which sources a build block builds: those of its `sources` and its own `source` blocks.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::blocks::Root;
use crate::diagnostics::source_map::Span;
use crate::diagnostics::suggest::did_you_mean;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::dynamic::Expanded;
use crate::language::eval::Scope;
use crate::language::syntax::ast::{Block, Expr, ExprKind};
use crate::language::value::{Type, Value};

/// One use of a source in a build block.
pub(super) struct Use {
    pub(super) kind: Arc<str>,
    /// The label of the source.
    pub(super) name: Arc<str>,
    pub(super) alias: Option<Arc<str>>,
    pub(super) root: Arc<Block>,
    /// The `source` block inside the build block, if it is used that way.
    pub(super) nested: Option<Expanded>,
}

impl Use {
    /// What stands in the place of a source where a build block names none that is there.
    pub(super) fn nowhere(block: &Arc<Block>) -> Self {
        Self { kind: "".into(), name: "".into(), alias: None, root: block.clone(), nested: None }
    }

    /// Reports whether there is no such source.
    pub(super) fn is_nowhere(&self) -> bool {
        self.kind.is_empty()
    }

    /// Returns what the build block calls it.
    pub(super) fn label(&self) -> &Arc<str> {
        self.alias.as_ref().unwrap_or(&self.name)
    }

    /// Returns `TYPE.NAME`, as the build block calls it.
    pub(super) fn short(&self) -> String {
        format!("{}.{}", self.kind, self.label())
    }
}

/// All `source` blocks by type and name.
#[derive(Default)]
pub(super) struct Sources {
    known: BTreeMap<(Arc<str>, Arc<str>), Arc<Block>>,
    /// Whether a syntax error may have swallowed some of them.
    torn: bool,
}

/// Collects the `source` blocks and complains about duplicates.
pub(super) fn sources(root: &Root, diagnostics: &mut Diagnostics) -> Sources {
    let mut known = Sources { torn: root.torn, ..Sources::default() };
    for block in &root.source {
        let [kind, name] = block.labels.as_slice() else { continue };
        if let Some(first) = known.known.insert((kind.text.clone(), name.text.clone()), block.clone()) {
            let detail = format!("There is already a source {}.{}.", kind.text, name.text);
            let diagnostic = Diagnostic::error("Duplicate source block", detail).at(block.header);
            diagnostics.push(diagnostic.related(first.header, "first defined here"));
        }
    }
    known
}

/// Finds what a build block builds: its `sources` and its `source` blocks.
pub(super) fn uses(
    block: &Block,
    blocks: &[Expanded],
    known: &Sources,
    scope: &Scope<'_>,
    diagnostics: &mut Diagnostics,
) -> Vec<Use> {
    let mut uses = Vec::new();
    if let Some(attribute) = block.body.attribute("sources") {
        let wanted = Type::list(Type::String);
        let value = scope.evaluate_as(&attribute.value, &wanted, "attribute \"sources\"", diagnostics);
        let items: &[Expr] = match &attribute.value.kind {
            ExprKind::Tuple(items) => items,
            _ => &[],
        };
        let elements = value.iter().filter_map(Value::as_elements).flat_map(|elements| elements.iter());
        for (index, reference) in elements.enumerate() {
            let Some(text) = reference.as_str() else { continue };
            let span = items.get(index).map_or(attribute.value.span, |item| item.span);
            if let Some((kind, name, root)) = find_source(text, known, span, diagnostics) {
                uses.push(Use { kind, name, alias: None, root, nested: None });
            }
        }
    }
    for expanded in blocks.iter().filter(|expanded| &*expanded.block.kind.text == "source") {
        let block = &expanded.block;
        let Some(label) = block.labels.first().filter(|_| block.labels.len() == 1) else {
            let detail = "A source block inside a build block has one label: \"source.TYPE.NAME\".";
            diagnostics.push(Diagnostic::error("Invalid source reference", detail).at(block.header));
            continue;
        };
        let Some((kind, name, root)) = find_source(&label.text, known, label.span, diagnostics) else { continue };
        let alias = block.body.attribute("name").and_then(|attribute| {
            if !is_literal(&attribute.value, &expanded.names) {
                let detail = "The name of a source inside a build block must be literal: variables and functions may not be \
                              used, except the key and the value of a dynamic block around it.";
                diagnostics.push(Diagnostic::error("Variables not allowed", detail).at(attribute.value.span));
                return None;
            }
            let inner = scope.child(expanded.names.clone());
            let value = inner.evaluate_as(&attribute.value, &Type::String, "attribute \"name\"", diagnostics)?;
            if value.is_null() {
                let detail = "The name of a source inside a build block must not be null; leave it out to keep the source's own.";
                diagnostics.push(Diagnostic::error("Unsuitable value", detail).at(attribute.value.span));
            }
            value.as_str().map(Arc::from)
        });
        uses.push(Use { kind, name, alias, root, nested: Some(expanded.clone()) });
    }
    uses
}

/// Reports whether an expression uses nothing of the template but what `dynamic` brings along.
fn is_literal(expr: &Expr, iterators: &BTreeMap<Arc<str>, Value>) -> bool {
    const ROOTS: &[&str] = &["var", "local", "data", "source", "build", "path", "packer"];
    let mut literal = true;
    expr.walk(&mut |inner| match &inner.kind {
        ExprKind::Variable(name) => literal &= iterators.contains_key(name) || !ROOTS.contains(&&**name),
        ExprKind::Call { .. } => literal = false,
        _ => {}
    });
    literal
}

fn find_source(
    text: &str,
    known: &Sources,
    span: Span,
    diagnostics: &mut Diagnostics,
) -> Option<(Arc<str>, Arc<str>, Arc<Block>)> {
    // With more than two parts the first is only a word, usually "source".
    let parts: Vec<&str> = text.split('.').collect();
    let (kind, name) = match parts.as_slice() {
        [kind, name] | [_, kind, name, ..] => (*kind, *name),
        _ => ("", ""),
    };
    if kind.is_empty() || name.is_empty() {
        let detail = format!("A source reference has a type and a name, such as \"source.qemu.web\", not {text:?}.");
        diagnostics.push(Diagnostic::error("Invalid source reference", detail).at(span));
        return None;
    };
    let key = (Arc::from(kind), Arc::from(name));
    if let Some(block) = known.known.get(&key) {
        return Some((key.0, key.1, block.clone()));
    }
    if known.torn {
        return None;
    }
    let plain = format!("{kind}.{name}");
    let names: Vec<String> = known.known.keys().map(|(kind, name)| format!("{kind}.{name}")).collect();
    let detail = if names.is_empty() {
        format!("There is no source {plain:?}; the template declares none.")
    } else {
        format!("There is no source {plain:?}. Known: {}.", names.join(", "))
    };
    let hint = did_you_mean(&plain, names.iter().map(String::as_str));
    diagnostics.push(Diagnostic::error(format!("Unknown source {plain}"), detail).at(span).hint_maybe(hint));
    None
}
