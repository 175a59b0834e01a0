//! Owns local values and data sources: each is evaluated after everything it refers to.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use super::blocks::Root;
use super::declared_twice;
use super::variables::literal_bool;
use crate::data::{DataMode, HttpRequest};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::eval::{Scope, evaluate, evaluate_as};
use crate::functions::{Environment, FunctionSet};
use crate::shape::{expect_only, unsupported_block};
use crate::source_map::Span;
use crate::syntax::ast::{Block, Expr, ExprKind, Step};
use crate::value::{Entries, Type, Value};

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

/// Evaluates all local values; data sources are put into `names`.
pub(super) fn resolve(
    root: &Root,
    environment: &Environment,
    names: &mut BTreeMap<Arc<str>, Value>,
    mode: DataMode<'_>,
    diagnostics: &mut Diagnostics,
) -> Entries {
    let items = collect(root, environment, names, diagnostics);
    let order: Vec<Key> = items.keys().cloned().collect();
    let mut resolver =
        Resolver { items, mode, environment, names, locals: Entries::new(), data: BTreeMap::new(), path: Vec::new() };
    for key in &order {
        resolver.visit(key, diagnostics);
    }
    let Resolver { locals, data, .. } = resolver;
    if !root.data.is_empty() {
        names.insert("data".into(), data_object(&data));
    }
    locals
}

fn data_object(data: &BTreeMap<Arc<str>, Entries>) -> Value {
    Value::object(data.iter().map(|(kind, entries)| (kind.clone(), Value::object(entries.clone()))).collect())
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
    mode: DataMode<'a>,
    environment: &'a Environment,
    names: &'a BTreeMap<Arc<str>, Value>,
    locals: Entries,
    data: BTreeMap<Arc<str>, Entries>,
    /// What is being evaluated, outermost first.
    path: Vec<Key>,
}

impl Resolver<'_> {
    fn visit(&mut self, key: &Key, diagnostics: &mut Diagnostics) {
        let Some(item) = self.items.get_mut(key) else { return };
        match item.state {
            State::Done => return,
            State::Open => {
                let start = self.path.iter().position(|open| open == key).unwrap_or(0);
                let circle: Vec<String> = self.path[start..].iter().chain([key]).map(Key::to_string).collect();
                let detail = format!("These values refer to each other in a circle: {}.", circle.join(" → "));
                diagnostics.push(Diagnostic::error("Cycle in local values", detail).at(item.span));
                return;
            }
            State::Waiting => item.state = State::Open,
        }
        let expressions: Vec<&Expr> = match item.definition {
            Definition::Local { expr, .. } => vec![expr],
            Definition::Data { block } => block.body.attributes.iter().map(|attribute| &attribute.value).collect(),
        };
        let needed: Vec<Key> = expressions.into_iter().flat_map(|expr| self.references(expr)).collect();
        self.path.push(key.clone());
        for other in needed {
            self.visit(&other, diagnostics);
        }
        self.path.pop();
        let value = self.evaluate(key, diagnostics);
        if let Some(item) = self.items.get_mut(key) {
            item.state = State::Done;
        }
        match key {
            Key::Local(name) => _ = self.locals.insert(name.clone(), value),
            Key::Data(kind, name) => _ = self.data.entry(kind.clone()).or_default().insert(name.clone(), value),
        }
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
        for (local, span) in whole {
            // The root of a traversal is visited too; only a bare name needs everything.
            if !roots.iter().any(|(_, _, root)| *root == span) {
                all.push(local);
            }
        }
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
        // A value that waits for this one (in a cycle) is unknown; the cycle has been reported.
        let mut locals = self.locals.clone();
        for other in &self.path {
            if let Key::Local(name) = other {
                locals.insert(name.clone(), Value::unknown());
            }
        }
        if let Key::Local(name) = key {
            locals.entry(name.clone()).or_insert_with(Value::unknown);
        }
        names.insert("local".into(), Value::object(locals));
        names.insert("data".into(), data_object(&self.data));
        let scope = Scope::new(self.environment, FunctionSet::All, names);
        match &item.definition {
            Definition::Local { expr, sensitive } => evaluate(expr, &scope, diagnostics).marked(*sensitive),
            Definition::Data { block } => evaluate_data(block, &scope, self.mode, diagnostics),
        }
    }
}

