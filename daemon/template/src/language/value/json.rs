//! Owns values as JSON: `jsonencode`, `jsondecode`, and the way console and inspect show values.

use std::fmt::Write as _;

use super::data::{Data, Entries, Value};
use super::number::Number;
use crate::language::limits::MAX_DEPTH;

/// Writes a value as Go's JSON encoder does for cty: no blanks, keys sorted, `<`, `>`, `&` escaped.
///
/// Unknown parts become `null`; the caller refuses them where that would be wrong.
pub(crate) fn encode(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, &mut out);
    out
}

fn write_value(value: &Value, out: &mut String) {
    match value.data() {
        Data::Null(_) | Data::Unknown(_) => out.push_str("null"),
        Data::Bool(truth) => out.push_str(if *truth { "true" } else { "false" }),
        Data::Number(number) => _ = write!(out, "{number}"),
        Data::String(text) => write_string(text, out),
        Data::List(_, elements) | Data::Set(_, elements) | Data::Tuple(elements) => {
            out.push('[');
            for (index, element) in elements.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(element, out);
            }
            out.push(']');
        }
        Data::Map(_, entries) | Data::Object(entries) => {
            out.push('{');
            for (index, (key, element)) in entries.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_string(key, out);
                out.push(':');
                write_value(element, out);
            }
            out.push('}');
        }
    }
}

/// Writes a JSON string as Go does by default.
pub(crate) fn write_string(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c if u32::from(c) < 0x20 => _ = write!(out, "\\u{:04x}", u32::from(c)),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Why a JSON text cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct JsonError(pub(crate) String);

/// Reads a JSON text into objects, tuples and primitives with exact numbers; the last of equal keys wins.
pub(crate) fn decode(text: &str) -> Result<Value, JsonError> {
    let mut reader = Reader { text, at: 0 };
    reader.blanks();
    if reader.at == text.len() {
        return Err(JsonError("EOF".into()));
    }
    let value = reader.value(0)?;
    reader.blanks();
    match reader.rest().chars().next() {
        None => Ok(value),
        Some(c) => Err(JsonError(format!("extraneous data after JSON object: {c:?} at offset {}", reader.at))),
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn unexpected(&self, wanted: &str) -> JsonError {
        match self.rest().chars().next() {
            Some(c) => JsonError(format!("invalid character {c:?} at offset {}, looking for {wanted}", self.at)),
            None => JsonError("unexpected end of JSON input".into()),
        }
    }

    fn eat(&mut self, text: &str) -> bool {
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    fn value(&mut self, depth: u32) -> Result<Value, JsonError> {
        if depth > MAX_DEPTH * 3 {
            return Err(JsonError("exceeded max depth".into()));
        }
        match self.rest().bytes().next() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => Ok(Value::string(&self.string()?)),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ if self.eat("true") => Ok(true.into()),
            _ if self.eat("false") => Ok(false.into()),
            _ if self.eat("null") => Ok(Value::null()),
            _ => Err(self.unexpected("beginning of value")),
        }
    }

    fn object(&mut self, depth: u32) -> Result<Value, JsonError> {
        self.eat("{");
        let mut entries = Entries::new();
        self.blanks();
        if self.eat("}") {
            return Ok(Value::object(entries));
        }
        loop {
            self.blanks();
            if !self.rest().starts_with('"') {
                return Err(self.unexpected("beginning of object key string"));
            }
            let key = Value::string(&self.string()?);
            self.blanks();
            if !self.eat(":") {
                return Err(self.unexpected("\":\" after object key"));
            }
            self.blanks();
            let value = self.value(depth + 1)?;
            entries.insert(key.as_str().unwrap_or_default().into(), value);
            self.blanks();
            if self.eat("}") {
                return Ok(Value::object(entries));
            }
            if !self.eat(",") {
                return Err(self.unexpected("\",\" or \"}\" after object key:value pair"));
            }
        }
    }

    fn array(&mut self, depth: u32) -> Result<Value, JsonError> {
        self.eat("[");
        let mut elements = Vec::new();
        self.blanks();
        if self.eat("]") {
            return Ok(Value::tuple(elements));
        }
        loop {
            self.blanks();
            elements.push(self.value(depth + 1)?);
            self.blanks();
            if self.eat("]") {
                return Ok(Value::tuple(elements));
            }
            if !self.eat(",") {
                return Err(self.unexpected("\",\" or \"]\" after array element"));
            }
        }
    }

    fn number(&mut self) -> Result<Value, JsonError> {
        let rest = self.rest();
        let length = rest.find(|c: char| !matches!(c, '-' | '+' | '.' | 'e' | 'E' | '0'..='9')).unwrap_or(rest.len());
        let text = &rest[..length];
        let digits = text.strip_prefix('-').unwrap_or(text);
        let leading_zero = digits.len() > 1 && digits.starts_with('0') && digits.as_bytes()[1].is_ascii_digit();
        let bare_dot =
            digits.starts_with('.') || digits.ends_with('.') || digits.contains(".e") || digits.contains(".E");
        match Number::parse(text) {
            Some(number) if !leading_zero && !bare_dot && !digits.starts_with('+') => {
                self.at += length;
                Ok(number.into())
            }
            _ => Err(JsonError(format!("invalid number {text:?} at offset {}", self.at))),
        }
    }

    fn string(&mut self) -> Result<String, JsonError> {
        let rest = self.rest();
        let (text, length) = read_string(rest)
            .map_err(|(reason, at)| JsonError(format!("{reason} in string literal at offset {}", self.at + at)))?;
        self.at += length;
        Ok(text)
    }
}

/// Reads a JSON string that begins at the quote; returns its text and its length with both quotes, or what is wrong and
/// where.
pub(crate) fn read_string(text: &str) -> Result<(String, usize), (String, usize)> {
    let mut out = String::new();
    let mut at = 1;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        let Some(c) = rest.chars().next() else { return Err(("unexpected end".into(), at)) };
        match c {
            '"' => return Ok((out, at + 1)),
            '\\' => {
                let (c, length) = read_escape(rest).ok_or_else(|| ("invalid escape".to_owned(), at))?;
                out.push(c);
                at += length;
            }
            c if u32::from(c) < 0x20 => return Err((format!("invalid character {c:?}"), at)),
            c => {
                out.push(c);
                at += c.len_utf8();
            }
        }
    }
}

/// Reads one escape sequence; lone surrogates become the replacement character, as in Go.
fn read_escape(text: &str) -> Option<(char, usize)> {
    let unit = |at: usize| -> Option<u32> {
        let digits = text.get(at..at + 4)?;
        if digits.bytes().all(|byte| byte.is_ascii_hexdigit()) { u32::from_str_radix(digits, 16).ok() } else { None }
    };
    let c = match text.as_bytes().get(1)? {
        b'"' => '"',
        b'\\' => '\\',
        b'/' => '/',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'u' => {
            let first = unit(2)?;
            if (0xd800..0xdc00).contains(&first)
                && text.get(6..8) == Some("\\u")
                && let Some(second @ 0xdc00..0xe000) = unit(8)
            {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Some((char::from_u32(code)?, 12));
            }
            return Some((char::from_u32(first).unwrap_or('\u{fffd}'), 6));
        }
        _ => return None,
    };
    Some((c, 2))
}
