//! Owns data sources: `data "http"`, `data "null"` and `data "kiln-image"`, which is Kiln's own.

use std::collections::BTreeMap;

use crate::components::foreign;
use crate::diagnostics::suggest::did_you_mean;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::eval::Scope;
use crate::language::shape::expect_only;
use crate::language::syntax::ast::Block;
use crate::language::value::{Entries, Type, Value};
use crate::world::data::{DataMode, HttpRequest};

/// Types of data sources.
const KINDS: [&str; 3] = ["http", "null", "kiln-image"];

/// Evaluates a data source.
pub(super) fn evaluate_data(block: &Block, scope: &Scope<'_>, data: &DataMode, diagnostics: &mut Diagnostics) -> Value {
    let kind = block.labels.first().map(|label| &*label.text).unwrap_or_default();
    match kind {
        "null" => {
            expect_only(&block.body, &["input"], &[], diagnostics);
            let output = match block.body.attribute("input") {
                Some(input) => scope
                    .evaluate_as(&input.value, &Type::String, "attribute \"input\"", diagnostics)
                    .unwrap_or_else(|| Value::unknown_of(Type::String)),
                None => {
                    let detail = "The argument \"input\" is required, but no definition was found.";
                    diagnostics.push(Diagnostic::error("Missing required argument", detail).at(block.header));
                    Value::unknown_of(Type::String)
                }
            };
            Value::object([("output".into(), output)].into_iter().collect())
        }
        "http" => evaluate_http(block, scope, data, diagnostics),
        "kiln-image" => evaluate_image(block, scope, data, diagnostics),
        other if did_you_mean(other, KINDS).is_some() && !foreign::is_of_a_platform(other) => {
            let detail = format!("There is no data source of the type {other:?}. Kiln has http, null and kiln-image.");
            let span = block.labels.first().map_or(block.header, |label| label.span);
            diagnostics
                .push(Diagnostic::error("Unknown data source", detail).at(span).hint_maybe(did_you_mean(other, KINDS)));
            Value::unknown()
        }
        other => {
            // Many templates ask such a source only inside try(), so it is an empty object, not an error.
            let detail = format!(
                "The data source {other:?} belongs to a plugin, which Kiln does not run; it has no values. Kiln has http, null and kiln-image."
            );
            diagnostics.push(Diagnostic::warning("Unknown data source", detail).at(block.header));
            Value::object(Entries::new())
        }
    }
}

/// The channel of whoever names none.
const DEFAULT_CHANNEL: &str = "latest";

fn evaluate_image(block: &Block, scope: &Scope<'_>, mode: &DataMode, diagnostics: &mut Diagnostics) -> Value {
    let errors = diagnostics.len();
    let body = &block.body;
    expect_only(body, &["image_name", "channel"], &[], diagnostics);
    let mut get = |name: &str| {
        let attribute = body.attribute(name)?;
        let what = format!("attribute {name:?}");
        scope.evaluate_as(&attribute.value, &Type::String, &what, diagnostics).filter(|value| !value.is_null())
    };
    let (name, channel) = (get("image_name"), get("channel"));
    if body.attribute("image_name").is_none() {
        let detail = "The argument \"image_name\" is required, but no definition was found.";
        diagnostics.push(Diagnostic::error("Missing required argument", detail).at(block.header));
    }
    let texts = ["image_name", "channel", "path", "format", "checksum", "size", "build", "run_uuid", "created"];
    let unknown =
        || Value::object(texts.into_iter().map(|name| (name.into(), Value::unknown_of(Type::String))).collect());
    let text = |value: &Option<Value>| value.as_ref().and_then(Value::as_str).map(str::to_owned);
    // A channel that is given and not known is not the one of whoever gives none.
    let channel = if channel.is_some() { text(&channel) } else { Some(DEFAULT_CHANNEL.to_owned()) };
    let (Some(name), Some(channel)) = (text(&name), channel) else { return unknown() };
    if diagnostics.len() != errors {
        return unknown();
    }
    let sources = match mode {
        DataMode::Unknown => return unknown(),
        DataMode::Refuse => {
            let detail = "kiln-image data sources are not looked up here.";
            diagnostics.push(Diagnostic::error("Data source not available", detail).at(block.header));
            return unknown();
        }
        DataMode::Fetch(sources) => sources,
    };
    match sources.image(&name, &channel) {
        Ok(image) => {
            let size = image.size.to_string();
            let values = [
                &name,
                &channel,
                &image.path,
                &image.format,
                &image.checksum,
                &size,
                &image.build,
                &image.run_uuid,
                &image.created,
            ];
            Value::object(
                texts.into_iter().zip(values).map(|(name, text)| (name.into(), Value::string(text))).collect(),
            )
        }
        Err(reason) => {
            let span = body.attribute("image_name").map_or(block.header, |attribute| attribute.value.span);
            diagnostics.push(Diagnostic::error("Data source failed", format!("No such image: {reason}.")).at(span));
            unknown()
        }
    }
}

