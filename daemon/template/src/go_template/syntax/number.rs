//! Owns the numbers of Go templates: `1`, `0x1p4`, `1_000`, `3+2i`.

use super::token::Kind;
use super::tree::{Place, error};
use crate::go_template::error::RenderError;
use crate::go_template::value::Value;

/// Reads the number at the start of a text; with it comes how long it is.
pub(super) fn number(rest: &str, at: usize) -> Result<(Kind, usize), RenderError> {
    let first = scan(rest);
    let mut length = first;
    // Only a sum or difference with an imaginary part is one word.
    if first > 0 && rest[first..].starts_with(['+', '-']) {
        length += scan(&rest[first..]);
    }
    let follows = rest[length..].chars().next().filter(|c| *c == '_' || c.is_alphanumeric());
    let text = &rest[..length + follows.map_or(0, char::len_utf8)];
    let wrong = |what: &str| error(format!("{what}: {text:?}"), Place { start: at, end: at + text.len() });
    if first == 0 || follows.is_some() || (length > first && !text.ends_with('i')) {
        return Err(wrong("bad number syntax"));
    }
    let value = if length > first {
        let (real, imaginary) = (float(&text[..first]), float(&text[first..length - 1]));
        real.zip(imaginary).map(|(real, imaginary)| Value::Complex(real, imaginary))
    } else if let Some(imaginary) = text.strip_suffix('i') {
        float(imaginary).map(|imaginary| Value::Complex(0.0, imaginary))
    } else if let Some(whole) = integer(text) {
        match i64::try_from(whole) {
            Ok(whole) => Some(Value::Integer(whole)),
            Err(_) => return Err(wrong("integer overflow")),
        }
    } else {
        match float(text) {
            Some(_) if !text.contains(['.', 'e', 'E', 'p', 'P']) => return Err(wrong("integer overflow")),
            value => value.map(Value::Float),
        }
    };
    value.map(|value| (Kind::Literal(value), length)).ok_or_else(|| wrong("illegal number syntax"))
}

/// Returns the length of the longest text that looks like a number; nothing where there is no digit.
fn scan(text: &str) -> usize {
    let bytes = text.as_bytes();
    let run = |from: usize, digits: fn(&u8) -> bool| {
        from + bytes[from.min(bytes.len())..].iter().take_while(|byte| digits(byte) || **byte == b'_').count()
    };
    let is_at = |at: usize, wanted: &[u8]| bytes.get(at).is_some_and(|byte| wanted.contains(byte));
    let mut at = usize::from(is_at(0, b"+-"));
    let start = at;
    let (digits, exponent): (fn(&u8) -> bool, &[u8]) = match bytes.get(at..at + 2) {
        Some([b'0', b'x' | b'X']) => (u8::is_ascii_hexdigit, b"pP"),
        Some([b'0', b'o' | b'O']) => (|byte| (b'0'..=b'7').contains(byte), b""),
        Some([b'0', b'b' | b'B']) => (|byte| matches!(byte, b'0' | b'1'), b""),
        _ => (u8::is_ascii_digit, b"eE"),
    };
    if exponent != b"eE" {
        at += 2;
    }
    at = run(at, digits);
    if is_at(at, b".") {
        at = run(at + 1, digits);
    }
    if !bytes[start..at].iter().any(u8::is_ascii_digit) {
        return 0;
    }
    if is_at(at, exponent) {
        at += 1;
        at += usize::from(is_at(at, b"+-"));
        at = run(at, u8::is_ascii_digit);
    }
    at + usize::from(is_at(at, b"i"))
}

/// Takes the underscores out of a number's digits; nothing where they stand elsewhere than between digits or after a prefix.
fn without_underscores(digits: &str, after_prefix: bool) -> Option<String> {
    let bytes = digits.as_bytes();
    let fits = |at: usize| {
        let before = at.checked_sub(1).map_or(after_prefix, |before| bytes[before].is_ascii_hexdigit());
        before && bytes.get(at + 1).is_some_and(u8::is_ascii_hexdigit)
    };
    let all_fit = (0..bytes.len()).filter(|at| bytes[*at] == b'_').all(fits);
    all_fit.then(|| digits.replace('_', ""))
}

/// Reads a whole number as Go's `ParseInt` with base 0 does.
fn integer(text: &str) -> Option<i128> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match (lower.get(..2), lower.strip_prefix('0')) {
        (Some("0x"), _) => (16, &lower[2..]),
        (Some("0o"), _) => (8, &lower[2..]),
        (Some("0b"), _) => (2, &lower[2..]),
        (_, Some(octal)) if !octal.is_empty() => (8, octal),
        _ => (10, lower.as_str()),
    };
    let whole = i128::from_str_radix(&without_underscores(digits, radix != 10)?, radix).ok()?;
    // What fits an unsigned number only is a number, but overflows where it is used; more is none.
    (whole <= i128::from(u64::MAX)).then_some(if negative { -whole } else { whole })
}

/// Reads a float as Go's `ParseFloat` does; hexadecimal ones need an exponent.
fn float(text: &str) -> Option<f64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1.0, digits),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    let magnitude = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hexadecimal) => hexadecimal_float(hexadecimal)?,
        None => without_underscores(digits, false)?.parse().ok()?,
    };
    magnitude.is_finite().then_some(sign * magnitude)
}

fn hexadecimal_float(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let mantissa = without_underscores(mantissa, true)?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((&mantissa, ""));
    let digits = format!("{whole}{fraction}");
    // More digits than a float holds are beyond what a template needs.
    let number = u64::from_str_radix(&digits, 16).ok()?;
    let exponent: i32 = without_underscores(exponent, false)?.parse().ok()?;
    let shift = exponent.checked_sub(i32::try_from(fraction.len()).ok()?.checked_mul(4)?)?;
    Some(number as f64 * 2f64.powi(shift))
}
