//! The escapes in a VMX's values: `|XX` is the byte XX of the text in UTF-8, in hexadecimal digits.

use std::fmt::Write as _;

/// Why escapes cannot be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadEscape {
    /// `|00`, which VMware's own programs take for the end of the text.
    Nul,
    /// The bytes are no UTF-8.
    NoText,
}

impl BadEscape {
    pub(super) fn words(self) -> &'static str {
        match self {
            Self::Nul => "holds `|00`, which ends a text too early",
            Self::NoText => "has escapes (`|XX`) that are no text in utf-8",
        }
    }
}

/// Returns a value as it stands between the quotes of a line.
pub(super) fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for c in value.chars() {
        match c {
            '"' | '|' => {
                let _ = write!(text, "|{:02X}", u32::from(c));
            }
            c if c.is_ascii_control() => {
                let _ = write!(text, "|{:02X}", u32::from(c));
            }
            c => text.push(c),
        }
    }
    text
}

/// Undoes the escapes; a bar that is not followed by two digits stands for itself.
pub(super) fn unescaped(text: &str) -> Result<String, BadEscape> {
    if text.contains('\0') {
        return Err(BadEscape::Nul);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        match digits(after).filter(|_| *first == b'|') {
            Some(0) => return Err(BadEscape::Nul),
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).map_err(|_| BadEscape::NoText)
}

fn digits(text: &[u8]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (high, low) = (digit(*text.first()?)?, digit(*text.get(1)?)?);
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_escaped_comes_back() {
        for value in ["", "plain", "a \"b\" | c", "two\nlines\tand\u{1}", "B\u{fc}cher", "C:\\x\\", "|", "||22"] {
            assert_eq!(unescaped(&escaped(value)).as_deref(), Ok(value), "{value:?}");
            assert!(!escaped(value).contains(['"', '\n']), "{value:?}");
        }
        assert_eq!(escaped("a \"b\" | c\n"), "a |22b|22 |7C c|0A");
    }

    #[test]
    fn escapes_are_bytes_and_other_bars_stand_for_themselves() {
        assert_eq!(unescaped("B|C3|bccher").as_deref(), Ok("B\u{fc}cher"));
        for text in ["|", "a|", "|2", "|2x", "|+1", "| 1"] {
            assert_eq!(unescaped(text).as_deref(), Ok(text));
        }
        assert_eq!(unescaped("a|00b"), Err(BadEscape::Nul));
        assert_eq!(unescaped("a\0b"), Err(BadEscape::Nul));
        assert_eq!(unescaped("|FF"), Err(BadEscape::NoText));
    }
}
