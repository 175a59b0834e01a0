//! Owns the reading of JSON: text → values with their places, in order and with duplicate keys.

use super::ast::Name;
use super::lexer::{MAX_TOKENS, too_large};
use crate::diagnostics::source_map::{FileId, SourceMap, Span};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::limits::MAX_DEPTH;
use crate::language::value::Number;
use crate::language::value::json::read_string;

/// A JSON value with its place.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Json {
    pub(crate) kind: JsonKind,
    pub(crate) span: Span,
}

/// The kinds of JSON value; objects keep order and duplicate keys.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum JsonKind {
    Null,
    Bool(bool),
    Number(Number),
    String(String),
    Array(Vec<Json>),
    Object(Vec<(Name, Json)>),
}

impl Json {
    /// Returns what the value is called in messages.
    pub(crate) fn noun(&self) -> &'static str {
        match self.kind {
            JsonKind::Null => "null",
            JsonKind::Bool(_) => "a boolean",
            JsonKind::Number(_) => "a number",
            JsonKind::String(_) => "a string",
            JsonKind::Array(_) => "an array",
            JsonKind::Object(_) => "an object",
        }
    }
}

/// Parses a JSON text; nothing after an error, which is reported with its place.
pub(crate) fn parse_json(sources: &SourceMap, file: FileId, diagnostics: &mut Diagnostics) -> Option<Json> {
    let text = sources.get(file)?.text().clone();
    let mut reader = Reader { file, text: &text, at: 0 };
    if let Some(place) = limit(&text) {
        diagnostics.push(too_large(text.len(), reader.span(place, place + 1)));
        return None;
    }
    match reader.document() {
        Ok(json) => Some(json),
        Err(diagnostic) => {
            diagnostics.push(*diagnostic);
            None
        }
    }
}

/// Returns where a JSON text has more words and signs than a text can have, as native syntax counts them: every value with
/// the comma behind it, every key with its colon. It is looked for before anything is made of the text, which may be large.
pub(crate) fn limit(text: &str) -> Option<usize> {
    // No word or sign is shorter than a byte. What does not begin like a template is told of where it goes wrong.
    if text.len() <= MAX_TOKENS || !text.trim_start().starts_with(['{', '[']) {
        return None;
    }
    place_of(MAX_TOKENS, text)
}

/// Returns where a text has more words and signs than this.
fn place_of(most: usize, text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut tokens = 0;
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let rest = || bytes.get(at + 1..).unwrap_or_default().iter();
        let (counts, length) = match byte {
            b'"' => {
                let mut escaped = false;
                let end = rest().position(|&byte| {
                    let ends = byte == b'"' && !escaped;
                    escaped = byte == b'\\' && !escaped;
                    ends
                });
                (true, end.map_or(bytes.len() - at, |end| end + 2))
            }
            b'{' | b'[' => (true, 1),
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' => {
                let goes_on = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
                (true, 1 + rest().take_while(goes_on).count())
            }
            _ => (false, 1),
        };
        tokens += if counts { 2 } else { 0 };
        if tokens > most {
            return Some(at);
        }
        at += length;
    }
    None
}

type Parsed<T> = Result<T, Box<Diagnostic>>;

