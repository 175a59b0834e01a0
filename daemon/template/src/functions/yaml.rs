//! Owns `yamldecode` and `yamlencode`.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{Answer, Call, Failure, Function, any, function, text};
use crate::value::{Data, Entries, Number, Value, json};

pub(super) const FUNCTIONS: &[Function] = &[
    function("yamldecode", &[text("src")], decode),
    function("yamlencode", &[any("value").or_null()], |call| {
        let mut out = String::new();
        write(call.value(0), 0, Position::Document, &mut out);
        if !out.ends_with('\n') {
            out.push('\n');
        }
        Ok(out.into())
    }),
];

fn decode(call: &Call<'_>) -> Answer {
    let text = call.text(0);
    if text.trim().is_empty() {
        return Ok(Value::null());
    }
    let found: Found = serde_saphyr::from_str(text).map_err(|error| {
        let message = error.to_string();
        Failure::at(0, message.lines().next().unwrap_or_default().to_owned())
    })?;
    Ok(found.0)
}

/// A value as YAML spells it.
struct Found(Value);

impl<'de> Deserialize<'de> for Found {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(FoundVisitor)
    }
}

struct FoundVisitor;

impl<'de> Visitor<'de> for FoundVisitor {
    type Value = Found;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Found, E> {
        Ok(Found(Value::null()))
    }

    fn visit_none<E>(self) -> Result<Found, E> {
        Ok(Found(Value::null()))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Found, D::Error> {
        Found::deserialize(deserializer)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Found, E> {
        Ok(Found(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Found, E> {
        Ok(Found(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Found, E> {
        Ok(Found(Number::from(dashu_int::IBig::from(value)).into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Found, E> {
        Ok(Found(Number::from(dashu_int::IBig::from(value)).into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Found, E> {
        let text = value.to_string();
        let number = Number::parse(&text).ok_or_else(|| E::custom("the number is not finite"))?;
        Ok(Found(number.into()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Found, E> {
        Ok(Found(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Found, A::Error> {
        let mut elements = Vec::new();
        while let Some(Found(element)) = sequence.next_element()? {
            elements.push(element);
        }
        Ok(Found(Value::tuple(elements)))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Found, A::Error> {
        let mut entries = Entries::new();
        while let Some((Found(key), Found(value))) = map.next_entry()? {
            let key =
                crate::value::convert::convert(&key, &crate::value::Type::String).map_err(serde::de::Error::custom)?;
            entries.insert(key.as_str().unwrap_or_default().into(), value);
        }
        Ok(Found(Value::object(entries)))
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
