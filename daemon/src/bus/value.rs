//! Values of properties: kept, compared and written; a value of the wire format is made of them only when it is sent.

use std::borrow::Cow;
use std::collections::BTreeMap;

use zbus::{ObjectPath, Variant};

/// A property's value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Truth(bool),
    Small(u32),
    Signed(i32),
    Large(u64),
    Share(f64),
    Text(String),
    Path(String),
    Texts(Vec<String>),
    Paths(Vec<String>),
    Pairs(Vec<(String, String)>),
}

/// The properties of an object, by their names.
pub(super) type Values = BTreeMap<&'static str, Value>;

/// The same, as they are sent.
pub(super) type Sent<'a> = BTreeMap<&'a str, Variant<'a>>;

impl Value {
    /// Returns the value as it is sent.
    pub(super) fn to_variant(&self) -> Variant<'_> {
        // Paths are made in `place.rs` only, so each is one.
        match self {
            Self::Truth(value) => Variant::from(*value),
            Self::Small(value) => Variant::from(*value),
            Self::Signed(value) => Variant::from(*value),
            Self::Large(value) => Variant::from(*value),
            Self::Share(value) => Variant::from(*value),
            Self::Text(value) => match sendable(value) {
                Cow::Borrowed(text) => Variant::from(text),
                Cow::Owned(text) => Variant::from(text),
            },
            Self::Path(value) => Variant::from(path(value)),
            Self::Texts(values) if values.iter().any(|value| value.contains('\0')) => {
                Variant::from(values.iter().map(|value| sendable(value).into_owned()).collect::<Vec<_>>())
            }
            Self::Texts(values) => Variant::from(values.iter().map(String::as_str).collect::<Vec<_>>()),
            Self::Paths(values) => Variant::from(values.iter().map(|value| path(value)).collect::<Vec<_>>()),
            Self::Pairs(values) if values.iter().any(|(key, label)| key.contains('\0') || label.contains('\0')) => {
                let owned =
                    |(key, label): &(String, String)| (sendable(key).into_owned(), sendable(label).into_owned());
                Variant::from(values.iter().map(owned).collect::<Vec<_>>())
            }
            Self::Pairs(values) => {
                Variant::from(values.iter().map(|(key, label)| (key.as_str(), label.as_str())).collect::<Vec<_>>())
            }
        }
    }
}

/// Returns a text as it can be sent. None has a zero in it: a bus closes the connection of who sends one, and zbus does not look.
pub(super) fn sendable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { Cow::Owned(text.replace('\0', "\u{fffd}")) } else { Cow::Borrowed(text) }
}

/// Makes an object path of a text that is one.
pub(super) fn path(text: &str) -> ObjectPath<'_> {
    ObjectPath::try_from(text).unwrap_or_default()
}

/// Returns values as they are sent.
pub(super) fn sent(values: &Values) -> Sent<'_> {
    values.iter().map(|(name, value)| (*name, value.to_variant())).collect()
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::super::interface;
    use super::*;

    /// Workers write what they like, and a bus throws out who sends a zero in a text.
    #[test]
    fn no_text_is_sent_with_a_zero() {
        let bad = || "a\0b".to_owned();
        for value in [
            Value::from("a\0b"),
            Value::Texts(vec!["c".to_owned(), bad()]),
            Value::Pairs(vec![("c".to_owned(), bad())]),
            Value::Pairs(vec![(bad(), "c".to_owned())]),
        ] {
            let sent = value.to_variant();
            let message = zbus::Message::signal("/a", "a.b", "C").build(&(&sent,)).unwrap();
            let text = String::from_utf8_lossy(message.data()).into_owned();
            assert!(text.contains("a\u{fffd}b") && !text.contains("a\0b"), "{value:?}: {text:?}");
        }
        assert!(matches!(sendable("whole"), Cow::Borrowed("whole")));
    }

    /// What the tables say of each type is what is sent.
    #[test]
    fn values_have_the_signatures_that_are_announced() {
        for (value, signature) in [
            (Value::Truth(true), "b"),
            (Value::Small(1), "u"),
            (Value::Signed(-1), "i"),
            (Value::Large(1), "t"),
            (Value::Share(0.5), "d"),
            (Value::from("a"), "s"),
            (Value::Path("/a".to_owned()), "o"),
            (Value::Texts(Vec::new()), "as"),
            (Value::Paths(vec!["/a".to_owned()]), "ao"),
            (Value::Pairs(Vec::new()), "a(ss)"),
        ] {
            assert_eq!(value.to_variant().value_signature().to_string(), signature);
        }
        assert!(interface::interface(interface::JOB).is_some());
    }
}
