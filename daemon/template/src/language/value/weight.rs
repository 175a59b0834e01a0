//! Owns how large values are: what they weigh when they are written out, and [`Namespace`], which grows cheaply.

use std::sync::Arc;

use super::data::{Data, Entries, Value};

/// Bytes of text that weigh as much as one value.
const TEXT_UNIT: usize = 64;

impl Data {
    /// Returns weight and depth.
    pub(super) fn measure(&self) -> (u32, u16) {
        let text = |length: usize| u32::try_from(length / TEXT_UNIT).unwrap_or(u32::MAX);
        let add = |(weight, depth): (u32, u16), (extra, value): (u32, &Value)| {
            let weight = weight.saturating_add(extra).saturating_add(value.weight);
            (weight, depth.max(value.depth.saturating_add(1)))
        };
        match self {
            Self::Null(_) | Self::Unknown(_) | Self::Number(_) | Self::Bool(_) => (1, 0),
            Self::String(string) => (text(string.len()).saturating_add(1), 0),
            Self::List(_, elements) | Self::Set(_, elements) | Self::Tuple(elements) => {
                elements.iter().map(|value| (0, value)).fold((1, 0), add)
            }
            Self::Map(_, entries) | Self::Object(entries) => {
                entries.iter().map(|(key, value)| (text(key.len()), value)).fold((1, 0), add)
            }
        }
    }
}

/// An object that grows entry by entry, and can be looked at meanwhile without being copied each time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Namespace {
    entries: Arc<Entries>,
    weight: u32,
    depth: u16,
}

impl Namespace {
    /// Adds or replaces an entry.
    pub(crate) fn insert(&mut self, name: Arc<str>, value: Value) {
        self.weight = self.weight.saturating_add(value.weight);
        self.depth = self.depth.max(value.depth.saturating_add(1));
        Arc::make_mut(&mut self.entries).insert(name, value);
    }

    /// Returns the object as it is now.
    pub(crate) fn value(&self) -> Value {
        let weight = self.weight.saturating_add(1);
        Value { data: Data::Object(self.entries.clone()), sensitive: false, weight, depth: self.depth }
    }
}
