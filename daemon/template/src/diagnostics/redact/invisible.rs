//! Owns what a terminal does not show: escape sequences, control characters, characters without a shape. A secret with these in
//! it is read by people all the same.

use std::ops::Range;

/// Longest escape sequence that is taken for one; a longer one is no reason to hide the rest of a text.
const MAX_SEQUENCE: usize = 4096;

/// A text as it is seen, and where each of its bytes comes from.
pub(super) struct Visible {
    pub(super) text: String,
    origins: Vec<usize>,
}

impl Visible {
    pub(super) fn new(text: &str) -> Self {
        let mut visible = Self { text: String::with_capacity(text.len()), origins: Vec::with_capacity(text.len()) };
        let mut at = 0;
        while let Some(character) = text[at..].chars().next() {
            match length(&text[at..]) {
                0 => {
                    visible.text.push(character);
                    visible.origins.extend(at..at + character.len_utf8());
                    at += character.len_utf8();
                }
                hidden => at += hidden,
            }
        }
        visible
    }

    /// Where a part of the visible text stands in the whole.
    pub(super) fn place(&self, span: &Range<usize>) -> Range<usize> {
        self.origins[span.start]..self.origins[span.end - 1] + 1
    }
}

/// True when there is anything that is not shown.
pub(super) fn any(text: &str) -> bool {
    // Nearly all texts are ASCII, and every problem of a template passes here more than once.
    if text.is_ascii() {
        return text.bytes().any(|byte| (byte < b' ' && byte != b'\n' && byte != b'\t') || byte == 0x7f);
    }
    text.chars().any(is_invisible)
}

/// The colours (SGR sequences) in a text.
pub(super) fn colours(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices('\u{1b}').filter_map(|(at, _)| {
        let sequence = &text[at..at + length(&text[at..])];
        (sequence.starts_with("\u{1b}[") && sequence.ends_with('m')).then_some(sequence)
    })
}

/// Length of the invisible thing a text starts with; 0 when it starts with something visible.
fn length(text: &str) -> usize {
    let Some(first) = text.chars().next() else { return 0 };
    // A shell that edits a line wraps it with a blank and a carriage return.
    if text.starts_with(" \r") {
        return 2;
    }
    let rest = &text[first.len_utf8()..];
    first.len_utf8()
        + match (first, rest.chars().next()) {
            ('\u{1b}', Some('[')) => 1 + control_sequence(&rest[1..]),
            ('\u{9b}', _) => control_sequence(rest),
            ('\u{1b}', Some(']' | 'P' | 'X' | '^' | '_')) => 1 + control_string(&rest[1..]),
            ('\u{1b}', Some('(' | ')' | '*' | '+' | '#' | '%' | ' ')) => {
                1 + rest[1..].chars().next().filter(char::is_ascii).map_or(0, char::len_utf8)
            }
            ('\u{1b}', Some(next)) if next.is_ascii_graphic() => 1,
            _ if is_invisible(first) => 0,
            _ => return 0,
        }
}

/// Parameters and the final character, without what introduced them.
fn control_sequence(text: &str) -> usize {
    let parameters = text.bytes().take(MAX_SEQUENCE).take_while(|byte| (0x20..=0x3f).contains(byte)).count();
    match text.as_bytes().get(parameters) {
        Some(0x40..=0x7e) => parameters + 1,
        _ => 0,
    }
}

/// A string up to its end (BEL or ESC \\); one that does not end hides nothing.
fn control_string(text: &str) -> usize {
    let ends = [("\u{7}", 1), ("\u{1b}\\", 2), ("\u{9c}", 2)];
    let found = ends.iter().filter_map(|(end, length)| text.find(end).map(|at| at + length)).min();
    found.filter(|&length| length <= MAX_SEQUENCE).unwrap_or(0)
}

fn is_invisible(character: char) -> bool {
    match character {
        '\n' | '\t' => false,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{feff}' => true,
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' => true,
        other => other.is_control(),
    }
}
