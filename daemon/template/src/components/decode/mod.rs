//! Owns the last step: options of a component, evaluated and checked against its [`Schema`](crate::Schema).

pub(crate) mod hcl;
pub(crate) mod json;
mod render;

use crate::components::options::OptionValue;

/// Reports whether a value holds any of the secrets.
fn mentions(value: &OptionValue, secrets: &[String]) -> bool {
    if secrets.is_empty() {
        return false;
    }
    let has = |text: &String| secrets.iter().any(|secret| text.contains(secret.as_str()));
    match value {
        OptionValue::String(text) => has(text),
        OptionValue::Strings(texts) => texts.iter().any(has),
        OptionValue::StringLists(lists) => lists.iter().flatten().any(has),
        OptionValue::Map(map) => map.iter().any(|(key, text)| has(key) || has(text)),
        _ => false,
    }
}
