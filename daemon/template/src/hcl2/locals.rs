//! Owns local values and data sources: each is evaluated after everything it refers to.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use super::blocks::{Root, declared_twice};
use super::data_sources::evaluate_data;
use super::variables::literal_bool;
use crate::diagnostics::source_map::Span;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::environment::Environment;
use crate::language::eval::FunctionSet;
use crate::language::eval::Scope;
use crate::language::shape::{expect_only, unsupported_block};
use crate::language::syntax::ast::{Block, Expr, ExprKind, Step};
use crate::language::value::{Namespace, Value};

/// Names of a circle that are shown.
const MAX_CIRCLE: usize = 12;

/// What a name is made of.
enum Definition<'a> {
    Local { expr: &'a Expr, sensitive: bool },
    Data { block: &'a Block },
}

/// A name, its place and its definition.
struct Item<'a> {
    span: Span,
    definition: Definition<'a>,
    state: State,
}

#[derive(PartialEq, Clone, Copy)]
enum State {
    Waiting,
    Open,
    Done,
}

/// `local.NAME` or `data.TYPE.NAME`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Local(Arc<str>),
    Data(Arc<str>, Arc<str>),
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Local(name) => write!(f, "local.{name}"),
            Self::Data(kind, name) => write!(f, "data.{kind}.{name}"),
        }
    }
}

/// Evaluates all local values; data sources are put into `names`. Those that are `lost` may have been declared in a text
/// that cannot be read.
pub(super) fn resolve(
    root: &Root,
    lost: &BTreeSet<Arc<str>>,
    environment: &Environment,
    names: &mut BTreeMap<Arc<str>, Value>,
    diagnostics: &mut Diagnostics,
) -> Value {
    let items = collect(root, environment, names, diagnostics);
    let order: Vec<Key> = items.keys().cloned().collect();
    let mut resolver =
        Resolver { items, environment, names, locals: Namespace::default(), data: BTreeMap::new(), torn: root.torn };
    for name in lost {
        resolver.locals.insert(name.clone(), Value::unknown());
    }
    // All names are there from the beginning, so that those that are not can be told from those that come later.
    for key in &order {
        resolver.set(key, Value::unknown());
    }
    for key in &order {
        resolver.visit(key, diagnostics);
    }
    let (locals, data) = (resolver.locals.value(), resolver.data_object());
    if !root.data.is_empty() || root.torn {
        names.insert("data".into(), data);
    }
    locals
}

fn collect<'a>(
    root: &'a Root,
    environment: &Environment,
    names: &BTreeMap<Arc<str>, Value>,
    diagnostics: &mut Diagnostics,
) -> BTreeMap<Key, Item<'a>> {
    let mut items = BTreeMap::new();
    let mut add = |key: Key, span, definition, diagnostics: &mut Diagnostics| {
        let kind = if matches!(key, Key::Local(_)) { "local value" } else { "data source" };
        match items.entry(key) {
            Entry::Occupied(known) => {
                let first: &Item<'_> = known.get();
                diagnostics.push(declared_twice(kind, &known.key().to_string(), first.span, span));
            }
            Entry::Vacant(place) => _ = place.insert(Item { span, definition, state: State::Waiting }),
        }
    };
    for block in &root.locals {
        for nested in &block.body.blocks {
            diagnostics.push(unsupported_block(nested, &[]));
        }
        for attribute in &block.body.attributes {
            let definition = Definition::Local { expr: &attribute.value, sensitive: false };
            add(Key::Local(attribute.name.text.clone()), attribute.name.span, definition, diagnostics);
        }
    }
    let scope = Scope::new(environment, FunctionSet::All, names.clone());
    for block in &root.local {
        expect_only(&block.body, &["expression", "sensitive"], &[], diagnostics);
        let Some(label) = block.labels.first() else { continue };
        let Some(expression) = block.body.attribute("expression") else {
            let detail = "The argument \"expression\" is required, but no definition was found.";
            diagnostics.push(Diagnostic::error("Missing required argument", detail).at(block.header));
            continue;
        };
        let sensitive = literal_bool(block.body.attribute("sensitive"), &scope, diagnostics);
        let definition = Definition::Local { expr: &expression.value, sensitive };
        add(Key::Local(label.text.clone()), label.span, definition, diagnostics);
    }
    for block in &root.data {
        if let [kind, name] = block.labels.as_slice() {
            let key = Key::Data(kind.text.clone(), name.text.clone());
            add(key, block.header, Definition::Data { block }, diagnostics);
        }
    }
    items
}

struct Resolver<'a> {
    items: BTreeMap<Key, Item<'a>>,
    environment: &'a Environment,
    names: &'a BTreeMap<Arc<str>, Value>,
    locals: Namespace,
    data: BTreeMap<Arc<str>, Namespace>,
    /// Whether a syntax error may have swallowed data sources.
    torn: bool,
}

/// A name that is being resolved, and what of its needs has not been looked at.
type Frame = (Key, std::vec::IntoIter<Key>);