/// Evaluates a data source.
fn evaluate_data(block: &Block, scope: &Scope<'_>, data: DataMode<'_>, diagnostics: &mut Diagnostics) -> Value {
    let kind = block.labels.first().map(|label| &*label.text).unwrap_or_default();
    match kind {
        "null" => {
            expect_only(&block.body, &["input"], &[], diagnostics);
            let output = match block.body.attribute("input") {
                Some(input) => evaluate_as(&input.value, &Type::String, "attribute \"input\"", scope, diagnostics)
                    .unwrap_or_else(|| Value::unknown_of(Type::String)),
                None => {
                    let detail = "The argument \"input\" is required, but no definition was found.";
                    diagnostics.push(Diagnostic::error("Missing required argument", detail).at(block.header));
                    Value::unknown_of(Type::String)
                }
            };
            Value::object([("output".into(), output)].into_iter().collect())
        }
        "http" => evaluate_http(block, scope, data, diagnostics),
        other => {
            // Many templates ask such a source only inside try(), so it is an empty object, not an error.
            let detail = format!(
                "The data source {other:?} belongs to a plugin, which Kiln does not run; it has no values. Kiln has http and null."
            );
            diagnostics.push(Diagnostic::warning("Unknown data source", detail).at(block.header));
            Value::object(Entries::new())
        }
    }
}

const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];

fn evaluate_http(block: &Block, scope: &Scope<'_>, mode: DataMode<'_>, diagnostics: &mut Diagnostics) -> Value {
    let errors = diagnostics.len();
    let body = &block.body;
    expect_only(body, &["url", "method", "request_headers", "request_body"], &[], diagnostics);
    let mut get = |name: &str, ty: &Type| {
        let attribute = body.attribute(name)?;
        let what = format!("attribute {name:?}");
        evaluate_as(&attribute.value, ty, &what, scope, diagnostics).filter(|value| !value.is_null())
    };
    let url = get("url", &Type::String);
    let method = get("method", &Type::String);
    let headers = get("request_headers", &Type::map(Type::String));
    let request_body = get("request_body", &Type::String);
    let text = |value: &Option<Value>| value.as_ref().and_then(Value::as_str).map(str::to_owned);
    let method = text(&method).unwrap_or_else(|| "GET".into());
    if body.attribute("url").is_none() {
        let detail = "The argument \"url\" is required, but no definition was found.";
        diagnostics.push(Diagnostic::error("Missing required argument", detail).at(block.header));
    }
    if !METHODS.contains(&method.as_str()) {
        let detail = format!("The method must be one of {}, not {method:?}.", METHODS.join(", "));
        let span = body.attribute("method").map_or(block.header, |attribute| attribute.value.span);
        diagnostics.push(Diagnostic::error("Unsupported method", detail).at(span));
    }
    let unknown = || {
        let fields = [("url", Type::String), ("body", Type::String), ("request_headers", Type::map(Type::String))];
        Value::object(fields.into_iter().map(|(name, ty)| (name.into(), Value::unknown_of(ty))).collect())
    };
    let Some(url) = text(&url).filter(|_| diagnostics.len() == errors) else { return unknown() };
    let sources = match mode {
        DataMode::Unknown => return unknown(),
        DataMode::Refuse => {
            let detail = "http data sources are not fetched here.";
            let diagnostic = Diagnostic::error("Data source not available", detail).at(block.header);
            diagnostics.push(diagnostic.hint("pass what the page says as a variable"));
            return unknown();
        }
        DataMode::Fetch(sources) => sources,
    };
    let entries = headers.as_ref().and_then(Value::as_entries).cloned().unwrap_or_default();
    let headers = entries.iter().filter_map(|(name, value)| Some((name.to_string(), value.as_str()?.to_owned())));
    let request = HttpRequest { url: url.clone(), method, headers: headers.collect(), body: text(&request_body) };
    let answer = sources.http(&request).and_then(|answer| {
        let body = String::from_utf8(answer.body).map_err(|_| "the answer is not text".to_owned())?;
        Ok((body, answer.headers))
    });
    match answer {
        Ok((body, headers)) => {
            // Packer calls the headers of the answer request_headers.
            let mut joined: BTreeMap<String, String> = BTreeMap::new();
            for (name, value) in headers {
                joined.entry(name).and_modify(|known| *known = format!("{known}, {value}")).or_insert(value);
            }
            let headers = joined.iter().map(|(name, value)| (name.as_str().into(), Value::string(value))).collect();
            let fields = [
                ("url", Value::string(&url)),
                ("body", Value::string(&body)),
                ("request_headers", Value::map(Type::String, headers)),
            ];
            Value::object(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
        }
        Err(reason) => {
            let detail = format!("{url} could not be fetched: {reason}.");
            diagnostics.push(Diagnostic::error("Data source failed", detail).at(block.header));
            unknown()
        }
    }
}
