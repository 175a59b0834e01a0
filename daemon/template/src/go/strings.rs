//! Owns small text conversions that must come out as in Go: quoting, case, floats, URL escaping.

use std::fmt::Write as _;

/// Maps one character to upper case; characters that would become several stay.
pub(crate) fn upper(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(single), None) => single,
        _ => c,
    }
}

/// Maps one character to lower case; characters that would become several stay.
pub(crate) fn lower(c: char) -> char {
    if c == '\u{130}' {
        return 'i';
    }
    let mut mapped = c.to_lowercase();
    match (mapped.next(), mapped.next()) {
        (Some(single), None) => single,
        _ => c,
    }
}

/// Reports whether Go prints a character as it is: no control characters, and of the blanks only the common one.
pub(crate) fn is_printable(c: char) -> bool {
    let hidden = matches!(c, '\u{a0}' | '\u{ad}' | '\u{2000}'..='\u{200f}' | '\u{2028}'..='\u{202f}' | '\u{feff}');
    !(c.is_control() || hidden)
}

/// Quotes a text as Go's `%q` does.
pub(crate) fn quote(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{b}' => out.push_str("\\v"),
            c if u32::from(c) < 0x20 || c == '\u{7f}' => _ = write!(out, "\\x{:02x}", u32::from(c)),
            c if is_printable(c) => out.push(c),
            c => _ = write!(out, "\\u{:04x}", u32::from(c)),
        }
    }
    out.push('"');
    out
}

/// Writes a float with an exponent of at least two digits: `1.5e+06`. Without a precision: the fewest digits.
pub(crate) fn float_exponent(value: f64, precision: Option<usize>) -> String {
    let text = match precision {
        Some(precision) => format!("{value:.precision$e}"),
        None => format!("{value:e}"),
    };
    let Some((mantissa, exponent)) = text.split_once('e') else { return text };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// Writes a float as Go's `%v` does: with an exponent below 1e-4 and from 1e21 on.
pub(crate) fn float_general(value: f64) -> String {
    if value.is_nan() {
        return "NaN".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".into() } else { "-Inf".into() };
    }
    let magnitude = value.abs();
    if magnitude != 0.0 && !(1e-4..1e21).contains(&magnitude) {
        float_exponent(value, None)
    } else {
        format!("{value}")
    }
}

/// Writes a float as Go's `%g` with a precision; without one as [`float_general`].
pub(crate) fn float_general_precision(value: f64, precision: Option<usize>) -> String {
    let Some(precision) = precision else { return float_general(value) };
    let precision = precision.max(1);
    let exponent_text = format!("{:.*e}", precision - 1, value);
    let exponent: i32 = exponent_text.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    let limit = i32::try_from(precision).unwrap_or(i32::MAX);
    if exponent < -4 || exponent >= limit {
        let text = float_exponent(value, Some(precision - 1));
        let Some((mantissa, exponent)) = text.split_once('e') else { return text };
        return format!("{}e{exponent}", trim_zeros(mantissa));
    }
    let decimals = usize::try_from(limit - 1 - exponent).unwrap_or(0);
    trim_zeros(&format!("{value:.decimals$}")).to_owned()
}

fn trim_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// Escapes a text for the query part of a URL.
pub(crate) fn query_escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            other => _ = write!(out, "%{other:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_as_in_go() {
        assert_eq!(float_general(0.1), "0.1");
        assert_eq!(float_general(1e21), "1e+21");
        assert_eq!(float_general(1e-5), "1e-05");
        assert_eq!(float_general(100000.0), "100000");
        assert_eq!(float_general_precision(1234.5678, Some(3)), "1.23e+03");
        assert_eq!(float_general_precision(0.5, Some(3)), "0.5");
    }

    #[test]
    fn quotes_as_in_go() {
        assert_eq!(quote("a\"\n\u{1}é"), "\"a\\\"\\n\\x01é\"");
        assert_eq!(query_escape("a b&ü"), "a+b%26%C3%BC");
    }
}
