//! Owns `format` and `formatlist`: Go's verbs on values.

use dashu_int::IBig;
use dashu_int::ops::UnsignedAbs as _;
use unicode_segmentation::UnicodeSegmentation as _;

use super::table::{Answer, Call, Failure, Function, any, function, text};
use crate::language::limits::MAX_TEXT;
use crate::language::value::convert::convert;
use crate::language::value::{Data, Number, Type, Value, json};

/// Largest width or precision.
const MAX_WIDTH: usize = 10_000;

pub(super) const FUNCTIONS: &[Function] = &[
    function("format", &[text("format")], |call| Ok(format(call.text(0), &call.arguments[1..])?.into()))
        .rest(any("args").or_null()),
    function("formatlist", &[text("format")], format_list).rest(any("args").or_null()),
];

/// One `%…` of a format.
struct Verb<'a> {
    raw: &'a str,
    offset: usize,
    flags: &'a str,
    width: Option<usize>,
    precision: Option<usize>,
    mode: char,
}

impl Verb<'_> {
    fn has(&self, flag: char) -> bool {
        self.flags.contains(flag)
    }

    fn unsupported(&self, reason: impl std::fmt::Display) -> Failure {
        Failure::new(format!("unsupported value for {:?} at {}: {reason}", self.raw, self.offset))
    }
}

fn format_list(call: &Call<'_>) -> Answer {
    let format_text = call.text(0);
    let arguments = &call.arguments[1..];
    let mut length: Option<(usize, usize)> = None;
    for (index, argument) in arguments.iter().enumerate() {
        let Some(elements) = argument.as_elements() else { continue };
        match length {
            None => length = Some((elements.len(), index)),
            Some((first, chooser)) if first != elements.len() => {
                let message = format!(
                    "argument {} has length {}, which is inconsistent with argument {} of length {first}",
                    index + 1,
                    elements.len(),
                    chooser + 1
                );
                return Err(Failure::at(index + 1, message));
            }
            Some(_) => {}
        }
    }
    let rounds = length.map_or(1, |(length, _)| length);
    let mut texts = Vec::with_capacity(rounds);
    let mut length_so_far = 0;
    for round in 0..rounds {
        let row: Vec<Value> = arguments
            .iter()
            .map(|argument| match argument.as_elements() {
                Some(elements) => elements.get(round).cloned().unwrap_or_else(Value::null),
                None => argument.clone(),
            })
            .collect();
        let text = format(format_text, &row).map_err(|failure| Failure {
            message: format!("error on format iteration {round}: {}", failure.message),
            ..failure
        })?;
        length_so_far += text.len();
        if length_so_far > MAX_TEXT {
            return Err(Failure::new("the result would be larger than 64 MiB"));
        }
        texts.push(text);
    }
    Ok(Value::list_of_strings(texts))
}

fn format(text: &str, arguments: &[Value]) -> Result<String, Failure> {
    let mut out = String::new();
    let mut next = 1;
    let mut highest = 0;
    let mut at = 0;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find('%')) {
        let offset = at + found;
        out.push_str(&text[at..offset]);
        if text[offset..].starts_with("%%") {
            out.push('%');
            at = offset + 2;
            continue;
        }
        let (verb, index) = parse_verb(text, offset)?;
        at = offset + verb.raw.len();
        let index = index.unwrap_or(next);
        next = index + 1;
        highest = highest.max(index);
        let Some(argument) = index.checked_sub(1).and_then(|index| arguments.get(index)) else {
            return Err(Failure::new(format!(
                "not enough arguments for {:?} at {offset}: need index {index} but have {} total",
                verb.raw,
                arguments.len()
            )));
        };
        out.push_str(&one(&verb, argument)?);
        if out.len() > MAX_TEXT {
            return Err(Failure::new("the result would be larger than 64 MiB"));
        }
    }
    out.push_str(text.get(at..).unwrap_or_default());
    if highest < arguments.len() {
        let message = match highest {
            0 => "too many arguments; no verbs in format string".to_owned(),
            used => format!("too many arguments; only {used} used by format string"),
        };
        return Err(Failure::at(highest + 1, message));
    }
    Ok(out)
}

/// Reads `%[flags][width][.precision][[index]]mode`.
fn parse_verb(text: &str, offset: usize) -> Result<(Verb<'_>, Option<usize>), Failure> {
    let invalid = |at: usize| match text.get(at..).and_then(|rest| rest.chars().next()) {
        Some(c) => Failure::new(format!("unrecognized format character {c:?} at offset {at}")),
        None => Failure::new(format!("invalid format string starting at offset {at}")),
    };
    let run = |from: usize, keep: &dyn Fn(char) -> bool| {
        let rest = text.get(from..).unwrap_or_default();
        from + rest.find(|c| !keep(c)).unwrap_or(rest.len())
    };
    let digits = |c: char| c.is_ascii_digit();
    let limited = |digits: &str| digits.parse::<usize>().ok().map(|number| number.min(MAX_WIDTH));
    let flags_end = run(offset + 1, &|c| " +-#0".contains(c));
    let width_end = run(flags_end, &digits);
    let width = limited(&text[flags_end..width_end]);
    let mut at = width_end;
    let mut precision = None;
    if text[at..].starts_with('.') {
        let end = run(at + 1, &digits);
        if end == at + 1 {
            return Err(invalid(end));
        }
        precision = limited(&text[at + 1..end]);
        at = end;
    }
    let mut index = None;
    if text[at..].starts_with('[') {
        let end = run(at + 1, &digits);
        index = text[at + 1..end].parse::<usize>().ok().filter(|index| *index > 0);
        if index.is_none() || !text[end..].starts_with(']') {
            return Err(invalid(end));
        }
        at = end + 1;
    }
    let Some(mode) = text[at..].chars().next().filter(char::is_ascii_alphabetic) else { return Err(invalid(at)) };
    let raw = &text[offset..at + 1];
    Ok((Verb { raw, offset, flags: &text[offset + 1..flags_end], width, precision, mode }, index))
}

