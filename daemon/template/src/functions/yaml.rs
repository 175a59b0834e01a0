//! Owns `yamldecode` and `yamlencode`.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, StrInput, Tag};

use super::{Answer, Call, Failure, Function, any, function, text};
use crate::syntax::MAX_DEPTH;
use crate::value::convert::convert;
use crate::value::{Data, Entries, Number, Type, Value, json};

/// Values a document may have after its aliases are replaced.
const MAX_NODES: usize = 1 << 20;

pub(super) const FUNCTIONS: &[Function] = &[
    function("yamldecode", &[text("src")], |call| {
        decode(call.text(0)).map_err(|reason| Failure::new(reason.trim_end_matches('.').to_owned()))
    }),
    function("yamlencode", &[any("value").or_null()], encode),
];

fn encode(call: &Call<'_>) -> Answer {
    let mut out = String::new();
    write(call.value(0), 0, Position::Document, &mut out);
    if !out.ends_with('\n') {
        out.push('\n');
    }
    Ok(out.into())
}

/// Reads the one document of a YAML text.
fn decode(text: &str) -> Result<Value, String> {
    let mut reader = Reader { parser: Parser::new_from_str(text), anchors: BTreeMap::new(), nodes: 0 };
    let mut found = None;
    while let Some(event) = reader.next()? {
        match event {
            Event::StreamStart | Event::StreamEnd | Event::DocumentStart(..) | Event::DocumentEnd => {}
            _ if found.is_some() => return Err("unexpected extra content after value".into()),
            event => found = Some(reader.value(event, 0)?),
        }
    }
    Ok(found.unwrap_or_else(Value::null))
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
    /// What each anchor names; nothing while it is still being read.
    anchors: BTreeMap<usize, Option<Value>>,
    nodes: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Option<Event<'a>>, String> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, _))) => Ok(Some(event)),
            Some(Err(error)) => Err(error.to_string()),
        }
    }

    fn inside(&mut self) -> Result<Event<'a>, String> {
        self.next()?.ok_or_else(|| "unexpected end of the document".to_owned())
    }

    fn value(&mut self, event: Event<'a>, depth: u32) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(format!("the document is nested more than {MAX_DEPTH} levels deep"));
        }
        self.nodes += 1;
        if self.nodes > MAX_NODES {
            return Err("the document has too many values".into());
        }
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = scalar(&text, style, tag.as_deref())?;
                self.remember(anchor, &value);
                Ok(value)
            }
            Event::SequenceStart(_, anchor, tag) => {
                collection_tag(tag.as_deref(), "seq")?;
                self.open(anchor);
                let mut elements = Vec::new();
                loop {
                    match self.inside()? {
                        Event::SequenceEnd => break,
                        event => elements.push(self.value(event, depth + 1)?),
                    }
                }
                let value = Value::tuple(elements);
                self.remember(anchor, &value);
                Ok(value)
            }
            Event::MappingStart(_, anchor, tag) => {
                collection_tag(tag.as_deref(), "map")?;
                self.open(anchor);
                let value = Value::object(self.entries(depth)?);
                self.remember(anchor, &value);
                Ok(value)
            }
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(Some(value)) => {
                    self.nodes += size(&value);
                    Ok(value)
                }
                Some(None) => Err("cannot refer to an anchor from inside its own definition".into()),
                None => Err("reference to an undefined anchor".into()),
            },
            _ => Err("unexpected content".into()),
        }
    }

    fn entries(&mut self, depth: u32) -> Result<Entries, String> {
        let mut entries = Entries::new();
        // What `<<` brings in never replaces what is written out.
        let mut merged = Entries::new();
        loop {
            let key = match self.inside()? {
                Event::MappingEnd => break,
                event => {
                    let merges = matches!(&event, Event::Scalar(text, ScalarStyle::Plain, ..) if text == "<<");
                    (self.value(event, depth + 1)?, merges)
                }
            };
            let event = self.inside()?;
            let value = self.value(event, depth + 1)?;
            if key.1 {
                let several: Vec<Value> = match value.as_elements() {
                    Some(elements) => elements.to_vec(),
                    None => vec![value],
                };
                for source in several {
                    let Some(found) = source.as_entries() else {
                        return Err("a mapping is required after the merge key".into());
                    };
                    for (name, value) in found.iter() {
                        merged.entry(name.clone()).or_insert_with(|| value.clone());
                    }
                }
                continue;
            }
            let key = convert(&key.0, &Type::String).ok().filter(|key| !key.is_null());
            let Some(key) = key.as_ref().and_then(Value::as_str) else {
                return Err("a mapping key must be a string".into());
            };
            entries.insert(key.into(), value);
        }
        for (name, value) in merged {
            entries.entry(name).or_insert(value);
        }
        Ok(entries)
    }

    fn open(&mut self, anchor: usize) {
        if anchor != 0 {
            self.anchors.insert(anchor, None);
        }
    }

    fn remember(&mut self, anchor: usize, value: &Value) {
        if anchor != 0 {
            self.anchors.insert(anchor, Some(value.clone()));
        }
    }
}

/// Counts the values inside a value, so that aliases of aliases cannot multiply without end.
fn size(value: &Value) -> usize {
    1 + value.children().map(size).sum::<usize>()
}