impl Resolver<'_> {
    /// Evaluates a name after all it needs. The walk is by hand: a chain of names can be longer than the stack is deep.
    fn visit(&mut self, key: &Key, diagnostics: &mut Diagnostics) {
        let mut frames: Vec<Frame> = Vec::new();
        self.open(key.clone(), &mut frames, diagnostics);
        while let Some((_, needed)) = frames.last_mut() {
            if let Some(other) = needed.next() {
                self.open(other, &mut frames, diagnostics);
            } else if let Some((key, _)) = frames.pop() {
                self.finish(key, diagnostics);
            }
        }
    }

    fn open(&mut self, key: Key, frames: &mut Vec<Frame>, diagnostics: &mut Diagnostics) {
        let Some(item) = self.items.get_mut(&key) else { return };
        match item.state {
            State::Done => return,
            State::Open => {
                let start = frames.iter().position(|(open, _)| *open == key).unwrap_or(0);
                let circle: Vec<String> =
                    frames[start..].iter().map(|(open, _)| open).chain([&key]).map(Key::to_string).collect();
                let shown = match circle.as_slice() {
                    [first @ .., last] if circle.len() > MAX_CIRCLE => {
                        format!("{} → … → {last}", first[..MAX_CIRCLE - 2].join(" → "))
                    }
                    all => all.join(" → "),
                };
                let detail = format!("These values refer to each other in a circle: {shown}.");
                diagnostics.push(Diagnostic::error("Cycle in local values", detail).at(item.span));
                // Whoever refers to it meanwhile gets an unknown value, not a second complaint.
                return self.set(&key, Value::unknown());
            }
            State::Waiting => item.state = State::Open,
        }
        let expressions: Vec<&Expr> = match item.definition {
            Definition::Local { expr, .. } => vec![expr],
            Definition::Data { block } => block.body.attributes.iter().map(|attribute| &attribute.value).collect(),
        };
        let needed: Vec<Key> = expressions.into_iter().flat_map(|expr| self.references(expr)).collect();
        frames.push((key, needed.into_iter()));
    }

    fn finish(&mut self, key: Key, diagnostics: &mut Diagnostics) {
        let value = self.evaluate(&key, diagnostics);
        if let Some(item) = self.items.get_mut(&key) {
            item.state = State::Done;
        }
        self.set(&key, value);
    }

    fn set(&mut self, key: &Key, value: Value) {
        match key {
            Key::Local(name) => self.locals.insert(name.clone(), value),
            Key::Data(kind, name) => self.data.entry(kind.clone()).or_default().insert(name.clone(), value),
        }
    }

    fn data_object(&self) -> Value {
        if self.torn {
            return Value::unknown();
        }
        Value::object(self.data.iter().map(|(kind, entries)| (kind.clone(), entries.value())).collect())
    }

    /// Returns the names an expression needs, in sorted order.
    fn references(&self, expr: &Expr) -> Vec<Key> {
        let mut found = Vec::new();
        let mut all = Vec::new();
        let mut roots = Vec::new();
        let mut whole = Vec::new();
        expr.walk(&mut |inner| match &inner.kind {
            ExprKind::Traversal { source, steps } => {
                if let Some(root @ ("local" | "data")) = source.keyword() {
                    roots.push((root, steps.as_slice(), source.span));
                }
            }
            ExprKind::Variable(name) if matches!(&**name, "local" | "data") => {
                whole.push((&**name == "local", inner.span));
            }
            _ => {}
        });
        let places: HashSet<Span> = roots.iter().map(|(_, _, root)| *root).collect();
        // The root of a traversal is visited too; only a bare name needs everything.
        all.extend(whole.into_iter().filter(|(_, span)| !places.contains(span)).map(|(local, _)| local));
        let name = |step: Option<&Step>| match step {
            Some(Step::Attribute(name)) => Some(name.text.clone()),
            Some(Step::Index { key, .. }) => key.literal_string().map(Arc::from),
            None => None,
        };
        for (root, steps, _) in roots {
            let key = match (root, name(steps.first()), name(steps.get(1))) {
                ("local", Some(name), _) => Key::Local(name),
                ("data", Some(kind), Some(name)) => Key::Data(kind, name),
                (root, _, _) => {
                    all.push(root == "local");
                    continue;
                }
            };
            if self.items.contains_key(&key) {
                found.push(key);
            }
        }
        all.sort_unstable();
        all.dedup();
        for local in all {
            found.extend(self.items.keys().filter(|key| matches!(key, Key::Local(_)) == local).cloned());
        }
        found.sort();
        found.dedup();
        found
    }

    fn evaluate(&self, key: &Key, diagnostics: &mut Diagnostics) -> Value {
        let Some(item) = self.items.get(key) else { return Value::unknown() };
        let mut names = self.names.clone();
        names.insert("local".into(), self.locals.value());
        names.insert("data".into(), self.data_object());
        // Which source it will be is known only inside a build.
        names.insert("source".into(), Value::unknown());
        let scope = Scope::new(self.environment, FunctionSet::All, names);
        match &item.definition {
            Definition::Local { expr, sensitive } => scope.evaluate(expr, diagnostics).marked(*sensitive),
            Definition::Data { block } => evaluate_data(block, &scope, &self.environment.data, diagnostics),
        }
    }
}
