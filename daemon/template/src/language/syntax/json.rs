//! Owns HCL's JSON syntax: JSON text → the same tree as native syntax.
//!
//! JSON cannot tell blocks from arguments, so the few root blocks of templates are recognised by name, with as many
//! levels of objects for labels as each has. Strings are templates; in variable files they are plain text.

use std::sync::Arc;

use super::ast::{Attribute, Block, Body, Expr, ExprKind, Name, ObjectKey, Part};
use super::lexer::{MAX_TOKENS, too_large};
use super::parser::{parse_expression, parse_quoted_template};
use crate::diagnostics::source_map::{FileId, SourceMap, Span};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::limits::MAX_DEPTH;
use crate::language::value::json::read_string;
use crate::language::value::{Number, Value};

/// A JSON value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Json {
    pub(crate) kind: JsonKind,
    pub(crate) span: Span,
}

/// The kinds of JSON value; objects keep order and duplicate keys.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum JsonKind {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(Name, Json)>),
}

impl Json {
    /// Returns what the value is called in messages.
    pub(crate) fn noun(&self) -> &'static str {
        match self.kind {
            JsonKind::Null => "null",
            JsonKind::Bool(_) => "a boolean",
            JsonKind::Number(_) => "a number",
            JsonKind::String(_) => "a string",
            JsonKind::Array(_) => "an array",
            JsonKind::Object(_) => "an object",
        }
    }
}

/// Parses a JSON text; nothing after an error, which is reported with its place.
pub(crate) fn parse_json(sources: &SourceMap, file: FileId, diagnostics: &mut Diagnostics) -> Option<Json> {
    let text = sources.get(file)?.text().clone();
    let mut reader = Reader { file, text: &text, at: 0, tokens: 0 };
    match reader.document() {
        Ok(json) => Some(json),
        Err(diagnostic) => {
            diagnostics.push(*diagnostic);
            None
        }
    }
}

/// Reports whether a JSON text has more words and signs than a text can have. What is no JSON is not looked at further.
pub(crate) fn exceeds_limit(text: &str) -> bool {
    // No word or sign is shorter than a byte.
    if text.len() <= MAX_TOKENS {
        return false;
    }
    let mut sources = SourceMap::new();
    let file = sources.add("", "");
    let mut reader = Reader { file, text, at: 0, tokens: 0 };
    reader.document().is_err() && reader.tokens > MAX_TOKENS
}

type Parsed<T> = Result<T, Box<Diagnostic>>;

struct Reader<'a> {
    file: FileId,
    text: &'a str,
    at: usize,
    /// Words and signs so far, of which there are at most [`MAX_TOKENS`], as in native syntax.
    tokens: usize,
}

