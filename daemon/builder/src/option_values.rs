//! Reads options by name: what the template sets, else the default of the component's table. There is no other default: code
//! that reads an option knows only its name.

use std::collections::BTreeMap;
use std::time::Duration;

use kiln_template::{Generated, OptionKind, OptionSpec, Options, Schema, parse_go_duration};
use serde_json::{Map, Value as Json, json};

/// The options of one component beside its table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OptionValues<'a> {
    options: &'a Options,
    schema: &'static Schema,
}

impl<'a> OptionValues<'a> {
    /// Reads `options`, which were decoded by `schema`.
    pub(crate) fn new(options: &'a Options, schema: &'static Schema) -> Self {
        Self { options, schema }
    }

    /// A text that the template sets and that is not empty: for options whose default is worked out.
    pub(crate) fn given(&self, name: &str) -> Option<&'a str> {
        self.options.string(name).filter(|text| !text.is_empty())
    }

    /// The options in a block, where the template has it.
    pub(crate) fn block(&self, name: &str) -> Option<&'a Options> {
        self.options.block(name)
    }

    /// A text that the template sets, empty or not.
    pub(crate) fn written(&self, name: &str) -> Option<&'a str> {
        self.options.string(name)
    }

    /// A text, unless it is neither set nor has a default.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.given(name).or_else(|| self.default_of(name)).map(str::to_owned)
    }

    /// A flag; without a default, unset is false.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.options.bool(name).unwrap_or_else(|| self.default_of(name) == Some("true"))
    }

    /// A list of texts; empty counts as unset.
    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        match self.options.strings(name) {
            [] => self.default_of(name).map(default_texts).unwrap_or_default(),
            texts => texts.to_vec(),
        }
    }

    /// A list of whole numbers; empty counts as unset.
    pub(crate) fn integers(&self, name: &str) -> Vec<i64> {
        match self.options.integers(name) {
            [] => self.default_of(name).map(default_integers).unwrap_or_default(),
            numbers => numbers.to_vec(),
        }
    }

    /// Texts by name.
    pub(crate) fn map(&self, name: &str) -> BTreeMap<String, String> {
        self.options.map(name).iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    /// A list of lists of texts.
    pub(crate) fn text_lists(&self, name: &str) -> Vec<Vec<String>> {
        self.options.string_lists(name).to_vec()
    }

    /// A whole number that the template sets and that is not zero, which is Packer's way to say "unset".
    pub(crate) fn given_number(&self, name: &str) -> Option<i64> {
        self.options.integer(name).filter(|&number| number != 0)
    }

    /// A whole number; zero counts as unset. Without a default, unset is zero.
    pub(crate) fn number(&self, name: &str) -> i64 {
        self.given_number(name).unwrap_or_else(|| self.default_number(name))
    }

    /// The default of a whole number; zero when there is none.
    pub(crate) fn default_number(&self, name: &str) -> i64 {
        self.default_of(name).and_then(|default| default.parse().ok()).unwrap_or(0)
    }

    /// A port; the default where what is set is none, and zero when there is no default.
    pub(crate) fn port(&self, name: &str) -> u16 {
        let given = self.given_number(name).and_then(|port| u16::try_from(port).ok());
        given.unwrap_or_else(|| u16::try_from(self.default_number(name)).unwrap_or(0))
    }

    /// The lowest and the highest of a range of ports.
    pub(crate) fn ports(&self, min: &str, max: &str) -> (u16, u16) {
        (self.port(min), self.port(max))
    }

    /// A duration that the template sets; a negative one reads as zero.
    pub(crate) fn given_duration(&self, name: &str) -> Option<Duration> {
        self.options.duration(name)
    }

    /// A duration; without a default, unset is zero.
    pub(crate) fn duration(&self, name: &str) -> Duration {
        self.given_duration(name).unwrap_or_else(|| self.default_duration(name))
    }

    /// A duration; the default where it is zero or negative.
    pub(crate) fn positive_duration(&self, name: &str) -> Duration {
        let given = self.given_duration(name).filter(|duration| !duration.is_zero());
        given.unwrap_or_else(|| self.default_duration(name))
    }

    fn default_duration(&self, name: &str) -> Duration {
        let default = self.default_of(name).and_then(|default| parse_go_duration(default).ok());
        default.unwrap_or_default().unsigned_abs()
    }

    /// A duration, or nothing when it is negative, which is Packer's way to say "never".
    pub(crate) fn duration_or_never(&self, name: &str) -> Option<Duration> {
        let negative = self.options.signed_duration(name).is_some_and(|duration| duration.is_negative());
        (!negative).then(|| self.duration(name))
    }

    /// Whether the template sets the option at all.
    pub(crate) fn is_set(&self, name: &str) -> bool {
        self.options.is_set(name)
    }

    /// What acts, by name and sorted: each option that is set or has a default. Secrets are shown as such, unless `whole`.
    pub(crate) fn to_json(self, whole: bool) -> Json {
        let given = if whole { self.options.to_json() } else { self.options.to_redacted_json() };
        let mut specs: Vec<&OptionSpec> = self.schema.specs().collect();
        specs.sort_by_key(|spec| spec.name);
        let mut acting = Map::new();
        for spec in specs {
            let value = match given.get(spec.name) {
                // A value that is known only when the build runs, and is no text.
                None if self.options.is_unusable(spec.name) => json!(Generated::UNKNOWN),
                None => match self.default_of(spec.name).map(|default| default_json(spec, default)) {
                    Some(default) => default,
                    None => continue,
                },
                Some(value) => value.clone(),
            };
            acting.insert(spec.name.to_owned(), value);
        }
        Json::Object(acting)
    }

    pub(crate) fn default_of(&self, name: &str) -> Option<&'static str> {
        let spec = self.schema.spec(name);
        debug_assert!(spec.is_some(), "{} has no option {name}", self.schema.kind);
        let of = |spec: &OptionSpec| match spec.default_where {
            Some((switch, default)) if self.flag(switch) => default,
            _ => spec.default,
        };
        spec.map(of).filter(|default| !default.is_empty())
    }
}

/// A default as the value it stands for; words about a default that is worked out stay words.
fn default_json(spec: &OptionSpec, default: &str) -> Json {
    match spec.kind {
        OptionKind::Bool | OptionKind::Trilean => json!(default == "true"),
        OptionKind::Integer => default.parse::<i64>().map_or_else(|_| json!(default), |number| json!(number)),
        OptionKind::Strings => json!(default_texts(default)),
        OptionKind::Integers => json!(default_integers(default)),
        _ => json!(default),
    }
}

/// A list as tables write it: `["a", "b"]`, or one text alone.
fn default_texts(default: &str) -> Vec<String> {
    serde_json::from_str(default).unwrap_or_else(|_| vec![default.to_owned()])
}

fn default_integers(default: &str) -> Vec<i64> {
    serde_json::from_str(default).unwrap_or_else(|_| default.parse().into_iter().collect())
}
