//! Owns the decoding of HCL2 options.

use std::collections::BTreeMap;

use super::mentions;
use super::render::{Origin, render_text, render_value};
use crate::components::config::{HclConfig, build_object};
use crate::components::generated::Generated;
use crate::components::options::{OptionEntry, OptionValue, Options};
use crate::components::schema::{OptionKind, OptionSpec, Schema};
use crate::diagnostics::source_map::Span;
use crate::diagnostics::suggest::did_you_mean;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::go::duration::parse_go_duration;
use crate::go_template::Context;
use crate::language::dynamic::expand as expand_dynamic;
use crate::language::eval::Scope;
use crate::language::syntax::ast::{Body, Expr, ExprKind, ObjectKey};
use crate::language::value::convert::convert;
use crate::language::value::{Type, Value};

/// What decoding works with.
struct Decoder<'a> {
    context: &'a Context,
    sensitive: &'a [String],
}

/// Evaluates and checks all options of a component.
pub(crate) fn decode(
    config: &HclConfig,
    schema: &'static Schema,
    span: Span,
    generated: &Generated,
    context: &Context,
    diagnostics: &mut Diagnostics,
) -> Options {
    let mut names = config.names.clone();
    if config.has_build_values {
        names.insert("build".into(), build_object(generated, config.block_name.as_deref()));
    }
    let scope = config.base.scope(names);
    let decoder = Decoder { context, sensitive: &config.base.sensitive };
    let specs: Vec<&'static OptionSpec> = schema.specs().collect();
    let mut options = Options { span, ..Options::default() };
    for block in &config.bodies {
        decoder.body(&block.body, &specs, config.skip, &scope, &mut options, diagnostics);
    }
    if let Some(overrides) = &config.overrides {
        decoder.overrides(overrides, &specs, config, &mut options, diagnostics);
    }
    check_required(&specs, &mut options, span, diagnostics);
    options
}

fn check_required(specs: &[&OptionSpec], options: &mut Options, span: Span, diagnostics: &mut Diagnostics) {
    let missing = |spec: &&&OptionSpec| spec.required && !options.is_set(spec.name) && !options.is_unusable(spec.name);
    let missing: Vec<&str> = specs.iter().filter(missing).map(|spec| spec.name).collect();
    for name in missing {
        let detail = format!("The argument {name:?} is required, but no definition was found.");
        diagnostics.push(Diagnostic::error("Missing required argument", detail).at(span));
        // Whoever reads the options need not say it again.
        options.unusable.insert(name.to_owned());
    }
}

