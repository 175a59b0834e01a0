//! Owns the functions of Go templates: Go's own and Packer's.

use std::cmp::Ordering;

use super::{Context, PACKER_VERSION, Value, printf};
use crate::world::data::DataMode;
use crate::components::generated::Generated;
use crate::world::secret_stores;
use crate::diagnostics::suggest::did_you_mean;
use crate::go::time_layout;

/// Go's functions, without the ones that stop early.
const BUILTIN: &[&str] = &[
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf",
    "println", "slice", "urlquery",
];

/// Packer's functions.
const PACKER: &[&str] = &[
    "aws_secretsmanager",
    "aws_secretsmanager_raw",
    "build",
    "build_name",
    "build_type",
    "consul_key",
    "env",
    "isotime",
    "lower",
    "packer_version",
    "pwd",
    "replace",
    "replace_all",
    "sed",
    "split",
    "strftime",
    "template_dir",
    "timestamp",
    "upper",
    "user",
    "uuid",
    "vault",
];

/// Reports whether a function exists; the error says so as Go does.
pub(super) fn check(name: &str) -> Result<(), String> {
    if BUILTIN.contains(&name) || PACKER.contains(&name) {
        return Ok(());
    }
    let hint = did_you_mean(name, BUILTIN.iter().chain(PACKER).copied());
    Err(format!("function {name:?} not defined{}", hint.map_or_else(String::new, |hint| format!(" ({hint})"))))
}

/// Writes a value as Go's templates print it.
pub(super) fn print(value: &Value) -> String {
    match value {
        Value::Nil => "<no value>".into(),
        other => printf::verb_v(other),
    }
}

