//! Owns the writing of JSON options as HCL arguments and blocks, not yet aligned.

use super::calls::{Calls, quoted};
use crate::language::shape::is_identifier;
use crate::language::syntax::json::{Json, JsonKind};

/// Objects of these names are blocks even when they hold only plain values.
const ALWAYS_BLOCKS: &[&str] = &["linux_options", "network_interface", "shared_image_gallery"];

/// One argument or block to be written.
pub(super) enum Entry<'a> {
    /// As the template has it.
    Json(&'a Json),
    /// An argument whose value is HCL already.
    Hcl(String),
}

/// Writes options sorted by name. Objects that hold more than plain values become blocks, as do lists of objects.
pub(super) fn write(mut entries: Vec<(&str, Entry<'_>)>, calls: &mut Calls, out: &mut String) {
    entries.sort_by_key(|(name, _)| *name);
    for (name, entry) in entries {
        match entry {
            Entry::Hcl(text) => argument(name, &text, out),
            Entry::Json(json) => write_json(name, json, calls, out),
        }
    }
}

fn write_json(name: &str, json: &Json, calls: &mut Calls, out: &mut String) {
    match &json.kind {
        JsonKind::Object(entries) => {
            let plain = !entries.is_empty() && entries.iter().all(|(_, value)| is_plain(value));
            if plain && !ALWAYS_BLOCKS.contains(&name) {
                let text = value(json, calls);
                argument(name, &text, out);
            } else {
                block(name, json, calls, out);
            }
        }
        JsonKind::Array(items) if items.is_empty() => {}
        JsonKind::Array(items) if items.iter().all(|item| matches!(item.kind, JsonKind::Object(_))) => {
            items.iter().for_each(|item| block(name, item, calls, out));
        }
        _ => {
            let text = value(json, calls);
            argument(name, &text, out);
        }
    }
}

fn is_plain(json: &Json) -> bool {
    matches!(json.kind, JsonKind::String(_) | JsonKind::Number(_) | JsonKind::Bool(_))
}

fn argument(name: &str, text: &str, out: &mut String) {
    out.push_str(&format!("{name} = {text}\n"));
}

fn block(name: &str, json: &Json, calls: &mut Calls, out: &mut String) {
    let JsonKind::Object(entries) = &json.kind else { return };
    out.push_str(&format!("{name} {{\n"));
    write(entries.iter().map(|(key, value)| (&*key.text, Entry::Json(value))).collect(), calls, out);
    out.push_str("}\n");
}

/// Returns a value as an HCL expression.
pub(super) fn value(json: &Json, calls: &mut Calls) -> String {
    match &json.kind {
        JsonKind::Null => "null".into(),
        JsonKind::Bool(truth) => truth.to_string(),
        // Packer reads the numbers of JSON as floats.
        JsonKind::Number(number) => number.to_f64().to_string(),
        JsonKind::String(text) => calls.quoted(text),
        JsonKind::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| value(item, calls)).collect();
            format!("[{}]", items.join(", "))
        }
        JsonKind::Object(entries) if entries.is_empty() => "{}".into(),
        JsonKind::Object(entries) => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by_key(|(key, _)| &*key.text);
            let mut out = String::from("{\n");
            for (key, item) in sorted {
                let name = if is_identifier(&key.text) { key.text.to_string() } else { calls.quoted(&key.text) };
                out.push_str(&format!("{name} = {}\n", value(item, calls)));
            }
            out.push('}');
            out
        }
    }
}

/// Returns a list of texts as an HCL expression; the texts are taken as they are.
pub(super) fn list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let texts: Vec<String> = texts.map(quoted).collect();
    format!("[{}]", texts.join(", "))
}
