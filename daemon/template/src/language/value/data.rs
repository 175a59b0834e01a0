//! Owns [`Value`]: what expressions evaluate to, with types, unknowns, nulls and the mark of secrets.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use unicode_normalization::UnicodeNormalization as _;

use super::number::Number;
use super::types::Type;

/// Attributes of an object or elements of a map; iteration is by sorted key.
pub(crate) type Entries = BTreeMap<Arc<str>, Value>;

/// A value. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(super) data: Data,
    pub(super) sensitive: bool,
    /// How large the value is when it is written out: values inside it, and one for every 64 bytes of text. Parts that are shared
    /// count as often as they occur, so a short text can describe something very large.
    pub(super) weight: u32,
    /// How many values are nested in each other.
    pub(super) depth: u16,
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.sensitive == other.sensitive && self.data == other.data
    }
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Data {
    Null(Type),
    Unknown(Type),
    String(Arc<str>),
    Number(Number),
    Bool(bool),
    List(Type, Arc<[Value]>),
    /// Elements in canonical order, each once.
    Set(Type, Arc<[Value]>),
    Map(Type, Arc<Entries>),
    Tuple(Arc<[Value]>),
    Object(Arc<Entries>),
}

impl From<Data> for Value {
    fn from(data: Data) -> Self {
        let (weight, depth) = data.measure();
        Self { data, sensitive: false, weight, depth }
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Data::Bool(value).into()
    }
}

impl From<Number> for Value {
    fn from(value: Number) -> Self {
        Data::Number(value).into()
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Data::Number(value.into()).into()
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Data::Number(value.into()).into()
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::string(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::string(&text)
    }
}

impl Value {
    /// Returns a text in Unicode normal form C, which all strings of the language have.
    pub(crate) fn string(text: &str) -> Self {
        let normal = unicode_normalization::is_nfc_quick(text.chars()) == unicode_normalization::IsNormalized::Yes;
        Data::String(if normal { text.into() } else { text.nfc().collect::<String>().into() }).into()
    }

    pub(crate) fn null() -> Self {
        Data::Null(Type::Dynamic).into()
    }

    pub(crate) fn null_of(ty: Type) -> Self {
        Data::Null(ty).into()
    }

    pub(crate) fn unknown() -> Self {
        Data::Unknown(Type::Dynamic).into()
    }

    pub(crate) fn unknown_of(ty: Type) -> Self {
        Data::Unknown(ty).into()
    }

    pub(crate) fn tuple(elements: Vec<Self>) -> Self {
        Data::Tuple(elements.into()).into()
    }

    pub(crate) fn object(attributes: Entries) -> Self {
        Data::Object(Arc::new(attributes)).into()
    }

    /// Returns a list; every element must already be of the type.
    pub(crate) fn list(element: Type, elements: Vec<Self>) -> Self {
        Data::List(element, elements.into()).into()
    }

    /// Returns a map; every element must already be of the type.
    pub(crate) fn map(element: Type, elements: Entries) -> Self {
        Data::Map(element, Arc::new(elements)).into()
    }

    /// Returns a set; every element must already be of the type. Duplicates are dropped, the mark of any element is
    /// the mark of the set.
    pub(crate) fn set(element: Type, elements: Vec<Self>) -> Self {
        let sensitive = elements.iter().any(Self::is_sensitive_within);
        let mut keyed: Vec<(SetKey, Self)> =
            elements.into_iter().map(|value| (value.set_key(), value.unmarked_within())).collect();
        keyed.sort_by(|left, right| left.0.cmp(&right.0));
        keyed.dedup_by(|later, earlier| later.0 == earlier.0 && !matches!(later.0, SetKey::Unknown));
        let elements: Vec<Self> = keyed.into_iter().map(|(_, value)| value).collect();
        Self::from(Data::Set(element, elements.into())).marked(sensitive)
    }

    pub(crate) fn list_of_strings<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Self {
        Self::list(Type::String, texts.into_iter().map(|text| Self::string(text.as_ref())).collect())
    }

    /// Returns how large the value is when it is written out.
    pub(crate) fn weight(&self) -> u32 {
        self.weight
    }

    /// Returns how many values are nested in each other.
    pub(crate) fn depth(&self) -> u16 {
        self.depth
    }

    pub(crate) fn data(&self) -> &Data {
        &self.data
    }

    /// Reports whether this value itself is marked as a secret.
    pub(crate) fn is_sensitive(&self) -> bool {
        self.sensitive
    }

