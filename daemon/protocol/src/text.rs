//! Texts for people, as they stand in events and problems.

use std::borrow::Cow;

use serde_json::Value;

/// Returns an error's text without the numbers that Rust puts behind the system's words: ` (os error 2)`.
#[must_use]
pub fn without_codes(text: &str) -> Cow<'_, str> {
    const BEGIN: &str = " (os error ";
    if !text.contains(BEGIN) {
        return Cow::Borrowed(text);
    }
    let mut pieces = text.split(BEGIN);
    let mut result = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        match piece.split_once(')') {
            Some((number, rest)) if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) => {
                result.push_str(rest);
            }
            _ => {
                result.push_str(BEGIN);
                result.push_str(piece);
            }
        }
    }
    Cow::Owned(result)
}

/// [`without_codes`] of every text in a JSON value, but for the names of its fields.
pub fn value_without_codes(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(cleaned) = without_codes(text) {
                *text = cleaned;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(value_without_codes),
        Value::Object(map) => map.values_mut().for_each(value_without_codes),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_systems_numbers_are_left_out() {
        for text in ["a (os error b)", "a (os error 2", "a (os error )", "plain"] {
            assert_eq!(without_codes(text), text);
        }
        assert_eq!(without_codes("a: x (os error 2); b: y (os error 13)."), "a: x; b: y.");
    }

    #[test]
    fn texts_anywhere_in_a_value_are_cleaned() {
        let mut value = serde_json::json!({"a (os error 1)": ["b (os error 2)", {"c": "d (os error 3)"}, 4, null]});
        value_without_codes(&mut value);
        assert_eq!(value, serde_json::json!({"a (os error 1)": ["b", {"c": "d"}, 4, null]}));
    }
}
