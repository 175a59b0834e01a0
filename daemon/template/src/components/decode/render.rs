//! Owns the rendering of Go templates inside decoded options.

use crate::components::options::OptionValue;
use crate::diagnostics::source_map::Span;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::go_template::{self, Context};

/// Where a text came from, for messages.
pub(super) struct Origin<'a> {
    pub(super) option: &'a str,
    pub(super) span: Span,
}

/// Renders every text of a value.
pub(super) fn render_value(
    value: &mut OptionValue,
    origin: &Origin<'_>,
    context: &Context,
    diagnostics: &mut Diagnostics,
) {
    match value {
        OptionValue::String(text) => {
            render_text(text, origin, context, diagnostics);
        }
        OptionValue::Strings(texts) => {
            for text in texts {
                render_text(text, origin, context, diagnostics);
            }
        }
        OptionValue::StringLists(lists) => {
            for text in lists.iter_mut().flatten() {
                render_text(text, origin, context, diagnostics);
            }
        }
        OptionValue::Map(map) => {
            *map = std::mem::take(map)
                .into_iter()
                .map(|(mut key, mut text)| {
                    render_text(&mut key, origin, context, diagnostics);
                    render_text(&mut text, origin, context, diagnostics);
                    (key, text)
                })
                .collect();
            map.sort_unstable_keys();
        }
        // Durations are rendered before they are parsed; blocks render their own options.
        OptionValue::Bool(_)
        | OptionValue::Integer(_)
        | OptionValue::Duration(..)
        | OptionValue::Integers(_)
        | OptionValue::Block(_)
        | OptionValue::Blocks(_) => {}
    }
}

/// Renders one text in place, or reports why that fails. Tells whether it is rendered.
pub(super) fn render_text(
    text: &mut String,
    origin: &Origin<'_>,
    context: &Context,
    diagnostics: &mut Diagnostics,
) -> bool {
    match go_template::render(text, context) {
        Ok(rendered) => {
            if context.fields.is_empty() {
                warn_of_fields(text, origin, diagnostics);
            }
            *text = rendered;
            true
        }
        Err(error) => {
            let part = excerpt(text, error.offset);
            let detail = format!("The Go template {part:?} in {:?} cannot be rendered: {error}.", origin.option);
            let place = precise(text, error.offset, error.length, origin.span);
            diagnostics.push(Diagnostic::error("Error interpolating an option", detail).at(place));
            false
        }
    }
}

/// Says that there are no fields yet, so that each reads `<no value>`, in Packer as here.
fn warn_of_fields(text: &str, origin: &Origin<'_>, diagnostics: &mut Diagnostics) {
    if !text.contains("{{") {
        return;
    }
    let mut fields = go_template::fields(text);
    fields.sort_unstable();
    fields.dedup();
    for field in fields {
        let written = format!(".{field}");
        let offset = text.find(&written).unwrap_or(0);
        let detail = format!(
            "{:?} is rendered before the build runs, when there are no fields: {{{{ .{field} }}}} in {:?} becomes \"<no value>\".",
            origin.option,
            excerpt(text, offset)
        );
        let hint = "give the value itself, by a variable if need be; fields have values only in options that are rendered while \
                    the build runs, such as boot_command and execute_command";
        let place = precise(text, offset, written.len(), origin.span);
        diagnostics.push(Diagnostic::warning("Template field without a value", detail).at(place).hint(hint));
    }
}

/// Returns the action around an offset, or the text itself when it is short.
fn excerpt(text: &str, offset: usize) -> &str {
    let before = text.get(..offset).unwrap_or(text);
    let start = before.rfind("{{").or_else(|| text.find("{{")).unwrap_or(0);
    let end = text[start..].find("}}").map_or(text.len(), |end| start + end + 2);
    &text[start..end]
}

/// Narrows the place to the wrong part when the text stands in the file as it is, in quotes.
fn precise(text: &str, offset: usize, length: usize, span: Span) -> Span {
    let written = (span.end - span.start) as usize;
    if written != text.len() + 2 {
        return span;
    }
    let at = |offset: usize| span.start + 1 + u32::try_from(offset.min(text.len())).unwrap_or(0);
    Span { start: at(offset), end: at(offset + length), ..span }
}
