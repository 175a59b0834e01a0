//! Owns HCL's JSON syntax: JSON values → the same tree as native syntax.
//!
//! JSON cannot tell blocks from arguments, so the few root blocks of templates are recognised by name, with as many
//! levels of objects for labels as each has. Strings are templates; in variable files they are plain text.

use std::sync::Arc;

use super::ast::{Attribute, Block, Body, Expr, ExprKind, Name, ObjectKey, Part};
use super::json::{Json, JsonKind, parse_json};
use super::parser::{parse_expression, parse_quoted_template};
use crate::diagnostics::source_map::{FileId, SourceMap};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::value::Value;

/// How many levels of labels the blocks of a body have; everything else is an argument.
type Grammar = &'static [(&'static str, usize, Inner)];

/// What is inside a block.
#[derive(Clone, Copy)]
enum Inner {
    Arguments,
    Blocks(fn() -> Grammar),
}

const ROOT: Grammar = &[
    ("packer", 0, Inner::Blocks(|| PACKER)),
    ("variable", 1, Inner::Blocks(|| VARIABLE)),
    ("variables", 0, Inner::Arguments),
    ("local", 1, Inner::Arguments),
    ("locals", 0, Inner::Arguments),
    ("source", 2, Inner::Arguments),
    ("data", 2, Inner::Arguments),
    ("communicator", 2, Inner::Arguments),
    ("hcp_packer_registry", 0, Inner::Arguments),
    ("build", 0, Inner::Blocks(|| BUILD)),
];
const PACKER: Grammar = &[("required_plugins", 0, Inner::Arguments)];
const VARIABLE: Grammar = &[("validation", 0, Inner::Arguments)];
const BUILD: Grammar = &[
    ("source", 1, Inner::Arguments),
    ("provisioner", 1, Inner::Arguments),
    ("error-cleanup-provisioner", 1, Inner::Arguments),
    ("post-processor", 1, Inner::Arguments),
    ("post-processors", 0, Inner::Blocks(|| SEQUENCE)),
    ("hcp_packer_registry", 0, Inner::Arguments),
    ("dynamic", 1, Inner::Blocks(|| DYNAMIC)),
];
const SEQUENCE: Grammar = &[("post-processor", 1, Inner::Arguments), ("dynamic", 1, Inner::Blocks(|| DYNAMIC))];
const DYNAMIC: Grammar = &[("content", 0, Inner::Arguments)];

/// Parses a `.pkr.json` file.
pub(crate) fn parse_template(sources: &mut SourceMap, file: FileId, diagnostics: &mut Diagnostics) -> Body {
    let Some(json) = parse_json(sources, file, diagnostics) else {
        return Body { torn: true, ..Body::default() };
    };
    let mut maker = Maker { templates: true, diagnostics: Diagnostics::new() };
    let body = maker.body(&json, ROOT);
    diagnostics.extend(maker.diagnostics);
    // Only `type` of a variable is not an ordinary expression: its string holds native syntax.
    let body = with_types(body, sources, diagnostics);
    for block in &body.blocks {
        let labels: String = block.labels.iter().map(|label| format!(" \"{}\"", label.text)).collect();
        sources.add_block(block.span, format!("{}{labels}", block.kind.text));
    }
    body
}

/// Parses a `.pkrvars.json` file, whose strings are plain text.
pub(crate) fn parse_variables(sources: &mut SourceMap, file: FileId, diagnostics: &mut Diagnostics) -> Body {
    let Some(json) = parse_json(sources, file, diagnostics) else {
        return Body { torn: true, ..Body::default() };
    };
    let mut maker = Maker { templates: false, diagnostics: Diagnostics::new() };
    let body = maker.body(&json, &[]);
    diagnostics.extend(maker.diagnostics);
    body
}

/// Replaces the strings of variables' `type` by the type expressions they spell.
fn with_types(mut body: Body, sources: &mut SourceMap, diagnostics: &mut Diagnostics) -> Body {
    for block in body.blocks.iter_mut().filter(|block| &*block.kind.text == "variable") {
        for attribute in block.body.attributes.iter_mut().filter(|attribute| &*attribute.name.text == "type") {
            if let Some(text) = attribute.value.literal_string() {
                let file =
                    sources.add(format!("<type of {}>", block.labels.first().map_or("", |label| &label.text)), text);
                attribute.value = parse_expression(sources, file, diagnostics);
            }
        }
    }
    body
}

