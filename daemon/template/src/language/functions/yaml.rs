//! Owns `yamldecode` and `yamlencode`.

use std::collections::BTreeMap;

use granit_parser::{Event, Parser, ScalarStyle, StrInput, Tag};

use super::encoding::is_base64;
use super::table::{Answer, Call, Failure, Function, any, function, text};
use crate::language::limits::MAX_DEPTH;
use crate::language::value::convert::convert;
use crate::language::value::{Data, Entries, Number, Type, Value, json};

/// Values a document may have after its aliases are replaced.
const MAX_NODES: usize = 1 << 20;

pub(super) const FUNCTIONS: &[Function] = &[
    function("yamldecode", &[text("src")], |call| {
        decode(call.text(0)).map_err(|reason| Failure::new(reason.trim_end_matches('.').to_owned()))
    }),
    function("yamlencode", &[any("value").or_null()], encode),
];

fn encode(call: &Call<'_>) -> Answer {
    if call.value(0).holds_infinity() {
        return Err(Failure::new("cannot serialize infinity"));
    }
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

/// Resolves a scalar as Go's YAML library for cty does: booleans of YAML 1.1, decimal numbers whatever they begin with, times.
fn scalar(text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<Value, String> {
    let kind = match tag {
        // What is quoted stays a text, whatever its tag says.
        None if style != ScalarStyle::Plain => return Ok(text.into()),
        None => "",
        Some(tag) if tag.handle() != "tag:yaml.org,2002:" => return Err(unsupported(tag)),
        Some(tag) => tag.suffix(),
    };
    let wrong = || Err(format!("cannot parse {} as tag !!{kind}", quote(text)));
    match kind {
        "str" => return Ok(text.into()),
        "binary" if is_base64(text) => return Ok(text.into()),
        "binary" => return Err(format!("cannot parse {} as tag !!binary: not valid base64", quote(text))),
        "" | "null" | "bool" | "int" | "float" | "timestamp" => {}
        _ => return Err(format!("unsupported tag \"!!{kind}\"")),
    }
    if style != ScalarStyle::Plain {
        return Ok(text.into());
    }
    if let Some(value) = word(text) {
        return Ok(value);
    }
    match text.strip_prefix(['+', '-']).unwrap_or(text) {
        ".nan" | ".NaN" | ".NAN" if text.starts_with('.') => return Err("floating point NaN is not supported".into()),
        ".inf" | ".Inf" | ".INF" => return Ok(Number::infinity(text.starts_with('-')).into()),
        _ => {}
    }
    if matches!(kind, "" | "timestamp")
        && let Some(time) = timestamp(text)
    {
        return Ok(time.into());
    }
    let plain = text.replace('_', "");
    let begins_as_number = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.'));
    // Behind a leading point, underscores are no part of a number.
    let candidate = if text.starts_with('.') { text } else { &plain };
    if begins_as_number && let Some(number) = Number::parse(candidate) {
        return Ok(number.into());
    }
    let binary = begins_as_number && (plain.starts_with("0b") || plain.starts_with("-0b"));
    // Current versions of the library read these also without a tag, but only as YAML 1.2 writes them.
    let number = if text.starts_with("0x") || text.starts_with("0o") { prefixed(text) } else { None };
    if let Some(number) = number {
        return Ok(number.into());
    }
    match kind {
        "" if !binary => Ok(text.into()),
        "" | "int" | "float" => prefixed(&plain).map_or_else(wrong, |number| Ok(number.into())),
        "null" => Ok(Value::null()),
        _ => wrong(),
    }
}

/// Returns what a word stands for.
fn word(text: &str) -> Option<Value> {
    Some(match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::null(),
        "y" | "Y" | "yes" | "Yes" | "YES" | "true" | "True" | "TRUE" | "on" | "On" | "ON" => true.into(),
        "n" | "N" | "no" | "No" | "NO" | "false" | "False" | "FALSE" | "off" | "Off" | "OFF" => false.into(),
        _ => return None,
    })
}

/// Reads a whole number behind `0x`, `0o` or `0b`.
fn prefixed(text: &str) -> Option<Number> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let digits = digits.to_ascii_lowercase();
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)];
    let (digits, radix) = radix.into_iter().find_map(|(prefix, radix)| Some((digits.strip_prefix(prefix)?, radix)))?;
    if !digits.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let number = Number::from(i64::from_str_radix(digits, radix).ok()?);
    Some(if negative { number.negate() } else { number })
}

/// Reads a date, or a date with a time, and writes it as RFC 3339 without fractions of seconds.
///
/// The forms are `2006-1-2`, `2006-1-2 15:4:5.9` and `2006-1-2T15:4:5.9Z07:00`.
fn timestamp(text: &str) -> Option<String> {
    let digits = |text: &str, longest: usize| -> Option<i8> {
        let fits = !text.is_empty() && text.len() <= longest && text.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| text.parse().ok()).flatten()
    };
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some((&text[at..=at], &text[at + 1..]))),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let year = parts.next().filter(|year| year.len() == 4 && year.bytes().all(|byte| byte.is_ascii_digit()))?;
    let (month, day) = (digits(parts.next()?, 2)?, digits(parts.next()?, 2)?);
    jiff::civil::Date::new(year.parse().ok()?, month, day).ok()?;
    let Some((separator, time)) = time else { return Some(format!("{year}-{month:02}-{day:02}T00:00:00Z")) };
    let (time, zone) = match time.find(['Z', '+', '-']) {
        Some(at) if separator != " " => (&time[..at], &time[at..]),
        None if separator == " " => (time, "Z"),
        _ => return None,
    };
    let (time, fraction) = time.split_once('.').map_or((time, None), |(time, fraction)| (time, Some(fraction)));
    if fraction.is_some_and(|part| !(1..=9).contains(&part.len()) || !part.bytes().all(|byte| byte.is_ascii_digit())) {
        return None;
    }
    let mut parts = time.splitn(3, ':');
    let mut part = || digits(parts.next()?, 2);
    let (hour, minute, second) = (part()?, part()?, part()?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let zone = match zone {
        "Z" | "+00:00" | "-00:00" => "Z",
        _ => {
            let (hours, minutes) = zone[1..].split_once(':')?;
            let fits = hours.len() == 2 && minutes.len() == 2 && digits(hours, 2)? <= 24 && digits(minutes, 2)? <= 60;
            fits.then_some(zone)?
        }
    };
    Some(format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{zone}"))
}

/// Quotes a text for a message, not all of a long one.
fn quote(text: &str) -> String {
    let mut shown: String = text.chars().take(60).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    format!("{shown:?}")
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