impl Decoder<'_> {
    fn body(
        &self,
        body: &Body,
        specs: &[&'static OptionSpec],
        skip: &[&str],
        scope: &Scope<'_>,
        options: &mut Options,
        diagnostics: &mut Diagnostics,
    ) {
        options.incomplete |= body.torn;
        for attribute in &body.attributes {
            let name = &*attribute.name.text;
            if skip.contains(&name) {
                continue;
            }
            let Some(spec) = specs.iter().copied().find(|spec| spec.name == name) else {
                let detail = format!("An argument named {name:?} is not expected here.");
                let known = specs.iter().map(|spec| spec.name).chain(skip.iter().copied());
                diagnostics.push(
                    Diagnostic::error("Unsupported argument", detail)
                        .at(attribute.name.span)
                        .hint_maybe(did_you_mean(name, known)),
                );
                continue;
            };
            warn_deprecated(spec, attribute.name.span, diagnostics);
            let told = diagnostics.len();
            let entry = match spec.kind {
                OptionKind::Block(inner) | OptionKind::Blocks(inner) => {
                    (self.block_from_expr(&attribute.value, spec, inner, scope, diagnostics), true)
                }
                _ => self.attribute(&attribute.value, spec, scope, diagnostics),
            };
            let (entry, known) = entry;
            if !known || (entry.is_none() && diagnostics.len() > told) {
                options.unusable.insert(name.to_owned());
            }
            if let Some(entry) = entry {
                options.entries.insert(name.to_owned(), entry);
            }
        }
        for attribute in &body.attributes {
            let name = &*attribute.name.text;
            if !skip.contains(&name) && !specs.iter().any(|spec| spec.name == name) {
                options.meant(name, specs.iter().map(|spec| spec.name));
            }
        }
        let blocks = expand_dynamic(body, &BTreeMap::new(), scope, diagnostics);
        for expanded in blocks {
            let block = &expanded.block;
            let name = &*block.kind.text;
            let Some(spec) = specs.iter().copied().find(|spec| spec.name == name) else {
                let detail = format!("Blocks of type {name:?} are not expected here.");
                let known = specs.iter().map(|spec| spec.name);
                diagnostics.push(
                    Diagnostic::error("Unsupported block type", detail)
                        .at(block.kind.span)
                        .hint_maybe(did_you_mean(name, known)),
                );
                continue;
            };
            let (OptionKind::Block(inner) | OptionKind::Blocks(inner)) = spec.kind else {
                let detail = format!("Blocks of type {name:?} are not expected here.");
                let hint = format!("{name} is an argument: write {name} = … with an equals sign");
                let diagnostic = Diagnostic::error("Unsupported block type", detail).at(block.kind.span);
                diagnostics.push(diagnostic.hint(hint));
                continue;
            };
            warn_deprecated(spec, block.kind.span, diagnostics);
            let inner_scope = scope.child(expanded.names.clone());
            let nested = self.nested(&block.body, inner, block.header, &inner_scope, diagnostics);
            add_block(options, spec, nested, block.header, diagnostics);
        }
    }

    fn nested(
        &self,
        body: &Body,
        specs: &'static [OptionSpec],
        span: Span,
        scope: &Scope<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Options {
        let specs: Vec<&'static OptionSpec> = specs.iter().collect();
        let mut nested = Options { span, ..Options::default() };
        self.body(body, &specs, &[], scope, &mut nested, diagnostics);
        check_required(&specs, &mut nested, span, diagnostics);
        nested
    }

    /// Decodes a block that is written as an object, which JSON syntax has to do.
    fn block_from_expr(
        &self,
        expr: &Expr,
        spec: &'static OptionSpec,
        inner: &'static [OptionSpec],
        scope: &Scope<'_>,
        diagnostics: &mut Diagnostics,
    ) -> Option<OptionEntry> {
        let objects: Vec<&Expr> = match &expr.kind {
            ExprKind::Tuple(items) if matches!(spec.kind, OptionKind::Blocks(_)) => items.iter().collect(),
            _ => vec![expr],
        };
        let mut blocks = Vec::new();
        for object in objects {
            let ExprKind::Object(items) = &object.kind else {
                let detail = format!("An argument named {:?} is not expected here.", spec.name);
                let diagnostic = Diagnostic::error("Unsupported argument", detail).at(expr.span);
                diagnostics
                    .push(diagnostic.hint(format!("{} is a block: write it without the equals sign", spec.name)));
                return None;
            };
            let mut body = Body { span: object.span, ..Body::default() };
            for (key, value) in items {
                let name = match key {
                    ObjectKey::Name(name) => name.clone(),
                    ObjectKey::Expr(key) => crate::language::syntax::ast::Name {
                        text: key.literal_string().unwrap_or_default().into(),
                        span: key.span,
                    },
                };
                let span = name.span.to(value.span);
                body.attributes.push(crate::language::syntax::ast::Attribute { name, value: value.clone(), span });
            }
            blocks.push(self.nested(&body, inner, object.span, scope, diagnostics));
        }
        let value = match spec.kind {
            OptionKind::Blocks(_) => OptionValue::Blocks(blocks),
            _ => OptionValue::Block(blocks.pop()?),
        };
        Some(OptionEntry { value, span: expr.span, items: Vec::new(), sensitive: spec.sensitive })
    }

    /// Returns an option's value, and whether all of it is known.
    fn attribute(
        &self,
        expr: &Expr,
        spec: &'static OptionSpec,
        scope: &Scope<'_>,
        diagnostics: &mut Diagnostics,
    ) -> (Option<OptionEntry>, bool) {
        let errors = diagnostics.len();
        let value = scope.evaluate(expr, diagnostics);
        if diagnostics.len() > errors {
            return (None, false);
        }
        (self.value(&value, spec, expr, diagnostics), value.is_wholly_known())
    }

    /// Converts a value to the option's type and renders its texts.
    fn value(
        &self,
        value: &Value,
        spec: &'static OptionSpec,
        expr: &Expr,
        diagnostics: &mut Diagnostics,
    ) -> Option<OptionEntry> {
        let span = expr.span;
        if value.is_null() {
            return None;
        }
        let wanted = match spec.kind {
            OptionKind::String | OptionKind::Duration | OptionKind::Json => Type::String,
            OptionKind::Bool | OptionKind::Trilean => Type::Bool,
            OptionKind::Integer => Type::Number,
            OptionKind::Strings => Type::list(Type::String),
            OptionKind::Integers => Type::list(Type::Number),
            OptionKind::Map => Type::map(Type::String),
            OptionKind::StringLists => Type::list(Type::list(Type::String)),
            OptionKind::Block(_) | OptionKind::Blocks(_) => return None,
        };
        let converted = match convert(value, &wanted) {
            Ok(converted) => converted,
            Err(error) => {
                let detail = format!("Inappropriate value for attribute {:?}: {error}.", spec.name);
                diagnostics.push(Diagnostic::error("Incorrect attribute value type", detail).at(span));
                return None;
            }
        };
        let sensitive = spec.sensitive || converted.is_sensitive_within();
        let mut decoded = self.plain(&converted, spec, span, diagnostics)?;
        // An element of a list literal has a place of its own.
        let items: &[Expr] = match &expr.kind {
            ExprKind::Tuple(items) => items,
            _ => &[],
        };
        let places = match &decoded {
            OptionValue::Strings(texts) if texts.len() == items.len() => items.iter().map(|item| item.span).collect(),
            _ => Vec::new(),
        };
        if !spec.late {
            match &mut decoded {
                OptionValue::Strings(texts) if texts.len() == items.len() => {
                    for (text, item) in texts.iter_mut().zip(items) {
                        let origin = Origin { option: spec.name, span: item.span };
                        render_text(text, &origin, self.context, diagnostics);
                    }
                }
                decoded => {
                    render_value(decoded, &Origin { option: spec.name, span }, self.context, diagnostics);
                }
            }
        }
        let sensitive = sensitive || mentions(&decoded, self.sensitive);
        Some(OptionEntry { value: decoded, span, items: places, sensitive })
    }

    /// Turns a converted value into an option value; unknown parts read as [`Generated::UNKNOWN`].
    fn plain(
        &self,
        value: &Value,
        spec: &'static OptionSpec,
        span: Span,
        diagnostics: &mut Diagnostics,
    ) -> Option<OptionValue> {
        let text = |value: &Value| {
            let text = value.as_str().map(str::to_owned);
            text.or_else(|| value.is_unknown().then(|| Generated::UNKNOWN.to_owned()))
        };
        let null_inside = |diagnostics: &mut Diagnostics| {
            let detail = format!("Inappropriate value for attribute {:?}: an element is null.", spec.name);
            diagnostics.push(Diagnostic::error("Incorrect attribute value type", detail).at(span));
        };
        let texts = |value: &Value, diagnostics: &mut Diagnostics| -> Option<Vec<String>> {
            let found: Option<Vec<String>> =
                value.as_elements().map(|elements| &elements[..]).unwrap_or_default().iter().map(text).collect();
            if found.is_none() {
                null_inside(diagnostics);
            }
            found
        };
        Some(match spec.kind {
            OptionKind::String | OptionKind::Json => OptionValue::String(text(value)?),
            OptionKind::Bool | OptionKind::Trilean => OptionValue::Bool(value.as_bool()?),
            OptionKind::Integer => OptionValue::Integer(self.integer(value, spec, span, diagnostics)?),
            OptionKind::Duration => return self.duration(text(value)?, spec, span, diagnostics),
            OptionKind::Strings => OptionValue::Strings(texts(value, diagnostics)?),
            OptionKind::Integers => {
                let numbers: Option<Vec<i64>> =
                    value.as_elements()?.iter().map(|element| self.integer(element, spec, span, diagnostics)).collect();
                OptionValue::Integers(numbers?)
            }
            OptionKind::Map => {
                let mut map = indexmap::IndexMap::new();
                for (key, element) in value.as_entries()?.iter() {
                    let Some(text) = text(element) else {
                        null_inside(diagnostics);
                        return None;
                    };
                    map.insert(key.to_string(), text);
                }
                OptionValue::Map(map)
            }
            OptionKind::StringLists => {
                let mut lists = Vec::new();
                for element in value.as_elements()?.iter() {
                    lists.push(texts(element, diagnostics)?);
                }
                OptionValue::StringLists(lists)
            }
            OptionKind::Block(_) | OptionKind::Blocks(_) => return None,
        })
    }

    fn integer(&self, value: &Value, spec: &OptionSpec, span: Span, diagnostics: &mut Diagnostics) -> Option<i64> {
        let number = value.as_number()?;
        let found = number.to_i64();
        if found.is_none() {
            let detail =
                format!("Inappropriate value for attribute {:?}: a whole number is required, not {number}.", spec.name);
            diagnostics.push(Diagnostic::error("Incorrect attribute value type", detail).at(span));
        }
        found
    }

    fn duration(
        &self,
        mut text: String,
        spec: &OptionSpec,
        span: Span,
        diagnostics: &mut Diagnostics,
    ) -> Option<OptionValue> {
        render_text(&mut text, &Origin { option: spec.name, span }, self.context, diagnostics);
        if text.is_empty() || text.contains(Generated::UNKNOWN) {
            return None;
        }
        match parse_go_duration(&text) {
            Ok(duration) => Some(OptionValue::Duration(duration, text)),
            Err(error) => {
                let detail = format!("Error decoding {:?}: {error}.", spec.name);
                let diagnostic = Diagnostic::error("Invalid duration", detail).at(span);
                diagnostics.push(diagnostic.hint("durations need a unit: \"90s\", \"5m\", \"1h30m\""));
                None
            }
        }
    }

    /// Puts the values of `override` over those of the body.
    fn overrides(
        &self,
        overrides: &Value,
        specs: &[&'static OptionSpec],
        config: &HclConfig,
        options: &mut Options,
        diagnostics: &mut Diagnostics,
    ) {
        let Some(entries) = overrides.as_entries() else { return };
        let attribute = config.bodies.first().and_then(|block| block.body.attribute("override"));
        let span = attribute.map_or(options.span, |attribute| attribute.value.span);
        let place = Expr { kind: ExprKind::Invalid, span };
        for (name, value) in entries.iter() {
            let Some(spec) = specs.iter().copied().find(|spec| spec.name == &**name) else {
                let detail = format!("An argument named {name:?} is not expected in this override.");
                let hint = did_you_mean(name, specs.iter().map(|spec| spec.name));
                diagnostics.push(Diagnostic::error("Unsupported argument", detail).at(span).hint_maybe(hint));
                continue;
            };
            if let Some(entry) = self.value(value, spec, &place, diagnostics) {
                options.entries.insert(name.to_string(), entry);
            }
        }
    }
}

fn warn_deprecated(spec: &OptionSpec, span: Span, diagnostics: &mut Diagnostics) {
    if let Some(instead) = spec.deprecated {
        let detail = format!("The argument {:?} is deprecated: {instead}.", spec.name);
        diagnostics.push(Diagnostic::warning("Deprecated argument", detail).at(span));
    }
}

fn add_block(options: &mut Options, spec: &OptionSpec, nested: Options, span: Span, diagnostics: &mut Diagnostics) {
    let sensitive = spec.sensitive;
    if let OptionKind::Blocks(_) = spec.kind {
        let entry = options.entries.entry(spec.name.to_owned()).or_insert_with(|| OptionEntry {
            value: OptionValue::Blocks(Vec::new()),
            span,
            items: Vec::new(),
            sensitive,
        });
        if let OptionValue::Blocks(blocks) = &mut entry.value {
            blocks.push(nested);
        }
        return;
    }
    if options.is_set(spec.name) {
        let detail = format!("Only one {} block is allowed.", spec.name);
        diagnostics.push(Diagnostic::error(format!("Duplicate {} block", spec.name), detail).at(span));
        return;
    }
    let entry = OptionEntry { value: OptionValue::Block(nested), span, items: Vec::new(), sensitive };
    options.entries.insert(spec.name.to_owned(), entry);
}