/// Methods of requests.
const METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"];

fn evaluate_http(block: &Block, scope: &Scope<'_>, mode: &DataMode, diagnostics: &mut Diagnostics) -> Value {
    let errors = diagnostics.len();
    let body = &block.body;
    expect_only(body, &["url", "method", "request_headers", "request_body"], &[], diagnostics);
    let mut get = |name: &str, ty: &Type| {
        let attribute = body.attribute(name)?;
        let what = format!("attribute {name:?}");
        scope.evaluate_as(&attribute.value, ty, &what, diagnostics).filter(|value| !value.is_null())
    };
    let url = get("url", &Type::String);
    let method = get("method", &Type::String);
    let headers = get("request_headers", &Type::map(Type::String));
    let request_body = get("request_body", &Type::String);
    let text = |value: &Option<Value>| value.as_ref().and_then(Value::as_str).map(str::to_owned);
    let method = text(&method).unwrap_or_else(|| "GET".into());
    if body.attribute("url").is_none() {
        let detail = "The argument \"url\" is required, but no definition was found.";
        diagnostics.push(Diagnostic::error("Missing required argument", detail).at(block.header));
    }
    if !METHODS.contains(&method.as_str()) {
        let detail = format!("The method must be one of {}, not {method:?}.", METHODS.join(", "));
        let span = body.attribute("method").map_or(block.header, |attribute| attribute.value.span);
        diagnostics.push(Diagnostic::error("Unsupported method", detail).at(span));
    }
    let unknown = || {
        let fields = [("url", Type::String), ("body", Type::String), ("request_headers", Type::map(Type::String))];
        Value::object(fields.into_iter().map(|(name, ty)| (name.into(), Value::unknown_of(ty))).collect())
    };
    let Some(url) = text(&url).filter(|_| diagnostics.len() == errors) else { return unknown() };
    let sources = match mode {
        DataMode::Unknown => return unknown(),
        DataMode::Refuse => {
            let detail = "http data sources are not fetched here.";
            let diagnostic = Diagnostic::error("Data source not available", detail).at(block.header);
            diagnostics.push(diagnostic.hint("pass what the page says as a variable"));
            return unknown();
        }
        DataMode::Fetch(sources) => sources,
    };
    let entries = headers.as_ref().and_then(Value::as_entries).cloned().unwrap_or_default();
    let headers = entries.iter().filter_map(|(name, value)| Some((name.to_string(), value.as_str()?.to_owned())));
    let name = block.labels.get(1).map(|label| &*label.text).unwrap_or_default();
    let request = HttpRequest {
        asker: format!("data.http.{name}"),
        asked: scope.environment.redactor.redact(&url),
        url: url.clone(),
        method,
        headers: headers.collect(),
        body: text(&request_body),
    };
    let answer = sources.http(&request).and_then(|answer| {
        let body = String::from_utf8(answer.body).map_err(|_| "the answer is not text".to_owned())?;
        Ok((body, answer.headers))
    });
    match answer {
        Ok((body, headers)) => {
            // Packer calls the headers of the answer request_headers.
            let mut joined: BTreeMap<String, String> = BTreeMap::new();
            for (name, value) in headers {
                joined.entry(name).and_modify(|known| *known = format!("{known}, {value}")).or_insert(value);
            }
            let headers = joined.iter().map(|(name, value)| (name.as_str().into(), Value::string(value))).collect();
            let fields = [
                ("url", Value::string(&url)),
                ("body", Value::string(&body)),
                ("request_headers", Value::map(Type::String, headers)),
            ];
            Value::object(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
        }
        Err(reason) => {
            let detail = format!("{url} could not be fetched: {reason}.");
            diagnostics.push(Diagnostic::error("Data source failed", detail).at(block.header));
            unknown()
        }
    }
}
