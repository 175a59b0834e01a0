//! Owns Go's `fmt` verbs, as far as template values can show them.

use super::value::Value;
use crate::go::strings;

/// Longest width or precision that is honoured.
const MAX_WIDTH: usize = 10_000;

/// Returns a value's Go type.
pub(super) fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Nil => "<nil>",
        Value::Bool(_) => "bool",
        Value::Integer(_) => "int",
        Value::Float(_) => "float64",
        Value::Complex(..) => "complex128",
        Value::String(_) => "string",
        Value::List(_) => "[]interface {}",
        Value::Map(_) => "map[string]interface {}",
    }
}

/// Writes `%v`.
fn verb_v(value: &Value) -> String {
    match value {
        Value::Nil => "<nil>".into(),
        Value::Bool(truth) => truth.to_string(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => strings::float_general(*number),
        Value::Complex(..) => one('v', "", None, None, value),
        Value::String(text) => text.clone(),
        Value::List(items) => format!("[{}]", items.iter().map(verb_v).collect::<Vec<_>>().join(" ")),
        Value::Map(entries) => {
            let entries: Vec<String> = entries.iter().map(|(key, value)| format!("{key}:{}", verb_v(value))).collect();
            format!("map[{}]", entries.join(" "))
        }
    }
}

/// Writes a value as Go's templates print it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::Nil => "<no value>".into(),
        other => verb_v(other),
    }
}

/// Writes values as `fmt.Sprint`: a blank between operands when neither is a text.
pub(super) fn print(values: &[Value]) -> String {
    let mut out = String::new();
    let mut after_text = true;
    for value in values {
        let is_text = matches!(value, Value::String(_));
        if !after_text && !is_text {
            out.push(' ');
        }
        out.push_str(&verb_v(value));
        after_text = is_text;
    }
    out
}

/// Writes values as `fmt.Sprintln`.
pub(super) fn print_line(values: &[Value]) -> String {
    let texts: Vec<String> = values.iter().map(verb_v).collect();
    texts.join(" ") + "\n"
}