/// Calls a function.
pub(super) fn call(name: &str, arguments: &[Value], context: &Context) -> Result<Value, String> {
    check(name)?;
    let count = |least: usize, most: usize| {
        let got = arguments.len();
        if (least..=most).contains(&got) {
            return Ok(());
        }
        let want = if least == most { least.to_string() } else { format!("at least {least}") };
        Err(format!("wrong number of args for {name}: want {want} got {got}"))
    };
    let text = |index: usize| match arguments.get(index) {
        Some(Value::String(text)) => Ok(text.as_str()),
        Some(other) => {
            Err(format!("wrong type for argument {} of {name}: expected string; found {}", index + 1, print(other)))
        }
        None => Err(format!("wrong number of args for {name}: want {} got {}", index + 1, arguments.len())),
    };
    let integer = |index: usize| match arguments.get(index) {
        Some(Value::Integer(number)) => Ok(*number),
        Some(other) => Err(format!("expected integer; found {}", print(other))),
        None => Err(format!("wrong number of args for {name}: want {} got {}", index + 1, arguments.len())),
    };
    match name {
        "build_name" | "build_type" | "template_dir" | "pwd" | "packer_version" | "timestamp" | "uuid" => count(0, 0)?,
        "upper" | "lower" => count(1, 1)?,
        _ => {}
    }
    match name {
        "not" => {
            count(1, 1)?;
            Ok((!super::execute::truth(&arguments[0])).into())
        }
        "eq" | "ne" | "lt" | "le" | "gt" | "ge" => compare(name, arguments),
        "len" => {
            count(1, 1)?;
            length(&arguments[0])
        }
        "index" => index(arguments),
        "slice" => slice(arguments),
        "print" => Ok(printf::print(arguments).into()),
        "println" => Ok(printf::print_line(arguments).into()),
        "printf" => Ok(printf::format(text(0)?, &arguments[1..]).into()),
        "html" => Ok(escape_html(&printf::print(arguments)).into()),
        "js" => Ok(escape_js(&printf::print(arguments)).into()),
        "urlquery" => Ok(crate::go::strings::query_escape(&printf::print(arguments)).into()),
        "call" => Err("error calling call: non-function".into()),
        "user" => {
            count(1, 1)?;
            Ok(context.variables.get(text(0)?).cloned().unwrap_or_default().into())
        }
        "env" => {
            count(1, 1)?;
            match &context.environment {
                Some(environment) => Ok(environment.get(text(0)?).cloned().unwrap_or_default().into()),
                None => Err("error calling env: env vars are not allowed here".into()),
            }
        }
        "build_name" => context
            .build_name
            .clone()
            .map(Value::from)
            .ok_or_else(|| "error calling build_name: build_name not available".into()),
        "build_type" => context
            .build_type
            .clone()
            .map(Value::from)
            .ok_or_else(|| "error calling build_type: build_type not available".into()),
        "build" => {
            count(1, 1)?;
            let key = text(0)?;
            match context.build.get(key) {
                Some(value) => Ok(value.clone().into()),
                None if context.build.is_empty() => {
                    Err("error calling build: loading build data: build data is not available here".into())
                }
                None => {
                    let hint = did_you_mean(key, context.build.keys().map(String::as_str));
                    let hint = hint.map_or_else(String::new, |hint| format!(" ({hint})"));
                    Err(format!("error calling build: there is no build value named {key:?}{hint}"))
                }
            }
        }
        "template_dir" => match &context.template_dir {
            Some(path) => Ok(path.to_string_lossy().into_owned().into()),
            None => Err("error calling template_dir: template_dir is not available".into()),
        },
        "pwd" => Ok(context.cwd.to_string_lossy().into_owned().into()),
        "packer_version" => Ok(PACKER_VERSION.into()),
        "timestamp" => Ok(context.now.as_second().to_string().into()),
        "isotime" => {
            count(0, 1)?;
            let layout = if arguments.is_empty() { time_layout::RFC3339 } else { text(0)? };
            Ok(time_layout::go(layout, context.now).into())
        }
        "strftime" => {
            count(0, 1)?;
            if arguments.is_empty() {
                return Ok(time_layout::go(time_layout::RFC3339, context.now).into());
            }
            time_layout::strftime(text(0)?, context.now)
                .map(Value::from)
                .map_err(|error| format!("error calling strftime: {error}"))
        }
        "uuid" => Ok(uuid::Uuid::now_v7().to_string().into()),
        "upper" => Ok(text(0)?.chars().map(crate::go::strings::upper).collect::<String>().into()),
        "lower" => Ok(text(0)?.chars().map(crate::go::strings::lower).collect::<String>().into()),
        "split" => {
            count(3, 3)?;
            split(text(0)?, text(1)?, integer(2)?)
        }
        "replace_all" => {
            count(3, 3)?;
            Ok(text(2)?.replace(text(0)?, text(1)?).into())
        }
        "replace" => {
            count(4, 4)?;
            let (old, new, times, source) = (text(0)?, text(1)?, integer(2)?, text(3)?);
            Ok(match usize::try_from(times) {
                Ok(times) => source.replacen(old, new, times).into(),
                Err(_) => source.replace(old, new).into(),
            })
        }
        "sed" => {
            Err("error calling sed: template function `sed` is deprecated; use `replace` or `replace_all` instead"
                .into())
        }
        "consul_key" | "vault" | "aws_secretsmanager" | "aws_secretsmanager_raw" if context.environment.is_none() => {
            Err(format!("error calling {name}: {name} is only allowed in the variables section"))
        }
        "consul_key" | "vault" => {
            count(if name == "vault" { 2 } else { 1 }, if name == "vault" { 2 } else { 1 })?;
            let environment = context.environment.as_ref().ok_or("no environment")?;
            let found = match &context.data {
                DataMode::Refuse => Err("stores of secrets are not read here; pass the value as a variable".into()),
                DataMode::Unknown => Ok(Generated::UNKNOWN.to_owned()),
                DataMode::Fetch(sources) if name == "vault" => {
                    secret_stores::vault(&**sources, environment, text(0)?, text(1)?)
                }
                DataMode::Fetch(sources) => secret_stores::consul_key(&**sources, environment, text(0)?),
            };
            found.map(Value::from).map_err(|reason| format!("error calling {name}: {reason}"))
        }
        other => Err(format!("error calling {other}: this version of Kiln does not read secrets from that service")),
    }
}

fn compare(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let Some((first, rest)) = arguments.split_first() else {
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

fn index(arguments: &[Value]) -> Result<Value, String> {
    let Some((first, keys)) = arguments.split_first() else {
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
                return Err(format!("error calling index: can't index {} by {}", printf::type_name(other), print(key)));
            }
        };
    }
    Ok(value)
}

fn slice(arguments: &[Value]) -> Result<Value, String> {
    let Some((first, bounds)) = arguments.split_first() else {
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

fn split(text: &str, separator: &str, position: i64) -> Result<Value, String> {
    let parts: Vec<String> = if separator.is_empty() {
        text.chars().map(String::from).collect()
    } else {
        text.split(separator).map(str::to_owned).collect()
    };
    let out_of_range = || "error calling split: the specified index is out of range".to_owned();
    let position = usize::try_from(position).map_err(|_| out_of_range())?;
    parts.get(position).cloned().map(Value::from).ok_or_else(out_of_range)
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
