//! Owns the division of a Go template into literal text and the words of its actions.

use super::number::number;
use super::token::{Item, Kind, Token};
use super::tree::{Place, error};
use crate::go_template::error::RenderError;

/// Splits a template into literal text and actions.
pub(super) fn split(text: &str) -> Result<Vec<Item>, RenderError> {
    let mut items = Vec::new();
    let mut at = 0;
    let mut trim = false;
    while let Some(found) = text.get(at..).and_then(|rest| rest.find("{{")) {
        let open = at + found;
        let mut start = open + 2;
        let rest = &text[start..];
        let trims_before = rest.starts_with('-') && rest[1..].starts_with([' ', '\t', '\r', '\n']);
        let mut literal = &text[at..open];
        if trim {
            literal = literal.trim_start_matches([' ', '\t', '\r', '\n']);
        }
        if trims_before {
            literal = literal.trim_end_matches([' ', '\t', '\r', '\n']);
            start += 1;
        }
        if !literal.is_empty() {
            items.push(Item::Text(literal.to_owned()));
        }
        let inner = text[start..].trim_start_matches([' ', '\t', '\r', '\n']);
        let comment = text.len() - inner.len();
        if inner.starts_with("/*") && (trims_before || comment == start) {
            let unclosed = || error("unclosed comment", Place { start: open, end: open + 2 });
            let end = comment + 2 + text[comment + 2..].find("*/").ok_or_else(unclosed)? + 2;
            let after = text[end..].trim_start_matches([' ', '\t', '\r', '\n']);
            let after_at = text.len() - after.len();
            if text[end..].starts_with("}}") {
                (at, trim) = (end + 2, false);
            } else if after.starts_with("-}}") && after_at > end {
                (at, trim) = (after_at + 3, true);
            } else {
                return Err(error("comment ends before closing delimiter", Place { start: open, end }));
            }
            continue;
        }
        let (tokens, end, trims_after) = tokenize(text, open, start)?;
        items.push(Item::Action(tokens, Place { start: open, end }));
        (at, trim) = (end, trims_after);
    }
    let mut literal = text.get(at..).unwrap_or_default();
    if trim {
        literal = literal.trim_start_matches([' ', '\t', '\r', '\n']);
    }
    if !literal.is_empty() {
        items.push(Item::Text(literal.to_owned()));
    }
    Ok(items)
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Reads the tokens of an action up to its `}}`.
fn tokenize(text: &str, open: usize, start: usize) -> Result<(Vec<Token>, usize, bool), RenderError> {
    let mut tokens = Vec::new();
    let mut at = start;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        if rest.starts_with("}}") {
            return Ok((tokens, at + 2, false));
        }
        let Some(c) = rest.chars().next() else {
            return Err(error("unclosed action", Place { start: open, end: text.len() }));
        };
        let word = |from: usize| {
            let rest = &rest[from..];
            from + rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        };
        let (kind, length) = match c {
            ' ' | '\t' | '\r' | '\n' => {
                let length = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
                if rest[length..].starts_with("-}}") {
                    return Ok((tokens, at + length + 3, true));
                }
                (Kind::Space, length)
            }
            '|' => (Kind::Pipe, 1),
            '(' => (Kind::Open, 1),
            ')' => (Kind::Close, 1),
            ',' => (Kind::Comma, 1),
            '=' => (Kind::Assign, 1),
            ':' if rest.starts_with(":=") => (Kind::Declare, 2),
            '"' => string(rest, at)?,
            '`' => {
                let length = rest[1..].find('`').map(|end| end + 2);
                let at = Place { start: at, end: text.len() };
                let length = length.ok_or_else(|| error("unterminated raw quoted string", at))?;
                (Kind::Literal(rest[1..length - 1].into()), length)
            }
            '\'' => character(rest, at)?,
            '$' => {
                let length = word(1);
                (Kind::Variable(rest[1..length].to_owned()), length)
            }
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let length = word(1);
                if length == 1 { (Kind::Dot, 1) } else { (Kind::Field(rest[1..length].to_owned()), length) }
            }
            '+' | '-' | '.' | '0'..='9' => number(rest, at)?,
            c if is_word(c) => {
                let length = word(0);
                let kind = match &rest[..length] {
                    "true" => Kind::Literal(true.into()),
                    "false" => Kind::Literal(false.into()),
                    name => Kind::Identifier(name.to_owned()),
                };
                (kind, length)
            }
            c => {
                let at = Place { start: at, end: at + c.len_utf8() };
                return Err(error(format!("unexpected {c:?} in command"), at));
            }
        };
        tokens.push(Token { kind, at: Place { start: at, end: at + length } });
        at += length;
    }
}

fn string(rest: &str, at: usize) -> Result<(Kind, usize), RenderError> {
    let mut out = String::new();
    let mut index = 1;
    loop {
        let here = &rest[index.min(rest.len())..];
        match here.chars().next() {
            Some('"') => return Ok((Kind::Literal(out.into()), index + 1)),
            None | Some('\n') => {
                return Err(error("unterminated quoted string", Place { start: at, end: at + index }));
            }
            Some('\\') => {
                let (c, length) = escape(here).ok_or_else(|| {
                    error("invalid escape in quoted string", Place { start: at + index, end: at + index + 2 })
                })?;
                out.push(c);
                index += length;
            }
            Some(c) => {
                out.push(c);
                index += c.len_utf8();
            }
        }
    }
}

fn character(rest: &str, at: usize) -> Result<(Kind, usize), RenderError> {
    let bad = || error("malformed character constant", Place { start: at, end: at + 1 });
    let inner = &rest[1..];
    let (c, length) = match inner.chars().next().ok_or_else(bad)? {
        '\\' if inner.starts_with("\\'") => ('\'', 2),
        '\\' => escape(inner).ok_or_else(bad)?,
        '\'' | '\n' => return Err(bad()),
        c => (c, c.len_utf8()),
    };
    if !inner[length..].starts_with('\'') {
        return Err(bad());
    }
    Ok((Kind::Literal(i64::from(u32::from(c)).into()), length + 2))
}

/// Reads one escape of Go's interpreted strings.
fn escape(text: &str) -> Option<(char, usize)> {
    let code = |from: usize, digits: usize, radix: u32| {
        let digits_text = text.get(from..from + digits)?;
        digits_text.bytes().all(|byte| byte.is_ascii_alphanumeric()).then_some(())?;
        Some((char::from_u32(u32::from_str_radix(digits_text, radix).ok()?)?, from + digits))
    };
    let c = match text.as_bytes().get(1)? {
        b'a' => '\u{7}',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'n' => '\n',
        b'r' => '\r',
        b't' => '\t',
        b'v' => '\u{b}',
        b'\\' => '\\',
        b'"' => '"',
        b'x' => return code(2, 2, 16),
        b'u' => return code(2, 4, 16),
        b'U' => return code(2, 8, 16),
        b'0'..=b'7' => return code(1, 3, 8),
        _ => return None,
    };
    Some((c, 2))
}
