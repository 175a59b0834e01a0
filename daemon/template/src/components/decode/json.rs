//! Owns the decoding of legacy JSON options, with Packer's weak typing: every text is rendered first, then converted.

use std::cell::Cell;

use indexmap::IndexMap;

use super::render::{Origin, render_text};
use crate::components::config::JsonConfig;
use crate::components::generated::Generated;
use crate::components::options::{OptionEntry, OptionValue, Options};
use crate::components::schema::{OptionKind, OptionSpec, Schema};
use crate::diagnostics::source_map::Span;
use crate::diagnostics::suggest::did_you_mean;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::go::duration::parse_go_duration;
use crate::go_template::Context;
use crate::language::syntax::ast::Name;
use crate::language::syntax::json::{Json, JsonKind};

/// Options of old Packer versions that `fix` rewrites.
const FIXABLE: &[&str] = &[
    "iso_checksum_type",
    "iso_checksum_url",
    "iso_md5",
    "ssh_host_port_max",
    "ssh_host_port_min",
    "ssh_key_path",
    "ssh_disable_agent",
    "ssh_skip_nat_mapping",
    "ssh_wait_timeout",
    "guest_additions_attach",
    "filename",
];

/// Decodes and checks all options of a component.
pub(crate) fn decode(
    config: &JsonConfig,
    schema: &'static Schema,
    span: Span,
    context: &Context,
    diagnostics: &mut Diagnostics,
) -> Options {
    let specs: Vec<&'static OptionSpec> = schema.specs().collect();
    let decoder = Decoder { context, sensitive: &config.base.sensitive, unknown: Cell::new(false) };
    decoder.options(&config.options, &specs, span, diagnostics)
}

/// Parses a text as a whole number; an empty one is zero, as in Go's weak decoding.
pub(crate) fn weak_integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let (negative, digits) = match text.as_bytes().first() {
        None => return Some(0),
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        Some(_) => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    let magnitude = i64::from_str_radix(digits, radix).ok().filter(|_| !digits.starts_with(['+', '-']))?;
    Some(if negative { -magnitude } else { magnitude })
}

/// Parses a text as Go's `strconv.ParseBool` does; an empty one is false.
fn weak_bool(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

struct Decoder<'a> {
    context: &'a Context,
    sensitive: &'a [String],
    /// Whether a text of the present option is not known.
    unknown: Cell<bool>,
}

