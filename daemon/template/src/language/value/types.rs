//! Owns the types of values: primitive, collection, structural, and "not known yet".

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// A type, as cty divides them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Type {
    /// Any type; the type of an untyped `null` and of wholly unknown values.
    Dynamic,
    String,
    Number,
    Bool,
    List(Arc<Self>),
    Set(Arc<Self>),
    Map(Arc<Self>),
    Tuple(Arc<[Self]>),
    Object(Arc<BTreeMap<Arc<str>, Self>>),
}

impl Type {
    pub(crate) fn list(element: Self) -> Self {
        Self::List(Arc::new(element))
    }

    pub(crate) fn set(element: Self) -> Self {
        Self::Set(Arc::new(element))
    }

    pub(crate) fn map(element: Self) -> Self {
        Self::Map(Arc::new(element))
    }

    /// Returns the element type of a list, set or map.
    pub(crate) fn element(&self) -> Option<&Self> {
        match self {
            Self::List(element) | Self::Set(element) | Self::Map(element) => Some(element),
            _ => None,
        }
    }

    /// Reports whether [`Type::Dynamic`] occurs anywhere in it.
    pub(crate) fn has_dynamic(&self) -> bool {
        match self {
            Self::Dynamic => true,
            Self::String | Self::Number | Self::Bool => false,
            Self::List(element) | Self::Set(element) | Self::Map(element) => element.has_dynamic(),
            Self::Tuple(elements) => elements.iter().any(Self::has_dynamic),
            Self::Object(attributes) => attributes.values().any(Self::has_dynamic),
        }
    }
}

impl fmt::Display for Type {
    /// Writes the type as messages name it: `list of string`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dynamic => f.write_str("dynamic"),
            Self::String => f.write_str("string"),
            Self::Number => f.write_str("number"),
            Self::Bool => f.write_str("bool"),
            Self::List(element) => write!(f, "list of {element}"),
            Self::Set(element) => write!(f, "set of {element}"),
            Self::Map(element) => write!(f, "map of {element}"),
            Self::Tuple(_) => f.write_str("tuple"),
            Self::Object(_) => f.write_str("object"),
        }
    }
}
