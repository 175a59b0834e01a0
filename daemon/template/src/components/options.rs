//! Owns the decoded options of one component: [`Options`].

use std::collections::BTreeSet;
use std::time::Duration;

use indexmap::IndexMap;
use jiff::SignedDuration;
use serde_json::{Value as Json, json};

use crate::diagnostics::redact::SENSITIVE;
use crate::diagnostics::source_map::Span;
use crate::diagnostics::suggest::nearest;

/// One decoded value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum OptionValue {
    String(String),
    Bool(bool),
    Integer(i64),
    Duration(SignedDuration, String),
    Strings(Vec<String>),
    Integers(Vec<i64>),
    Map(IndexMap<String, String>),
    StringLists(Vec<Vec<String>>),
    Block(Options),
    Blocks(Vec<Options>),
}

/// A value, where it was written, and whether it is a secret.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct OptionEntry {
    pub(crate) value: OptionValue,
    pub(crate) span: Span,
    /// Where the elements of a list are written, when each has a place of its own.
    pub(crate) items: Vec<Span>,
    pub(crate) sensitive: bool,
}

/// The options of one component after evaluation and checks; only what the template sets is in here.
///
/// Getters return nothing (or an empty slice) for options that are unset or of another type.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    pub(crate) entries: IndexMap<String, OptionEntry>,
    /// Options that the template gives with values that are wrong or not known.
    pub(crate) unusable: BTreeSet<String>,
    /// Whether a syntax error may have swallowed some options.
    pub(crate) incomplete: bool,
    pub(crate) span: Span,
}

impl Options {
    /// Returns the text of an option.
    #[must_use]
    pub fn string(&self, name: &str) -> Option<&str> {
        match self.value(name)? {
            OptionValue::String(text) | OptionValue::Duration(_, text) => Some(text),
            _ => None,
        }
    }

    /// Returns a boolean or trilean option.
    #[must_use]
    pub fn bool(&self, name: &str) -> Option<bool> {
        match self.value(name)? {
            OptionValue::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns a whole number.
    #[must_use]
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.value(name)? {
            OptionValue::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// Returns a duration; a negative one (which Packer uses for "off") reads as zero.
    #[must_use]
    pub fn duration(&self, name: &str) -> Option<Duration> {
        Some(Duration::try_from(self.signed_duration(name)?).unwrap_or(Duration::ZERO))
    }

    /// Returns a duration that may be negative.
    #[must_use]
    pub fn signed_duration(&self, name: &str) -> Option<SignedDuration> {
        match self.value(name)? {
            OptionValue::Duration(value, _) => Some(*value),
            _ => None,
        }
    }

    /// Returns a list of texts; empty when unset.
    #[must_use]
    pub fn strings(&self, name: &str) -> &[String] {
        match self.value(name) {
            Some(OptionValue::Strings(list)) => list,
            _ => &[],
        }
    }

    /// Returns a list of whole numbers; empty when unset.
    #[must_use]
    pub fn integers(&self, name: &str) -> &[i64] {
        match self.value(name) {
            Some(OptionValue::Integers(list)) => list,
            _ => &[],
        }
    }

    /// Returns texts by name, sorted; empty when unset.
    #[must_use]
    pub fn map(&self, name: &str) -> &IndexMap<String, String> {
        static EMPTY: std::sync::LazyLock<IndexMap<String, String>> = std::sync::LazyLock::new(IndexMap::new);
        match self.value(name) {
            Some(OptionValue::Map(map)) => map,
            _ => &EMPTY,
        }
    }

    /// Returns a list of lists of texts; empty when unset.
    #[must_use]
    pub fn string_lists(&self, name: &str) -> &[Vec<String>] {
        match self.value(name) {
            Some(OptionValue::StringLists(lists)) => lists,
            _ => &[],
        }
    }

    /// Returns the options of a nested block.
    #[must_use]
    pub fn block(&self, name: &str) -> Option<&Self> {
        match self.value(name)? {
            OptionValue::Block(block) => Some(block),
            _ => None,
        }
    }

    /// Returns the options of repeated nested blocks, in order; empty when there are none.
    #[must_use]
    pub fn blocks(&self, name: &str) -> &[Self] {
        match self.value(name) {
            Some(OptionValue::Blocks(blocks)) => blocks,
            _ => &[],
        }
    }

    /// Reports whether the template gives the option a value other than `null`.
    #[must_use]
    pub fn is_set(&self, name: &str) -> bool {
        self.entries.contains_key(name)
    }

    /// Tells whether nothing can be said of an option: its value is wrong or depends on something that is, which a
    /// diagnostic has said, it is not known yet, or it may stand in a text with syntax errors.
    #[must_use]
    pub fn is_unusable(&self, name: &str) -> bool {
        self.unusable.contains(name) || (self.incomplete && !self.is_set(name))
    }

    /// Returns where the option's value is written, or the component's own place when it is unset.
    #[must_use]
    pub fn span_of(&self, name: &str) -> Span {
        self.entries.get(name).map_or(self.span, |entry| entry.span)
    }

    /// Returns where one element of a list is written, or the option's place when the element has none of its own.
    #[must_use]
    pub fn span_of_item(&self, name: &str, index: usize) -> Span {
        let item = self.entries.get(name).and_then(|entry| entry.items.get(index));
        item.copied().unwrap_or_else(|| self.span_of(name))
    }

    /// Takes a wrong name for the nearest right one: of an option that somebody meant to set, nobody need ask.
    pub(crate) fn meant<'a>(&mut self, given: &str, known: impl IntoIterator<Item = &'a str>) {
        if let Some(name) = nearest(given, known).filter(|name| !self.is_set(name)) {
            self.unusable.insert(name.to_owned());
        }
    }

    /// Returns the names of the options that are set, in template order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    /// Returns all values with secrets, for digests. Keys are sorted, so equal options give equal text.
    #[must_use]
    pub fn to_json(&self) -> Json {
        self.json(false)
    }

    /// Returns all values with every secret replaced by [`SENSITIVE`], for people and logs.
    #[must_use]
    pub fn to_redacted_json(&self) -> Json {
        self.json(true)
    }

    fn json(&self, redact: bool) -> Json {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|(name, _)| name.as_str());
        let object = entries.into_iter().map(|(name, entry)| {
            let value = match &entry.value {
                _ if redact && entry.sensitive => json!(SENSITIVE),
                OptionValue::String(text) | OptionValue::Duration(_, text) => json!(text),
                OptionValue::Bool(value) => json!(value),
                OptionValue::Integer(value) => json!(value),
                OptionValue::Strings(list) => json!(list),
                OptionValue::Integers(list) => json!(list),
                OptionValue::Map(map) => json!(map),
                OptionValue::StringLists(lists) => json!(lists),
                OptionValue::Block(block) => block.json(redact),
                OptionValue::Blocks(blocks) => blocks.iter().map(|block| block.json(redact)).collect(),
            };
            (name.clone(), value)
        });
        Json::Object(object.collect())
    }

    fn value(&self, name: &str) -> Option<&OptionValue> {
        self.entries.get(name).map(|entry| &entry.value)
    }
}
