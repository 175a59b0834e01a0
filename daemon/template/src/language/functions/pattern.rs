//! Owns regular expressions: Go's RE2 syntax on the regex crate.

use regex::{Captures, Regex, RegexBuilder};

use super::table::{Answer, Failure, Function, function, text};
use crate::language::limits::{MAX_ELEMENTS, MAX_TEXT};
use crate::language::value::{Entries, Type, Value};

/// Memory a compiled pattern may take.
const SIZE_LIMIT: usize = 10 << 20;
/// Largest repetition, as in RE2.
const MAX_REPEAT: u32 = 1000;

pub(super) const FUNCTIONS: &[Function] = &[
    function("regex", &[text("pattern"), text("string")], |call| {
        let pattern = compile(call.text(0))?;
        match pattern.captures(call.text(1)) {
            Some(found) => captured(&pattern, &found),
            None => Err(Failure::new("pattern did not match any part of the given string")),
        }
    }),
    function("regexall", &[text("pattern"), text("string")], |call| {
        let pattern = compile(call.text(0))?;
        let ty = capture_type(&pattern)?;
        let mut all = Vec::new();
        for found in pattern.captures_iter(call.text(1)) {
            if all.len().saturating_mul(pattern.captures_len()) >= MAX_ELEMENTS {
                return Err(Failure::new(format!("there are more than {MAX_ELEMENTS} matches")));
            }
            all.push(captured(&pattern, &found)?);
        }
        Ok(Value::list(ty, all))
    }),
    function("regex_replace", &[text("str"), text("pattern"), text("replace")], |call| {
        let pattern = compile(call.text(1)).map_err(|failure| Failure { argument: Some(1), ..failure })?;
        replace_all(&pattern, call.text(0), call.text(2))
    }),
];

/// Replaces every match, as long as the result stays within bounds.
fn replace_all(pattern: &Regex, text: &str, replacement: &str) -> Answer {
    let mut out = String::new();
    let mut last = 0;
    for found in pattern.captures_iter(text) {
        let Some(whole) = found.get(0) else { continue };
        out.push_str(&text[last..whole.start()]);
        found.expand(replacement, &mut out);
        last = whole.end();
        if out.len() > MAX_TEXT {
            return Err(Failure::new("the result would be larger than 64 MiB"));
        }
    }
    out.push_str(&text[last..]);
    Ok(out.into())
}

/// Compiles a pattern of Go's syntax.
pub(crate) fn compile(pattern: &str) -> Result<Regex, Failure> {
    let invalid = |reason: String| Failure::at(0, format!("invalid regexp pattern: {reason}"));
    let translated = translate(pattern).map_err(invalid)?;
    RegexBuilder::new(&translated).size_limit(SIZE_LIMIT).nest_limit(250).build().map_err(|error| {
        let text = error.to_string();
        invalid(text.lines().last().unwrap_or(&text).trim_start_matches("error: ").to_owned())
    })
}

fn capture_type(pattern: &Regex) -> Result<Type, Failure> {
    let names: Vec<Option<&str>> = pattern.capture_names().skip(1).collect();
    let named = names.iter().filter(|name| name.is_some()).count();
    if named > 0 && named < names.len() {
        return Err(Failure::at(0, "invalid regexp pattern: cannot mix both named and unnamed capture groups"));
    }
    Ok(match (names.len(), named) {
        (0, _) => Type::String,
        (count, 0) => Type::Tuple(vec![Type::String; count].into()),
        _ => {
            let attributes = names.iter().flatten().map(|name| ((*name).into(), Type::String)).collect();
            Type::Object(std::sync::Arc::new(attributes))
        }
    })
}

fn captured(pattern: &Regex, found: &Captures<'_>) -> Answer {
    let group = |index: usize| {
        found.get(index).map_or_else(|| Value::null_of(Type::String), |part| Value::string(part.as_str()))
    };
    Ok(match capture_type(pattern)? {
        Type::String => group(0),
        Type::Tuple(types) => Value::tuple((1..=types.len()).map(group).collect()),
        _ => {
            let entries: Entries = pattern
                .capture_names()
                .enumerate()
                .filter_map(|(index, name)| Some((name?.into(), group(index))))
                .collect();
            Value::object(entries)
        }
    })
}