fn unsupported(tag: &Tag) -> String {
    let core = tag.handle() == "tag:yaml.org,2002:";
    let shown = if core { format!("!!{}", tag.suffix()) } else { format!("!{}", tag.suffix()) };
    format!("unsupported tag {shown:?}")
}

fn collection_tag(tag: Option<&Tag>, kind: &str) -> Result<(), String> {
    match tag {
        Some(tag) if tag.handle() != "tag:yaml.org,2002:" || tag.suffix() != kind => Err(unsupported(tag)),
        _ => Ok(()),
    }
}

/// Resolves a scalar as Go's YAML library for cty does.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let Some(tag) = tag else {
        return Ok(if style == ScalarStyle::Plain { plain(text) } else { text.into() });
    };
    if tag.handle() == "!" && tag.suffix().is_empty() {
        return Ok(text.into());
    }
    if tag.handle() != "tag:yaml.org,2002:" {
        return Err(unsupported(tag));
    }
    let resolved = plain(text);
    let fits = match tag.suffix() {
        "str" | "timestamp" => return Ok(text.into()),
        "null" => resolved.is_null(),
        "bool" => resolved.as_bool().is_some(),
        "int" => resolved.as_number().is_some_and(Number::is_integer),
        "float" => resolved.as_number().is_some(),
        "binary" => return Ok(text.split_whitespace().collect::<String>().into()),
        _ => return Err(unsupported(tag)),
    };
    if fits { Ok(resolved) } else { Err(format!("cannot parse {text:?} as tag !!{}", tag.suffix())) }
}

fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::null(),
        "true" | "True" | "TRUE" => return true.into(),
        "false" | "False" | "FALSE" => return false.into(),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return text.into();
    }
    let plain = digits.replace('_', "");
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, radix)| i64::from_str_radix(plain.strip_prefix(prefix)?, radix).ok());
    let octal = || {
        let only_digits = plain.len() > 1 && plain.starts_with('0') && plain.bytes().all(|byte| byte.is_ascii_digit());
        only_digits.then(|| i64::from_str_radix(&plain, 8).ok()).flatten()
    };
    let number = match radix.or_else(octal) {
        Some(whole) => Some(Number::from(whole)),
        None => Number::parse(&plain),
    };
    match number {
        Some(number) if text.starts_with('-') => number.negate().into(),
        Some(number) => number.into(),
        None => text.into(),
    }
}

/// Where a value is written.
#[derive(Clone, Copy, PartialEq)]
enum Position {
    Document,
    /// After `key:`.
    Entry,
    /// After `-`.
    Item,
}

/// Writes a value in block style with all strings quoted, as Terraform's encoder does.
fn write(value: &Value, level: usize, position: Position, out: &mut String) {
    let indentation = "  ".repeat(level);
    match value.data() {
        Data::List(_, elements) | Data::Set(_, elements) | Data::Tuple(elements) => {
            if elements.is_empty() {
                out.push_str(if position == Position::Document { "[]" } else { " []" });
                return;
            }
            for (index, element) in elements.iter().enumerate() {
                if position == Position::Item && index == 0 {
                    out.push_str(" -");
                } else {
                    line_start(out);
                    out.push_str(&indentation);
                    out.push('-');
                }
                write(element, level + 1, Position::Item, out);
            }
        }
        Data::Map(_, entries) | Data::Object(entries) => {
            if entries.is_empty() {
                out.push_str(if position == Position::Document { "{}" } else { " {}" });
                return;
            }
            for (index, (key, element)) in entries.iter().enumerate() {
                if position == Position::Item && index == 0 {
                    out.push(' ');
                } else {
                    line_start(out);
                    out.push_str(&indentation);
                }
                json::write_string(key, out);
                out.push(':');
                // Lists stand under their key without further indentation.
                let nested = if element.as_elements().is_some() { level } else { level + 1 };
                write(element, nested, Position::Entry, out);
            }
        }
        _ => {
            if position != Position::Document {
                out.push(' ');
            }
            match value.as_str() {
                Some(text) if text.ends_with('\n') || text.contains('\n') => literal(text, level, position, out),
                _ => out.push_str(&json::encode(value)),
            }
        }
    }
}

/// Writes a text of several lines.
fn literal(text: &str, level: usize, position: Position, out: &mut String) {
    let trimmed = text.trim_end_matches('\n');
    let ends = text.len() - trimmed.len();
    let plain = !trimmed.is_empty()
        && !trimmed.starts_with([' ', '\t', '\n'])
        && trimmed.chars().all(|c| c == '\n' || c == '\t' || !c.is_control());
    if !plain {
        let mut quoted = String::new();
        json::write_string(text, &mut quoted);
        out.push_str(&quoted);
        return;
    }
    out.push_str(match ends {
        0 => "|-",
        1 => "|",
        _ => "|+",
    });
    let level = if position == Position::Document { 1 } else { level.max(1) };
    let indentation = "  ".repeat(level);
    for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            out.push_str(&indentation);
            out.push_str(line);
        }
    }
    out.push('\n');
}

fn line_start(out: &mut String) {
    if !out.is_empty() && !out.ends_with('\n') {
        out.push('\n');
    }
}