struct Maker {
    templates: bool,
    diagnostics: Diagnostics,
}

impl Maker {
    fn body(&mut self, json: &Json, grammar: Grammar) -> Body {
        let mut body = Body { span: json.span, ..Body::default() };
        let objects: Vec<&Json> = match &json.kind {
            JsonKind::Array(items) => items.iter().collect(),
            _ => vec![json],
        };
        for object in objects {
            let JsonKind::Object(entries) = &object.kind else {
                let detail = format!("An object is required here, not {}.", object.noun());
                self.diagnostics.push(Diagnostic::error("Incorrect JSON value type", detail).at(object.span));
                continue;
            };
            for (name, value) in entries {
                // A property named "//" is a comment.
                if &*name.text == "//" {
                    continue;
                }
                if let Some(&(_, labels, inner)) = grammar.iter().find(|(kind, ..)| *kind == &*name.text) {
                    self.blocks(name, value, labels, inner, Vec::new(), &mut body);
                } else if body.attribute(&name.text).is_some() {
                    let detail = format!("The argument {:?} was already set.", name.text);
                    self.diagnostics.push(Diagnostic::error("Duplicate argument", detail).at(name.span));
                } else {
                    let value = self.expression(value);
                    let span = name.span.to(value.span);
                    body.attributes.push(Attribute { name: name.clone(), value, span });
                }
            }
        }
        body
    }

    fn blocks(&mut self, kind: &Name, json: &Json, labels: usize, inner: Inner, found: Vec<Name>, body: &mut Body) {
        let items: Vec<&Json> = match &json.kind {
            JsonKind::Array(items) => items.iter().collect(),
            JsonKind::Null => Vec::new(),
            _ => vec![json],
        };
        for item in items {
            if labels == 0 {
                let grammar = match inner {
                    Inner::Arguments => &[],
                    Inner::Blocks(grammar) => grammar(),
                };
                let inner_body = self.body(item, grammar);
                let header = found.last().map_or(kind.span, |label| label.span);
                body.blocks.push(Block {
                    kind: kind.clone(),
                    labels: found.clone(),
                    body: inner_body,
                    header,
                    span: kind.span.to(item.span),
                });
                continue;
            }
            let JsonKind::Object(entries) = &item.kind else {
                let detail = format!(
                    "An object is required here, whose keys are labels of {:?} blocks, not {}.",
                    kind.text,
                    item.noun()
                );
                self.diagnostics.push(Diagnostic::error("Incorrect JSON value type", detail).at(item.span));
                continue;
            };
            for (label, value) in entries {
                let labelled = found.iter().cloned().chain([label.clone()]).collect();
                self.blocks(kind, value, labels - 1, inner, labelled, body);
            }
        }
    }

    fn expression(&mut self, json: &Json) -> Expr {
        let kind = match &json.kind {
            JsonKind::Null => ExprKind::Literal(Value::null()),
            JsonKind::Bool(truth) => ExprKind::Literal((*truth).into()),
            JsonKind::Number(number) => ExprKind::Literal(number.clone().into()),
            JsonKind::String(text) if self.templates && (text.contains("${") || text.contains("%{")) => {
                parse_quoted_template(text, json.span, &mut self.diagnostics).kind
            }
            JsonKind::String(text) => ExprKind::Template(vec![Part::Text(Arc::from(text.as_str()))]),
            JsonKind::Array(items) => ExprKind::Tuple(items.iter().map(|item| self.expression(item)).collect()),
            JsonKind::Object(entries) => {
                let mut items: Vec<(ObjectKey, Expr)> = Vec::new();
                for (name, value) in entries {
                    let key = Json { kind: JsonKind::String(name.text.to_string()), span: name.span };
                    items.push((ObjectKey::Expr(self.expression(&key)), self.expression(value)));
                }
                ExprKind::Object(items)
            }
        };
        Expr { kind, span: json.span }
    }
}