/// Rewrites what the two syntaxes spell differently: Perl classes are ASCII in Go, `\Q…\E`, octal escapes, `\z`, and
/// characters of classes that the regex crate gives a meaning.
fn translate(pattern: &str) -> Result<String, String> {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern;
    let mut in_class = false;
    // Offset in `out` after the opening of the class, where `]` is a literal.
    let mut class_start = 0;
    let mut repeat = Repeat::None;
    while let Some(c) = rest.chars().next() {
        let next = &rest[c.len_utf8()..];
        if !in_class {
            repeat = repeat.after(rest).ok_or_else(|| {
                format!("invalid nested repetition operator: `{}`", rest.chars().next().unwrap_or('*'))
            })?;
        }
        match c {
            '\\' => {
                let Some(kind) = next.chars().next() else {
                    return Err("trailing backslash at end of expression: ``".into());
                };
                let after = &next[kind.len_utf8()..];
                rest = after;
                match kind {
                    'd' => out.push_str(if in_class { "0-9" } else { "[0-9]" }),
                    'w' => out.push_str(if in_class { "0-9A-Za-z_" } else { "[0-9A-Za-z_]" }),
                    's' => out.push_str(if in_class { "\\t\\n\\x0C\\r " } else { "[\\t\\n\\x0C\\r ]" }),
                    'D' => out.push_str("[^0-9]"),
                    'W' => out.push_str("[^0-9A-Za-z_]"),
                    'S' => out.push_str("[^\\t\\n\\x0C\\r ]"),
                    'b' if !in_class => out.push_str("(?-u:\\b)"),
                    'B' if !in_class => out.push_str("(?-u:\\B)"),
                    'z' if !in_class => out.push_str("\\z"),
                    'Q' => {
                        let (literal, after) = after.split_once("\\E").unwrap_or((after, ""));
                        out.push_str(&regex::escape(literal));
                        rest = after;
                    }
                    'E' => {}
                    'C' => return Err("invalid escape sequence: `\\C`".into()),
                    '0'..='7' => {
                        let digits = 1 + after.bytes().take(2).take_while(|byte| (b'0'..=b'7').contains(byte)).count();
                        if kind != '0' && digits < 2 {
                            return Err(format!("invalid escape sequence: `\\{kind}`"));
                        }
                        let code = u32::from_str_radix(&next[..digits], 8).unwrap_or(0);
                        out.push_str(&format!("\\x{{{code:X}}}"));
                        rest = &next[digits..];
                    }
                    'p' | 'P' | 'x' | 'a' | 'f' | 't' | 'n' | 'r' | 'v' | 'A' => {
                        out.push('\\');
                        out.push(kind);
                    }
                    kind if kind.is_ascii_alphanumeric() => {
                        return Err(format!("invalid escape sequence: `\\{kind}`"));
                    }
                    kind if kind.is_ascii() => {
                        out.push_str(&regex::escape(kind.encode_utf8(&mut [0; 4])));
                        if in_class && kind == '-' && !out.ends_with("\\-") {
                            out.truncate(out.len() - 1);
                            out.push_str("\\-");
                        }
                    }
                    kind => return Err(format!("invalid escape sequence: `\\{kind}`")),
                }
                continue;
            }
            '[' if in_class => {
                // A POSIX class such as [:alpha:] is the same in both; any other bracket is itself.
                if next.starts_with(':')
                    && let Some(end) = next.find(":]")
                {
                    out.push_str(&rest[..end + 3]);
                    rest = &rest[end + 3..];
                    continue;
                }
                out.push_str("\\[");
            }
            '[' => {
                in_class = true;
                out.push('[');
                rest = next;
                if let Some(after) = rest.strip_prefix('^') {
                    out.push('^');
                    rest = after;
                }
                class_start = out.len();
                continue;
            }
            ']' if in_class && out.len() == class_start => out.push_str("\\]"),
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            '-' if in_class && next.starts_with('-') => out.push_str("\\-"),
            '(' if !in_class && next.starts_with("?<") => {
                return Err(format!("invalid or unsupported Perl syntax: `(?{}`", next.chars().nth(1).unwrap_or('<')));
            }
            '{' if !in_class => {
                if let Some(end) = next.find('}')
                    && is_repeat(&next[..end])
                {
                    let too_big = next[..end].split(',').any(|part| part.parse::<u32>().is_ok_and(|n| n > MAX_REPEAT));
                    if too_big {
                        return Err(format!("invalid repeat count: `{{{}}}`", &next[..end]));
                    }
                    out.push_str(&rest[..end + 2]);
                    rest = &next[end + 1..];
                    continue;
                } else {
                    // Not a repetition, so a literal brace.
                    out.push_str("\\{");
                }
            }
            '}' if !in_class && !ends_escape(&out) => out.push_str("\\}"),
            c => out.push(c),
        }
        rest = next;
    }
    Ok(out)
}

/// Whether the text so far ends with a repetition, which RE2 does not allow to be repeated again.
#[derive(Clone, Copy, PartialEq)]
enum Repeat {
    None,
    /// After `*`, `+`, `?` or `{2}`, where `?` may follow to make it lazy.
    Greedy,
    Lazy,
}

impl Repeat {
    /// Returns the state after what comes next, or nothing when that is not allowed.
    fn after(self, rest: &str) -> Option<Self> {
        let is_operator = match rest.as_bytes().first() {
            Some(b'*' | b'+' | b'?') => true,
            Some(b'{') => rest[1..].find('}').is_some_and(|end| is_repeat(&rest[1..=end])),
            _ => return Some(Self::None),
        };
        match (self, is_operator) {
            (_, false) => Some(Self::None),
            (Self::None, true) => Some(Self::Greedy),
            (Self::Greedy, true) if rest.starts_with('?') => Some(Self::Lazy),
            _ => None,
        }
    }
}

fn is_repeat(inner: &str) -> bool {
    let (low, high) = inner.split_once(',').unwrap_or((inner, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !low.is_empty() && digits(low) && digits(high)
}

/// Reports whether the text so far ends inside `\\p{Greek` or `\\x{41`.
fn ends_escape(out: &str) -> bool {
    let Some(open) = out.rfind('{') else { return false };
    let inside = out[open + 1..].chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '^');
    inside && ["\\p", "\\P", "\\x"].iter().any(|escape| out[..open].ends_with(escape))
}