fn one(verb: &Verb<'_>, argument: &Value) -> Result<String, Failure> {
    if verb.mode != 'v' && argument.is_null() {
        return Err(verb.unsupported("null value cannot be formatted"));
    }
    let converted = |ty: &Type| convert(argument, ty).map_err(|error| verb.unsupported(error));
    match verb.mode {
        'v' => Ok(pad(verb, &as_is(verb, argument))),
        't' => Ok(converted(&Type::Bool)?.as_bool().unwrap_or(false).to_string()),
        'b' | 'd' | 'o' | 'x' | 'X' | 'e' | 'E' | 'f' | 'g' | 'G' => {
            let value = converted(&Type::Number)?;
            let number = value.as_number().cloned().unwrap_or_else(Number::zero);
            let digits = match verb.mode {
                'b' | 'd' | 'o' | 'x' | 'X' => {
                    let integer = number.to_integer().ok_or_else(|| verb.unsupported("an integer is required"))?;
                    integer_digits(verb, &integer)
                }
                'f' => number.fixed(verb.precision.unwrap_or(6)),
                'e' => number.exponential(verb.precision.unwrap_or(6)),
                'E' => number.exponential(verb.precision.unwrap_or(6)).to_uppercase(),
                'g' => number.general(verb.precision),
                _ => number.general(verb.precision).to_uppercase(),
            };
            Ok(pad_number(verb, number.sign() < 0, &digits))
        }
        's' | 'q' => {
            let value = converted(&Type::String)?;
            let text = value.as_str().unwrap_or_default();
            let text: String = match verb.precision {
                Some(limit) if limit > 0 => text.graphemes(true).take(limit).collect(),
                _ => text.to_owned(),
            };
            if verb.mode == 's' {
                return Ok(pad(verb, &text));
            }
            let mut quoted = String::new();
            json::write_string(&text, &mut quoted);
            Ok(pad(verb, &quoted))
        }
        mode => {
            Err(Failure::new(format!("unsupported format verb '{mode}' in {:?} at offset {}", verb.raw, verb.offset)))
        }
    }
}

fn as_is(verb: &Verb<'_>, argument: &Value) -> String {
    match argument.data() {
        Data::String(text) if !verb.has('#') => text.to_string(),
        Data::Number(number) if number.is_infinite() => number.to_string(),
        Data::Number(number) if !verb.has('#') => {
            format!("{}{}", if number.sign() < 0 { "-" } else { "" }, number.general(None))
        }
        _ => json::encode(argument),
    }
}

fn integer_digits(verb: &Verb<'_>, integer: &IBig) -> String {
    let magnitude = integer.clone().unsigned_abs();
    let (digits, prefix) = match verb.mode {
        'b' => (format!("{magnitude:b}"), "0b"),
        'o' => (format!("{magnitude:o}"), "0"),
        'x' => (format!("{magnitude:x}"), "0x"),
        'X' => (format!("{magnitude:X}"), "0X"),
        _ => (magnitude.to_string(), ""),
    };
    let zeros = verb.precision.unwrap_or(0).saturating_sub(digits.len());
    let prefix = if verb.has('#') { prefix } else { "" };
    format!("{prefix}{}{digits}", "0".repeat(zeros))
}

fn pad(verb: &Verb<'_>, text: &str) -> String {
    let missing = verb.width.unwrap_or(0).saturating_sub(text.graphemes(true).count());
    let pads = if verb.has('0') { "0" } else { " " }.repeat(missing);
    if verb.has('-') { format!("{text}{pads}") } else { format!("{pads}{text}") }
}

fn pad_number(verb: &Verb<'_>, negative: bool, digits: &str) -> String {
    let sign = match negative {
        true => "-",
        false if verb.has('+') => "+",
        false if verb.has(' ') => " ",
        false => "",
    };
    let missing = verb.width.unwrap_or(0).saturating_sub(sign.len() + digits.len());
    if verb.has('-') {
        return format!("{sign}{digits}{}", " ".repeat(missing));
    }
    // A precision turns the zero flag off for integers.
    let zeros = verb.has('0') && !(verb.precision.is_some() && matches!(verb.mode, 'b' | 'd' | 'o' | 'x' | 'X'));
    if zeros {
        format!("{sign}{}{digits}", "0".repeat(missing))
    } else {
        format!("{}{sign}{digits}", " ".repeat(missing))
    }
}