    /// Reports whether this value or anything in it is marked as a secret.
    pub(crate) fn is_sensitive_within(&self) -> bool {
        self.sensitive || self.children().any(Self::is_sensitive_within)
    }

    /// Marks the value as a secret if `sensitive`; a mark is never taken away.
    #[must_use]
    pub(crate) fn marked(mut self, sensitive: bool) -> Self {
        self.sensitive |= sensitive;
        self
    }

    /// Takes all marks away, for comparisons.
    fn unmarked_within(&self) -> Self {
        if !self.is_sensitive_within() {
            return self.clone();
        }
        let each = |elements: &Arc<[Self]>| elements.iter().map(Self::unmarked_within).collect::<Arc<[Self]>>();
        let entries = |entries: &Arc<Entries>| {
            Arc::new(entries.iter().map(|(key, value)| (key.clone(), value.unmarked_within())).collect())
        };
        let data = match &self.data {
            Data::List(ty, elements) => Data::List(ty.clone(), each(elements)),
            Data::Set(ty, elements) => Data::Set(ty.clone(), each(elements)),
            Data::Tuple(elements) => Data::Tuple(each(elements)),
            Data::Map(ty, map) => Data::Map(ty.clone(), entries(map)),
            Data::Object(object) => Data::Object(entries(object)),
            other => other.clone(),
        };
        data.into()
    }

    /// Returns elements, map values and attribute values.
    pub(crate) fn children(&self) -> Box<dyn Iterator<Item = &Self> + '_> {
        match &self.data {
            Data::List(_, elements) | Data::Set(_, elements) | Data::Tuple(elements) => Box::new(elements.iter()),
            Data::Map(_, entries) | Data::Object(entries) => Box::new(entries.values()),
            _ => Box::new(std::iter::empty()),
        }
    }

    pub(crate) fn ty(&self) -> Type {
        match &self.data {
            Data::Null(ty) | Data::Unknown(ty) => ty.clone(),
            Data::String(_) => Type::String,
            Data::Number(_) => Type::Number,
            Data::Bool(_) => Type::Bool,
            Data::List(element, _) => Type::list(element.clone()),
            Data::Set(element, _) => Type::set(element.clone()),
            Data::Map(element, _) => Type::map(element.clone()),
            Data::Tuple(elements) => Type::Tuple(elements.iter().map(Self::ty).collect()),
            Data::Object(attributes) => {
                Type::Object(Arc::new(attributes.iter().map(|(name, value)| (name.clone(), value.ty())).collect()))
            }
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.data, Data::Null(_))
    }

    pub(crate) fn is_unknown(&self) -> bool {
        matches!(self.data, Data::Unknown(_))
    }

    /// Reports whether nothing in the value is unknown.
    pub(crate) fn is_wholly_known(&self) -> bool {
        !self.is_unknown() && self.children().all(Self::is_wholly_known)
    }

    /// Reports whether a number in the value is infinite, which no data format can hold.
    pub(crate) fn holds_infinity(&self) -> bool {
        self.as_number().is_some_and(Number::is_infinite) || self.children().any(Self::holds_infinity)
    }

