//! Owns Go's own functions.

use std::cmp::Ordering;

use super::arguments::{Answer, Arguments};
use crate::go::strings;
use crate::go_template::printf;
use crate::go_template::value::Value;

/// What one is: arguments → answer.
type Function = fn(&Arguments<'_>) -> Answer;

/// Each with its name.
pub(super) const FUNCTIONS: &[(&str, Function)] = &[
    ("call", |_| Err("error calling call: non-function".into())),
    ("eq", compare),
    ("ge", compare),
    ("gt", compare),
    ("html", |arguments| Ok(escape_html(&printf::print(arguments.values)).into())),
    ("index", index),
    ("js", |arguments| Ok(escape_js(&printf::print(arguments.values)).into())),
    ("le", compare),
    ("len", |arguments| length(arguments.only()?)),
    ("lt", compare),
    ("ne", compare),
    ("not", |arguments| Ok((!arguments.only()?.is_true()).into())),
    ("print", |arguments| Ok(printf::print(arguments.values).into())),
    ("printf", |arguments| {
        let format = arguments.text(0)?;
        Ok(printf::format(format, arguments.values.get(1..).unwrap_or_default()).into())
    }),
    ("println", |arguments| Ok(printf::print_line(arguments.values).into())),
    ("slice", slice),
    ("urlquery", |arguments| Ok(strings::query_escape(&printf::print(arguments.values)).into())),
];

fn compare(arguments: &Arguments<'_>) -> Answer {
    let name = arguments.name;
    let Some((first, rest)) = arguments.values.split_first() else {
        return Err(format!("wrong number of args for {name}: want at least 1 got 0"));
    };
    let least = if name == "eq" { rest.len().max(1) } else { 1 };
    if rest.len() != least || rest.is_empty() {
        return Err(format!("error calling {name}: missing argument for comparison"));
    }
    let same = |left: &Value, right: &Value| match (left, right) {
        (Value::List(_) | Value::Map(_), _) | (_, Value::List(_) | Value::Map(_)) => Err("non-comparable type"),
        (Value::Nil, Value::Nil) => Ok(true),
        (Value::Nil, _) | (_, Value::Nil) => Ok(false),
        _ if std::mem::discriminant(left) == std::mem::discriminant(right) => Ok(left == right),
        _ => Err("incompatible types for comparison"),
    };
    let order = |left: &Value, right: &Value| match (left, right) {
        (Value::Integer(left), Value::Integer(right)) => Ok(left.cmp(right)),
        (Value::Float(left), Value::Float(right)) => Ok(left.partial_cmp(right).unwrap_or(Ordering::Equal)),
        (Value::String(left), Value::String(right)) => Ok(left.cmp(right)),
        (Value::Bool(_), Value::Bool(_)) | (Value::Complex(..), Value::Complex(..)) => {
            Err("invalid type for comparison")
        }
        _ => Err("incompatible types for comparison"),
    };
    let answer = match name {
        "eq" => {
            let mut any = Ok(false);
            for other in rest {
                if same(first, other)? {
                    any = Ok(true);
                    break;
                }
            }
            any
        }
        "ne" => same(first, &rest[0]).map(|same| !same),
        "lt" => order(first, &rest[0]).map(Ordering::is_lt),
        "le" => order(first, &rest[0]).map(Ordering::is_le),
        "gt" => order(first, &rest[0]).map(Ordering::is_gt),
        _ => order(first, &rest[0]).map(Ordering::is_ge),
    };
    answer.map(Value::from).map_err(|error| format!("error calling {name}: {error}"))
}

fn length(value: &Value) -> Result<Value, String> {
    let length = match value {
        Value::String(text) => text.len(),
        Value::List(items) => items.len(),
        Value::Map(entries) => entries.len(),
        Value::Nil => return Err("error calling len: len of nil pointer".into()),
        other => return Err(format!("error calling len: len of type {}", printf::type_name(other))),
    };
    Ok(Value::Integer(i64::try_from(length).unwrap_or(i64::MAX)))
}

fn index(arguments: &Arguments<'_>) -> Answer {
    let Some((first, keys)) = arguments.values.split_first() else {
        return Err("wrong number of args for index: want at least 1 got 0".into());
    };
    let mut value = first.clone();
    for key in keys {
        value = match (&value, key) {
            (Value::List(items), Value::Integer(position)) => usize::try_from(*position)
                .ok()
                .and_then(|position| items.get(position).cloned())
                .ok_or_else(|| format!("error calling index: index out of range: {position}"))?,
            (Value::String(text), Value::Integer(position)) => usize::try_from(*position)
                .ok()
                .and_then(|position| text.as_bytes().get(position))
                .map(|byte| Value::Integer(i64::from(*byte)))
                .ok_or_else(|| format!("error calling index: index out of range: {position}"))?,
            (Value::Map(entries), Value::String(name)) => entries.get(name).cloned().unwrap_or(Value::Nil),
            (Value::Nil, _) => return Err("error calling index: index of untyped nil".into()),
            (other, key) => {
                return Err(format!(
                    "error calling index: can't index {} by {}",
                    printf::type_name(other),
                    printf::shown(key)
                ));
            }
        };
    }
    Ok(value)
}

fn slice(arguments: &Arguments<'_>) -> Answer {
    let Some((first, bounds)) = arguments.values.split_first() else {
        return Err("wrong number of args for slice: want at least 1 got 0".into());
    };
    let length = match first {
        Value::String(text) => text.len(),
        Value::List(items) => items.len(),
        other => return Err(format!("error calling slice: can't slice item of type {}", printf::type_name(other))),
    };
    let bound = |index: usize, default: usize| match bounds.get(index) {
        None => Ok(default),
        Some(Value::Integer(at)) => usize::try_from(*at)
            .ok()
            .filter(|at| *at <= length)
            .ok_or_else(|| format!("error calling slice: index out of range: {at}")),
        Some(other) => Err(format!("error calling slice: cannot index slice with type {}", printf::type_name(other))),
    };
    let (from, to) = (bound(0, 0)?, bound(1, length)?);
    if from > to {
        return Err(format!("error calling slice: invalid slice index: {from} > {to}"));
    }
    match first {
        Value::String(text) => match text.get(from..to) {
            Some(part) => Ok(part.into()),
            None => Ok(String::from_utf8_lossy(&text.as_bytes()[from..to]).into_owned().into()),
        },
        Value::List(items) => Ok(Value::List(items[from..to].to_vec())),
        _ => Ok(Value::Nil),
    }
}

fn escape_html(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '"' => out.push_str("&#34;"),
            '\'' => out.push_str("&#39;"),
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '\0' => out.push('\u{fffd}'),
            c => out.push(c),
        }
        out
    })
}

fn escape_js(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '\\' => out.push_str("\\\\"),
            '\'' => out.push_str("\\'"),
            '"' => out.push_str("\\\""),
            '<' => out.push_str("\\u003C"),
            '>' => out.push_str("\\u003E"),
            '&' => out.push_str("\\u0026"),
            '=' => out.push_str("\\u003D"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04X}", u32::from(c))),
            c => out.push(c),
        }
        out
    })
}
