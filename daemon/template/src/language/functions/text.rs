//! Owns the functions on strings, except those with patterns or formats.

use unicode_segmentation::UnicodeSegmentation as _;

use super::table::{Answer, Call, Failure, Function, Kind, function, number, of, text};
use crate::go::strings::{lower, upper};
use crate::language::limits::{MAX_ELEMENTS, MAX_TEXT};
use crate::language::value::{Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    function("chomp", &[text("str")], |call| Ok(call.text(0).trim_end_matches(['\n', '\r']).into())),
    function("endswith", &[text("str"), text("suffix")], |call| Ok(call.text(0).ends_with(call.text(1)).into())),
    function("indent", &[number("spaces"), text("str")], indent),
    function("join", &[text("separator")], join).rest(of(Kind::Texts, "lists")),
    function("lower", &[text("str")], |call| Ok(call.text(0).chars().map(lower).collect::<String>().into())),
    function("upper", &[text("str")], |call| Ok(call.text(0).chars().map(upper).collect::<String>().into())),
    function("replace", &[text("str"), text("substr"), text("replace")], replace),
    function("split", &[text("separator"), text("str")], split),
    function("startswith", &[text("str"), text("prefix")], |call| Ok(call.text(0).starts_with(call.text(1)).into())),
    function("strcontains", &[text("str"), text("substr")], |call| Ok(call.text(0).contains(call.text(1)).into())),
    function("strrev", &[text("str")], |call| Ok(call.text(0).graphemes(true).rev().collect::<String>().into())),
    function("substr", &[text("str"), number("offset"), number("length")], substr),
    function("title", &[text("str")], |call| Ok(title(call.text(0)).into())),
    function("trim", &[text("str"), text("cutset")], |call| {
        let cutset: Vec<char> = call.text(1).chars().collect();
        Ok(call.text(0).trim_matches(cutset.as_slice()).into())
    }),
    function("trimprefix", &[text("str"), text("prefix")], |call| {
        Ok(call.text(0).strip_prefix(call.text(1)).unwrap_or(call.text(0)).into())
    }),
    function("trimspace", &[text("str")], |call| Ok(call.text(0).trim().into())),
    function("trimsuffix", &[text("str"), text("suffix")], |call| {
        Ok(call.text(0).strip_suffix(call.text(1)).unwrap_or(call.text(0)).into())
    }),
];

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|c| {
            let mapped = if start { upper(c) } else { c };
            start = if c.is_ascii() { !(c.is_ascii_alphanumeric() || c == '_') } else { c.is_whitespace() };
            mapped
        })
        .collect()
}

fn indent(call: &Call<'_>) -> Answer {
    let spaces = usize::try_from(call.integer(0)?).map_err(|_| Failure::at(0, "the number must not be negative"))?;
    let lines = call.text(1).matches('\n').count();
    if spaces.saturating_mul(lines) > MAX_TEXT {
        return Err(Failure::at(0, "the result would be larger than 64 MiB"));
    }
    Ok(call.text(1).replace('\n', &format!("\n{}", " ".repeat(spaces))).into())
}

fn join(call: &Call<'_>) -> Answer {
    if call.arguments.len() < 2 {
        return Err(Failure::new("at least one list is required"));
    }
    let mut parts = Vec::new();
    for index in 1..call.arguments.len() {
        for (position, element) in call.elements(index).iter().enumerate() {
            match element.as_str() {
                Some(text) => parts.push(text.to_owned()),
                None => {
                    let message = format!("element {position} is null; cannot concatenate null values");
                    return Err(Failure::at(index, message));
                }
            }
        }
    }
    let length: usize = parts.iter().map(String::len).sum();
    if call.text(0).len().saturating_mul(parts.len()).saturating_add(length) > MAX_TEXT {
        return Err(Failure::new("the result would be larger than 64 MiB"));
    }
    Ok(parts.join(call.text(0)).into())
}

fn replace(call: &Call<'_>) -> Answer {
    let (text, from, to) = (call.text(0), call.text(1), call.text(2));
    let times = if from.is_empty() { text.len() + 1 } else { text.matches(from).count() };
    if times.saturating_mul(to.len()) > MAX_TEXT {
        return Err(Failure::new("the result would be larger than 64 MiB"));
    }
    Ok(text.replace(from, to).into())
}

fn split(call: &Call<'_>) -> Answer {
    let (separator, text) = (call.text(0), call.text(1));
    let count = if separator.is_empty() { text.len() } else { text.matches(separator).count() };
    if count > MAX_ELEMENTS {
        return Err(Failure::new(format!("the result would have more than {MAX_ELEMENTS} elements")));
    }
    if separator.is_empty() {
        let characters: Vec<Value> = text.chars().map(|c| Value::string(c.encode_utf8(&mut [0; 4]))).collect();
        return Ok(Value::list(Type::String, characters));
    }
    Ok(Value::list_of_strings(text.split(separator)))
}

fn substr(call: &Call<'_>) -> Answer {
    let clusters: Vec<&str> = call.text(0).graphemes(true).collect();
    let total = i64::try_from(clusters.len()).unwrap_or(i64::MAX);
    let (mut offset, length) = (call.integer(1)?, call.integer(2)?);
    if offset < 0 {
        offset += total;
    }
    if length == 0 || offset >= total {
        return Ok("".into());
    }
    Ok(from_start(&clusters, offset, length))
}

/// Returns `length` clusters from `offset` on; all of them when the length is negative. A place before the beginning is
/// the beginning.
fn from_start(clusters: &[&str], offset: i64, length: i64) -> Value {
    let start = usize::try_from(offset.max(0)).unwrap_or(0).min(clusters.len());
    let end = if length < 0 {
        clusters.len()
    } else {
        start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX)).min(clusters.len())
    };
    clusters[start..end].concat().into()
}