/// Writes values as `fmt.Sprintf`.
pub(super) fn format(text: &str, values: &[Value]) -> String {
    let mut out = String::new();
    let mut next = 0;
    let mut rest = text;
    while let Some(percent) = rest.find('%') {
        out.push_str(&rest[..percent]);
        rest = &rest[percent + 1..];
        let flags_end = rest.find(|c| !"+-# 0".contains(c)).unwrap_or(rest.len());
        let flags = &rest[..flags_end];
        rest = &rest[flags_end..];
        let width = number(&mut rest, values, &mut next);
        let precision = match rest.strip_prefix('.') {
            Some(after) => {
                rest = after;
                Some(number(&mut rest, values, &mut next).unwrap_or(0))
            }
            None => None,
        };
        let Some(verb) = rest.chars().next() else {
            out.push_str("%!(NOVERB)");
            return out;
        };
        rest = &rest[verb.len_utf8()..];
        if verb == '%' {
            out.push('%');
            continue;
        }
        let Some(value) = values.get(next) else {
            out.push_str(&format!("%!{verb}(MISSING)"));
            continue;
        };
        next += 1;
        out.push_str(&one(verb, flags, width, precision, value));
    }
    out.push_str(rest);
    if next < values.len() {
        let extra: Vec<String> =
            values[next..].iter().map(|value| format!("{}={}", type_name(value), verb_v(value))).collect();
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn number(rest: &mut &str, values: &[Value], next: &mut usize) -> Option<usize> {
    if let Some(after) = rest.strip_prefix('*') {
        *rest = after;
        let found = values.get(*next);
        *next += 1;
        return match found {
            Some(Value::Integer(number)) => usize::try_from(*number).ok().map(|number| number.min(MAX_WIDTH)),
            _ => None,
        };
    }
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (digits, after) = rest.split_at(end);
    *rest = after;
    digits.parse::<usize>().ok().map(|number| number.min(MAX_WIDTH))
}

fn one(verb: char, flags: &str, width: Option<usize>, precision: Option<usize>, value: &Value) -> String {
    // The plus of `%+v` is about structs, which there are none of.
    let plain = flags.replace('+', "");
    let flags = if verb == 'v' { &*plain } else { flags };
    let has = |flag: char| flags.contains(flag);
    let bad = || match value {
        Value::Nil => format!("%!{verb}(<nil>)"),
        _ => format!("%!{verb}({}={})", type_name(value), one('v', flags, width, precision, value)),
    };
    let cut = |text: &str| match precision {
        Some(limit) => text.chars().take(limit).collect::<String>(),
        None => text.to_owned(),
    };
    let mut numeric = false;
    let body = match (verb, value) {
        ('v', Value::String(text)) if has('#') => format!("{text:?}"),
        ('v', Value::Integer(_)) => return one('d', flags, width, precision, value),
        ('v', Value::Float(_)) => return one('g', flags, width, precision, value),
        ('v' | 'f' | 'F' | 'e' | 'E' | 'g' | 'G', Value::Complex(real, imaginary)) => {
            let verb = if verb == 'v' { 'g' } else { verb };
            let signed = format!("+{flags}");
            let real = one(verb, flags, width, precision, &Value::Float(*real));
            return format!("({real}{}i)", one(verb, &signed, width, precision, &Value::Float(*imaginary)));
        }
        ('v', _) => cut(&verb_v(value)),
        ('T', _) => type_name(value).to_owned(),
        ('t', Value::Bool(truth)) => truth.to_string(),
        ('s', Value::String(text)) => cut(text),
        ('s', Value::List(_) | Value::Map(_)) => verb_v(value),
        ('q', Value::String(text)) if has('#') && !text.contains('`') => format!("`{text}`"),
        ('q', Value::String(text)) => strings::quote(&cut(text)),
        ('q', Value::Integer(code)) => {
            let c = u32::try_from(*code).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
            format!("'{}'", if c == '\'' { "\\'".to_owned() } else { c.to_string() })
        }
        ('x' | 'X', Value::String(text)) => {
            let digits: String = text.bytes().map(|byte| format!("{byte:02x}")).collect();
            if verb == 'X' { digits.to_uppercase() } else { digits }
        }
        ('c', Value::Integer(code)) => {
            u32::try_from(*code).ok().and_then(char::from_u32).unwrap_or('\u{fffd}').to_string()
        }
        ('U', Value::Integer(code)) => format!("U+{code:04X}"),
        ('d' | 'b' | 'o' | 'O' | 'x' | 'X', Value::Integer(number)) => {
            numeric = true;
            let magnitude = number.unsigned_abs();
            let digits = match verb {
                'd' => magnitude.to_string(),
                'b' => format!("{}{magnitude:b}", if has('#') { "0b" } else { "" }),
                'o' => format!("{}{magnitude:o}", if has('#') { "0" } else { "" }),
                'O' => format!("0o{magnitude:o}"),
                'x' => format!("{}{magnitude:x}", if has('#') { "0x" } else { "" }),
                _ => format!("{}{magnitude:X}", if has('#') { "0X" } else { "" }),
            };
            let digits = format!("{}{digits}", "0".repeat(precision.unwrap_or(0).saturating_sub(digits.len())));
            signed(*number < 0, &digits, flags)
        }
        ('f' | 'F' | 'e' | 'E' | 'g' | 'G', Value::Float(number)) => {
            numeric = true;
            let magnitude = number.abs();
            let digits = match verb {
                'f' | 'F' => format!("{magnitude:.*}", precision.unwrap_or(6)),
                'e' | 'E' => strings::float_exponent(magnitude, Some(precision.unwrap_or(6))),
                _ => strings::float_general_precision(magnitude, precision),
            };
            let digits = if verb.is_uppercase() { digits.to_uppercase() } else { digits };
            signed(number.is_sign_negative(), &digits, flags)
        }
        _ => return bad(),
    };
    pad(&body, flags, width, numeric)
}

fn signed(negative: bool, digits: &str, flags: &str) -> String {
    let sign = match negative {
        true => "-",
        false if flags.contains('+') => "+",
        false if flags.contains(' ') => " ",
        false => "",
    };
    format!("{sign}{digits}")
}

fn pad(body: &str, flags: &str, width: Option<usize>, numeric: bool) -> String {
    let missing = width.unwrap_or(0).saturating_sub(body.chars().count());
    if missing == 0 {
        return body.to_owned();
    }
    if flags.contains('-') {
        return format!("{body}{}", " ".repeat(missing));
    }
    if flags.contains('0') {
        let sign = usize::from(numeric && body.starts_with(['-', '+', ' ']));
        return format!("{}{}{}", &body[..sign], "0".repeat(missing), &body[sign..]);
    }
    format!("{}{body}", " ".repeat(missing))
}