    pub(crate) fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::String(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn as_number(&self) -> Option<&Number> {
        match &self.data {
            Data::Number(number) => Some(number),
            _ => None,
        }
    }

    pub(crate) fn as_bool(&self) -> Option<bool> {
        match self.data {
            Data::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// Returns the elements of a list, set or tuple in order.
    pub(crate) fn as_elements(&self) -> Option<&Arc<[Self]>> {
        match &self.data {
            Data::List(_, elements) | Data::Set(_, elements) | Data::Tuple(elements) => Some(elements),
            _ => None,
        }
    }

    /// Returns the entries of a map or object.
    pub(crate) fn as_entries(&self) -> Option<&Arc<Entries>> {
        match &self.data {
            Data::Map(_, entries) | Data::Object(entries) => Some(entries),
            _ => None,
        }
    }

    /// Reports whether `for` and `...` can go through values of this kind.
    pub(crate) fn can_iterate(&self) -> bool {
        self.as_elements().is_some() || self.as_entries().is_some()
    }

    /// Returns (key, value) pairs as `for` sees them; the value's own mark is put on each.
    pub(crate) fn pairs(&self) -> Vec<(Self, Self)> {
        let marked = |value: &Self| value.clone().marked(self.sensitive);
        match &self.data {
            Data::List(_, elements) | Data::Tuple(elements) => {
                elements.iter().enumerate().map(|(index, value)| (Self::from(index), marked(value))).collect()
            }
            Data::Set(_, elements) => elements.iter().map(|value| (marked(value), marked(value))).collect(),
            Data::Map(_, entries) | Data::Object(entries) => {
                entries.iter().map(|(key, value)| (Self::string(key), marked(value))).collect()
            }
            _ => Vec::new(),
        }
    }

    /// Compares as `==` does: values of different types are different; unknown in any part makes the answer unknown.
    pub(crate) fn equals(&self, other: &Self) -> Option<bool> {
        let both = |left: &[Self], right: &[Self]| {
            if left.len() != right.len() {
                return Some(false);
            }
            let mut answer = Some(true);
            for (left, right) in left.iter().zip(right) {
                match left.equals(right) {
                    Some(true) => {}
                    Some(false) => return Some(false),
                    None => answer = None,
                }
            }
            answer
        };
        match (&self.data, &other.data) {
            (Data::Null(_), Data::Null(_)) => Some(true),
            (Data::Unknown(_), _) | (_, Data::Unknown(_)) => None,
            (Data::Null(_), _) | (_, Data::Null(_)) => Some(false),
            (Data::String(left), Data::String(right)) => Some(left == right),
            (Data::Number(left), Data::Number(right)) => Some(left == right),
            (Data::Bool(left), Data::Bool(right)) => Some(left == right),
            (Data::List(left_type, left), Data::List(right_type, right))
            | (Data::Set(left_type, left), Data::Set(right_type, right)) => {
                if left_type == right_type {
                    both(left, right)
                } else {
                    Some(false)
                }
            }
            (Data::Tuple(left), Data::Tuple(right)) => {
                if self.ty() == other.ty() {
                    both(left, right)
                } else {
                    Some(false)
                }
            }
            (Data::Map(_, left), Data::Map(_, right)) | (Data::Object(left), Data::Object(right)) => {
                if self.ty() != other.ty() || !left.keys().eq(right.keys()) {
                    return Some(false);
                }
                let left: Vec<Self> = left.values().cloned().collect();
                let right: Vec<Self> = right.values().cloned().collect();
                both(&left, &right)
            }
            _ => Some(false),
        }
    }

    /// Returns what decides the order of a set: primitives by value, the rest by a text that spells them out.
    fn set_key(&self) -> SetKey {
        match &self.data {
            Data::Null(_) => SetKey::Null,
            Data::Unknown(_) => SetKey::Unknown,
            Data::String(text) => SetKey::String(text.clone()),
            Data::Number(number) => SetKey::Number(number.clone()),
            Data::Bool(value) => SetKey::Bool(*value),
            _ => {
                let mut text = String::new();
                self.spell(&mut text);
                SetKey::Spelled(text)
            }
        }
    }

    fn spell(&self, out: &mut String) {
        let each = |out: &mut String, open, values: &mut dyn Iterator<Item = &Self>, close| {
            out.push(open);
            for value in values {
                value.spell(out);
                out.push(';');
            }
            out.push(close);
        };
        match &self.data {
            Data::Unknown(_) => out.push('?'),
            Data::Null(_) => out.push('~'),
            Data::Number(number) => _ = write!(out, "{number}"),
            Data::Bool(value) => out.push(if *value { 'T' } else { 'F' }),
            Data::String(text) => _ = write!(out, "{text:?}"),
            Data::List(_, elements) | Data::Set(_, elements) => each(out, '[', &mut elements.iter(), ']'),
            Data::Tuple(elements) => each(out, '<', &mut elements.iter(), '>'),
            Data::Object(attributes) => each(out, '<', &mut attributes.values(), '>'),
            Data::Map(_, entries) => {
                out.push('{');
                for (key, value) in entries.iter() {
                    _ = write!(out, "{key:?}:");
                    value.spell(out);
                    out.push(';');
                }
                out.push('}');
            }
        }
    }
}

/// Orders the elements of a set; nulls and unknowns come last.
#[derive(Debug, Clone, PartialEq, Eq)]
enum SetKey {
    Bool(bool),
    Number(Number),
    String(Arc<str>),
    Spelled(String),
    Unknown,
    Null,
}

impl SetKey {
    fn rank(&self) -> u8 {
        match self {
            Self::Bool(_) | Self::Number(_) | Self::String(_) | Self::Spelled(_) => 0,
            Self::Unknown => 1,
            Self::Null => 2,
        }
    }

    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            (Self::Number(left), Self::Number(right)) => left.cmp(right),
            (Self::String(left), Self::String(right)) => left.cmp(right),
            (Self::Spelled(left), Self::Spelled(right)) => left.cmp(right),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}