struct Reader<'a> {
    file: FileId,
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn span(&self, start: usize, end: usize) -> Span {
        let place = |offset: usize| u32::try_from(offset).unwrap_or(u32::MAX);
        Span { file: self.file, start: place(start), end: place(end) }
    }

    fn blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r']).len();
    }

    fn fail<T>(&self, wanted: &str) -> Parsed<T> {
        let (found, length) = match self.rest().chars().next() {
            Some(c) => (format!("invalid character {c:?}"), c.len_utf8()),
            None => ("unexpected end of the text".to_owned(), 0),
        };
        let hint = match self.rest().chars().next() {
            Some('/' | '#') => Some("JSON has no comments".to_owned()),
            Some('}' | ']') if wanted.starts_with("the beginning") => {
                Some("JSON allows no comma before a closing bracket".to_owned())
            }
            Some('\'') => Some("JSON strings stand in double quotes".to_owned()),
            Some('\u{feff}') => Some("remove the byte order mark at the beginning of the file".to_owned()),
            _ => None,
        };
        let span = self.span(self.at, self.at + length);
        Err(Box::new(
            Diagnostic::error("Error parsing JSON", format!("{found} looking for {wanted}.")).at(span).hint_maybe(hint),
        ))
    }

    fn document(&mut self) -> Parsed<Json> {
        self.blanks();
        let value = self.value(0)?;
        self.blanks();
        if self.rest().is_empty() { Ok(value) } else { self.fail("the end of the text") }
    }

    fn value(&mut self, depth: u32) -> Parsed<Json> {
        let start = self.at;
        if depth > MAX_DEPTH {
            let detail = format!("JSON values can be nested at most {MAX_DEPTH} levels deep.");
            return Err(Box::new(Diagnostic::error("Nesting too deep", detail).at(self.span(start, start + 1))));
        }
        let rest = self.rest();
        let kind = match rest.bytes().next() {
            Some(b'{') => self.object(depth)?,
            Some(b'[') => self.array(depth)?,
            Some(b'"') => JsonKind::String(self.string()?),
            Some(b'-' | b'0'..=b'9') => self.number()?,
            _ => {
                let words =
                    [("true", JsonKind::Bool(true)), ("false", JsonKind::Bool(false)), ("null", JsonKind::Null)];
                match words.into_iter().find(|(word, _)| rest.starts_with(word)) {
                    Some((word, kind)) => {
                        self.at += word.len();
                        kind
                    }
                    None => return self.fail("the beginning of a value"),
                }
            }
        };
        Ok(Json { kind, span: self.span(start, self.at) })
    }

    fn string(&mut self) -> Parsed<String> {
        match read_string(self.rest()) {
            Ok((text, length)) => {
                self.at += length;
                Ok(text)
            }
            Err((reason, at)) => {
                let span = self.span(self.at + at, self.at + at + 1);
                Err(Box::new(Diagnostic::error("Error parsing JSON", format!("{reason} in a string.")).at(span)))
            }
        }
    }

    fn number(&mut self) -> Parsed<JsonKind> {
        let rest = self.rest();
        let length = rest.find(|c: char| !matches!(c, '-' | '+' | '.' | 'e' | 'E' | '0'..='9')).unwrap_or(rest.len());
        let text = &rest[..length];
        let digits = text.strip_prefix('-').unwrap_or(text);
        let leading_zero = digits.starts_with('0') && digits.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
        let bare_dot = digits.ends_with('.') || digits.contains(".e") || digits.contains(".E");
        let well_formed = digits.starts_with(|c: char| c.is_ascii_digit()) && !leading_zero && !bare_dot;
        match Number::parse(text).filter(|_| well_formed) {
            Some(number) => {
                self.at += length;
                Ok(JsonKind::Number(number))
            }
            None => {
                let detail = format!("{text:?} is not a number.");
                let span = self.span(self.at, self.at + length);
                Err(Box::new(Diagnostic::error("Error parsing JSON", detail).at(span)))
            }
        }
    }

    fn array(&mut self, depth: u32) -> Parsed<JsonKind> {
        self.at += 1;
        let mut items = Vec::new();
        self.blanks();
        if self.rest().starts_with(']') {
            self.at += 1;
            return Ok(JsonKind::Array(items));
        }
        loop {
            self.blanks();
            items.push(self.value(depth + 1)?);
            self.blanks();
            match self.rest().bytes().next() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(JsonKind::Array(items));
                }
                _ => return self.fail("a comma or closing bracket after an array element"),
            }
        }
    }

    fn object(&mut self, depth: u32) -> Parsed<JsonKind> {
        self.at += 1;
        let mut entries = Vec::new();
        self.blanks();
        if self.rest().starts_with('}') {
            self.at += 1;
            return Ok(JsonKind::Object(entries));
        }
        loop {
            self.blanks();
            if !self.rest().starts_with('"') {
                return self.fail("the beginning of an object key string");
            }
            let start = self.at;
            let key = self.string()?;
            let name = Name { text: key.into(), span: self.span(start, self.at) };
            self.blanks();
            if !self.rest().starts_with(':') {
                return self.fail("a colon after an object key");
            }
            self.at += 1;
            self.blanks();
            let value = self.value(depth + 1)?;
            entries.push((name, value));
            self.blanks();
            match self.rest().bytes().next() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(JsonKind::Object(entries));
                }
                _ => return self.fail("a comma or closing brace after an object entry"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value as Any;

    use super::*;

    fn json() -> impl Strategy<Value = Any> {
        let leaf = prop_oneof![
            Just(Any::Null),
            any::<bool>().prop_map(Any::from),
            any::<f32>().prop_map(|number| Any::from(f64::from(number))),
            "[a-z\"\\\\{}\\[\\],: é]{0,12}".prop_map(Any::from),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Any::from),
                prop::collection::vec(("[a-z\"\\\\:]{0,6}", inner), 0..6)
                    .prop_map(|entries| Any::Object(entries.into_iter().collect())),
            ]
        })
    }

    /// Words and signs: two for each value and for each key.
    fn tokens(value: &Any) -> usize {
        match value {
            Any::Array(items) => 2 + items.iter().map(tokens).sum::<usize>(),
            Any::Object(entries) => 2 + entries.values().map(|value| 2 + tokens(value)).sum::<usize>(),
            _ => 2,
        }
    }

    proptest! {
        /// What is counted without reading is what reading finds.
        #[test]
        fn words_are_counted_without_reading(value in json(), pretty in any::<bool>()) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let count = tokens(&value);
            prop_assert_eq!(place_of(count, &text), None);
            let places: Vec<Option<usize>> = (0..count).step_by(2).map(|most| place_of(most, &text)).collect();
            prop_assert!(places.iter().all(|place| place.is_some_and(|place| text.is_char_boundary(place))));
            prop_assert!(places.is_sorted_by(|one, next| one < next));
        }

        #[test]
        fn any_text_is_counted(text in "[\\PC\"\\\\{}\\[\\]]{0,200}", most in 0..50usize) {
            prop_assert!(place_of(most, &text).is_none_or(|place| text.is_char_boundary(place)));
        }
    }

    #[test]
    fn only_a_text_that_begins_as_a_template_is_counted() {
        let many = "1,".repeat(MAX_TOKENS);
        assert_eq!(limit(&many), None);
        assert_eq!(limit(&format!("[{many}1]")), Some(MAX_TOKENS - 1));
        assert_eq!(limit(&"[".repeat(MAX_TOKENS)), None);
    }
}