impl Decoder<'_> {
    fn options(
        &self,
        written: &[(Name, Json)],
        specs: &[&'static OptionSpec],
        span: Span,
        diagnostics: &mut Diagnostics,
    ) -> Options {
        let mut options = Options { span, ..Options::default() };
        for (key, value) in written {
            // As in Go's weak decoding, case does not count where nothing has the exact name.
            let exact = specs.iter().copied().find(|spec| spec.name == &*key.text);
            let free = |spec: &&OptionSpec| {
                spec.name.eq_ignore_ascii_case(&key.text)
                    && !options.entries.contains_key(spec.name)
                    && !written.iter().any(|(other, _)| *other.text == *spec.name)
            };
            let Some(spec) = exact.or_else(|| specs.iter().copied().find(|spec| free(spec))) else {
                diagnostics.push(unknown_key(key, specs));
                continue;
            };
            if let Some(instead) = spec.deprecated {
                let detail = format!("The option {:?} is deprecated: {instead}.", spec.name);
                diagnostics.push(Diagnostic::warning("Deprecated option", detail).at(key.span));
            }
            if matches!(value.kind, JsonKind::Null) {
                continue;
            }
            let unknown = self.unknown.replace(false);
            let decoded = self.value(value, spec, diagnostics);
            if self.unknown.replace(unknown) {
                options.unusable.insert(spec.name.to_owned());
            }
            let Some(decoded) = decoded else {
                options.unusable.insert(spec.name.to_owned());
                continue;
            };
            let sensitive = spec.sensitive || self.mentions(&decoded);
            let items = match (&decoded, &value.kind) {
                (OptionValue::Strings(_), JsonKind::Array(items)) => items.iter().map(|item| item.span).collect(),
                _ => Vec::new(),
            };
            let entry = OptionEntry { value: decoded, span: value.span, items, sensitive };
            options.entries.insert(spec.name.to_owned(), entry);
        }
        for (key, _) in written.iter().filter(|(key, _)| !specs.iter().any(|spec| spec.name == &*key.text)) {
            options.meant(&key.text, specs.iter().map(|spec| spec.name));
        }
        let missing =
            |spec: &&&OptionSpec| spec.required && !options.is_set(spec.name) && !options.is_unusable(spec.name);
        let missing: Vec<&str> = specs.iter().filter(missing).map(|spec| spec.name).collect();
        for name in missing {
            let detail = format!("The option {name:?} is required, but is not set.");
            diagnostics.push(Diagnostic::error("Missing required option", detail).at(span));
            // Whoever reads the options need not say it again.
            options.unusable.insert(name.to_owned());
        }
        options
    }

    /// Returns the text of a scalar, rendered unless the option is rendered late.
    fn text(&self, value: &Json, spec: &OptionSpec, diagnostics: &mut Diagnostics) -> Option<String> {
        match &value.kind {
            JsonKind::String(text) => {
                let mut text = text.clone();
                if !spec.late {
                    let origin = Origin { option: spec.name, span: value.span };
                    if !render_text(&mut text, &origin, self.context, diagnostics) {
                        return None;
                    }
                    if text.contains(Generated::UNKNOWN) {
                        self.unknown.set(true);
                    }
                }
                Some(text)
            }
            JsonKind::Number(number) => Some(number.to_string()),
            JsonKind::Bool(truth) => Some(if *truth { "1" } else { "0" }.to_owned()),
            JsonKind::Null => Some(String::new()),
            JsonKind::Array(_) | JsonKind::Object(_) => {
                diagnostics.push(wrong_type(spec, "a string", value));
                None
            }
        }
    }

    fn texts(&self, value: &Json, spec: &OptionSpec, diagnostics: &mut Diagnostics) -> Option<Vec<String>> {
        match &value.kind {
            JsonKind::Array(items) => items.iter().map(|item| self.text(item, spec, diagnostics)).collect(),
            JsonKind::String(_) => {
                let text = self.text(value, spec, diagnostics)?;
                // One text is a list too, with commas between its items.
                Some(if text.is_empty() { Vec::new() } else { text.split(',').map(str::to_owned).collect() })
            }
            JsonKind::Object(entries) if entries.is_empty() => Some(Vec::new()),
            _ => Some(vec![self.text(value, spec, diagnostics)?]),
        }
    }

    fn integer(&self, value: &Json, spec: &OptionSpec, diagnostics: &mut Diagnostics) -> Option<i64> {
        let found = match &value.kind {
            JsonKind::Number(number) => number.truncate().to_i64(),
            JsonKind::Bool(truth) => Some(i64::from(*truth)),
            JsonKind::String(_) => {
                let text = self.text(value, spec, diagnostics)?;
                if text.contains(Generated::UNKNOWN) {
                    return None;
                }
                weak_integer(&text)
            }
            _ => None,
        };
        if found.is_none() {
            diagnostics.push(wrong_type(spec, "a whole number", value));
        }
        found
    }

    fn value(&self, value: &Json, spec: &'static OptionSpec, diagnostics: &mut Diagnostics) -> Option<OptionValue> {
        Some(match spec.kind {
            OptionKind::String => OptionValue::String(self.text(value, spec, diagnostics)?),
            OptionKind::Bool | OptionKind::Trilean => {
                let found = match &value.kind {
                    JsonKind::Bool(truth) => Some(*truth),
                    JsonKind::Number(number) => Some(number.sign() != 0),
                    JsonKind::String(_) => {
                        let text = self.text(value, spec, diagnostics)?;
                        let trilean = matches!(spec.kind, OptionKind::Trilean);
                        if (text.is_empty() && trilean) || text.contains(Generated::UNKNOWN) {
                            return None;
                        }
                        weak_bool(&text)
                    }
                    _ => None,
                };
                if found.is_none() {
                    diagnostics.push(wrong_type(spec, "true or false", value));
                }
                OptionValue::Bool(found?)
            }
            OptionKind::Integer => OptionValue::Integer(self.integer(value, spec, diagnostics)?),
            OptionKind::Duration => return self.duration(value, spec, diagnostics),
            OptionKind::Strings => OptionValue::Strings(self.texts(value, spec, diagnostics)?),
            OptionKind::Integers => {
                // One text is a list too, with commas between its items.
                let parts: Vec<Json>;
                let items = match &value.kind {
                    JsonKind::Array(items) => items.as_slice(),
                    JsonKind::String(_) => {
                        let texts = self.texts(value, spec, diagnostics)?;
                        let part = |text| Json { kind: JsonKind::String(text), span: value.span };
                        parts = texts.into_iter().map(part).collect();
                        &parts
                    }
                    _ => std::slice::from_ref(value),
                };
                let numbers: Option<Vec<i64>> =
                    items.iter().map(|item| self.integer(item, spec, diagnostics)).collect();
                OptionValue::Integers(numbers?)
            }
            OptionKind::Map => OptionValue::Map(self.map(value, spec, diagnostics)?),
            OptionKind::StringLists => {
                let items = match &value.kind {
                    JsonKind::Array(items) => items.as_slice(),
                    _ => std::slice::from_ref(value),
                };
                let lists: Option<Vec<Vec<String>>> =
                    items.iter().map(|item| self.texts(item, spec, diagnostics)).collect();
                OptionValue::StringLists(lists?)
            }
            OptionKind::Json => OptionValue::String(self.any(value, spec, diagnostics)?.to_string()),
            OptionKind::Block(inner) => {
                let single = match &value.kind {
                    JsonKind::Array(items) if items.len() == 1 => &items[0],
                    _ => value,
                };
                OptionValue::Block(self.nested(single, spec, inner, diagnostics)?)
            }
            OptionKind::Blocks(inner) => {
                let items = match &value.kind {
                    JsonKind::Array(items) => items.as_slice(),
                    _ => std::slice::from_ref(value),
                };
                let blocks: Option<Vec<Options>> =
                    items.iter().map(|item| self.nested(item, spec, inner, diagnostics)).collect();
                OptionValue::Blocks(blocks?)
            }
        })
    }

    fn nested(
        &self,
        value: &Json,
        spec: &OptionSpec,
        inner: &'static [OptionSpec],
        diagnostics: &mut Diagnostics,
    ) -> Option<Options> {
        let JsonKind::Object(entries) = &value.kind else {
            diagnostics.push(wrong_type(spec, "an object", value));
            return None;
        };
        let specs: Vec<&'static OptionSpec> = inner.iter().collect();
        Some(self.options(entries, &specs, value.span, diagnostics))
    }

    fn map(&self, value: &Json, spec: &OptionSpec, diagnostics: &mut Diagnostics) -> Option<IndexMap<String, String>> {
        let objects: Vec<&Json> = match &value.kind {
            JsonKind::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        let mut map = IndexMap::new();
        for object in objects {
            let JsonKind::Object(entries) = &object.kind else {
                diagnostics.push(wrong_type(spec, "an object of strings", object));
                return None;
            };
            for (key, value) in entries {
                let key = Json { kind: JsonKind::String(key.text.to_string()), span: key.span };
                let key = self.text(&key, spec, diagnostics)?;
                map.insert(key, self.text(value, spec, diagnostics)?);
            }
        }
        map.sort_unstable_keys();
        Some(map)
    }

    /// Renders the texts of any value.
    fn any(&self, value: &Json, spec: &OptionSpec, diagnostics: &mut Diagnostics) -> Option<serde_json::Value> {
        Some(match &value.kind {
            JsonKind::Null => serde_json::Value::Null,
            JsonKind::Bool(truth) => (*truth).into(),
            JsonKind::Number(number) => {
                number.to_string().parse::<serde_json::Number>().map_or(serde_json::Value::Null, Into::into)
            }
            JsonKind::String(_) => self.text(value, spec, diagnostics)?.into(),
            JsonKind::Array(items) => {
                let items: Option<Vec<_>> = items.iter().map(|item| self.any(item, spec, diagnostics)).collect();
                items?.into()
            }
            JsonKind::Object(entries) => {
                let mut object = serde_json::Map::new();
                for (key, value) in entries {
                    object.insert(key.text.to_string(), self.any(value, spec, diagnostics)?);
                }
                object.into()
            }
        })
    }

    fn duration(&self, value: &Json, spec: &OptionSpec, diagnostics: &mut Diagnostics) -> Option<OptionValue> {
        let mut text = self.text(value, spec, diagnostics)?;
        if let JsonKind::Number(_) = value.kind {
            // A bare number is nanoseconds, as Go decodes it.
            text.push_str("ns");
        }
        if text.is_empty() || text.contains(Generated::UNKNOWN) {
            return None;
        }
        match parse_go_duration(&text) {
            Ok(duration) => Some(OptionValue::Duration(duration, text)),
            Err(error) => {
                let detail = format!("Error decoding '{}': {error}.", spec.name);
                let diagnostic = Diagnostic::error("Invalid duration", detail).at(value.span);
                diagnostics.push(diagnostic.hint("durations need a unit: \"90s\", \"5m\", \"1h30m\""));
                None
            }
        }
    }

    fn mentions(&self, value: &OptionValue) -> bool {
        super::mentions(value, self.sensitive)
    }
}

fn wrong_type(spec: &OptionSpec, wanted: &str, value: &Json) -> Diagnostic {
    let shown = match &value.kind {
        JsonKind::String(text) if !spec.sensitive => format!("{text:?}"),
        _ => value.noun().to_owned(),
    };
    let detail = format!("The option {:?} must be {wanted}, not {shown}.", spec.name);
    Diagnostic::error("Wrong type of option", detail).at(value.span)
}

fn unknown_key(key: &Name, specs: &[&'static OptionSpec]) -> Diagnostic {
    let name = &*key.text;
    let detail = format!("There is no option {name:?} here.");
    let hint = if FIXABLE.contains(&name) {
        Some("this option is of an older Packer; `kiln fix` rewrites it".to_owned())
    } else if name.starts_with('_') {
        Some("comments are possible only at the root of a template".to_owned())
    } else {
        did_you_mean(name, specs.iter().map(|spec| spec.name))
    };
    Diagnostic::error(format!("Unknown configuration key {name:?}"), detail).at(key.span).hint_maybe(hint)
}