impl<'a> Reader<'a> {
    fn count(&mut self, tokens: usize) -> Parsed<()> {
        self.tokens += tokens;
        if self.tokens <= MAX_TOKENS {
            return Ok(());
        }
        Err(Box::new(too_large(self.text.len(), self.span(self.at, self.at + 1))))
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn span(&self, start: usize, end: usize) -> Span {
        let place = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Span { file: self.file, start: place(start), end: place(end) }
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn fail<T>(&self, wanted: &str) -> Parsed<T> {
        let (found, length) = match self.rest().chars().next() {
            Some(c) => (format!("invalid character {c:?}"), c.len_utf8()),
            None => ("unexpected end of the text".to_owned(), 0),
        };
        let hint = match self.rest().chars().next() {
            Some('/' | '#') => Some("JSON has no comments".to_owned()),
            Some('}' | ']') if wanted.starts_with("the beginning") => {
                Some("JSON allows no comma before a closing bracket".to_owned())
            }
            Some('\'') => Some("JSON strings stand in double quotes".to_owned()),
            Some('\u{feff}') => Some("remove the byte order mark at the beginning of the file".to_owned()),
            _ => None,
        };
        let span = self.span(self.at, self.at + length);
        Err(Box::new(
            Diagnostic::error("Error parsing JSON", format!("{found} looking for {wanted}.")).at(span).hint_maybe(hint),
        ))
    }

    fn document(&mut self) -> Parsed<Json> {
        self.blanks();
        let value = self.value(0)?;
        self.blanks();
        if self.rest().is_empty() { Ok(value) } else { self.fail("the end of the text") }
    }

    fn value(&mut self, depth: u32) -> Parsed<Json> {
        let start = self.at;
        // The value with the comma behind it.
        self.count(2)?;
        if depth > MAX_DEPTH {
            let detail = format!("JSON values can be nested at most {MAX_DEPTH} levels deep.");
            return Err(Box::new(Diagnostic::error("Nesting too deep", detail).at(self.span(start, start + 1))));
        }
        let rest = self.rest();
        let kind = match rest.bytes().next() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => JsonKind::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => {
                let words =
                    [("true", JsonKind::Bool(true)), ("false", JsonKind::Bool(false)), ("null", JsonKind::Null)];
                match words.into_iter().find(|(word, _)| rest.starts_with(word)) {
                    Some((word, kind)) => {
                        self.at += word.len();
                        kind
                    }
                    None => return self.fail("the beginning of a value"),
                }
            }
        };
        Ok(Json { kind, span: self.span(start, self.at) })
    }

    fn string(&mut self) -> Parsed<String> {
        match read_string(self.rest()) {
            Ok((text, length)) => {
                self.at += length;
                Ok(text)
            }
            Err((reason, at)) => {
                let span = self.span(self.at + at, self.at + at + 1);
                Err(Box::new(Diagnostic::error("Error parsing JSON", format!("{reason} in a string.")).at(span)))
            }
        }
    }

    fn number(&mut self) -> Parsed<JsonKind> {
        let rest = self.rest();
        let length = rest.find(|c: char| !matches!(c, '-' | '+' | '.' | 'e' | 'E' | '0'..='9')).unwrap_or(rest.len());
        let text = &rest[..length];
        let digits = text.strip_prefix('-').unwrap_or(text);
        let leading_zero = digits.starts_with('0') && digits.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        let bare_dot = digits.ends_with('.') || digits.contains(".e") || digits.contains(".E");
        let well_formed = digits.starts_with(|c: char| c.is_ascii_digit()) && !leading_zero && !bare_dot;
        match Number::parse(text).filter(|_| well_formed) {
            Some(number) => {
                self.at += length;
                Ok(JsonKind::Number(number))
            }
            None => {
                let detail = format!("{text:?} is not a number.");
                let span = self.span(self.at, self.at + length);
                Err(Box::new(Diagnostic::error("Error parsing JSON", detail).at(span)))
            }
        }
    }

    fn array(&mut self, depth: u32) -> Parsed<JsonKind> {
        self.at += 1;
        let mut items = Vec::new();
        self.blanks();
        if self.rest().starts_with(']') {
            self.at += 1;
            return Ok(JsonKind::Array(items));
        }
        loop {
            self.blanks();
            items.push(self.value(depth + 1)?);
            self.blanks();
            match self.rest().bytes().next() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(JsonKind::Array(items));
                }
                _ => return self.fail("a comma or closing bracket after an array element"),
            }
        }
    }

    fn object(&mut self, depth: u32) -> Parsed<JsonKind> {
        self.at += 1;
        let mut entries = Vec::new();
        self.blanks();
        if self.rest().starts_with('}') {
            self.at += 1;
            return Ok(JsonKind::Object(entries));
        }
        loop {
            self.blanks();
            if !self.rest().starts_with('"') {
                return self.fail("the beginning of an object key string");
            }
            let start = self.at;
            self.count(2)?;
            let key = self.string()?;
            let name = Name { text: key.into(), span: self.span(start, self.at) };
            self.blanks();
            if !self.rest().starts_with(':') {
                return self.fail("a colon after an object key");
            }
            self.at += 1;
            self.blanks();
            let value = self.value(depth + 1)?;
            entries.push((name, value));
            self.blanks();
            match self.rest().bytes().next() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(JsonKind::Object(entries));
                }
                _ => return self.fail("a comma or closing brace after an object entry"),
            }
        }
    }
}

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
