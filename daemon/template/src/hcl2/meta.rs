//! Owns the arguments of provisioners and post-processors that are not the component's own: `only`, `timeout`, ….

use std::time::Duration;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::go::duration::parse_go_duration;
use crate::language::eval::Scope;
use crate::language::syntax::ast::Body;
use crate::language::value::{Type, Value};

/// Arguments of every provisioner.
pub(crate) const PROVISIONER: &[&str] =
    &["name", "only", "except", "override", "pause_before", "timeout", "max_retries", "continue_on_error"];
/// Arguments of every post-processor.
pub(crate) const POST_PROCESSOR: &[&str] = &["name", "only", "except", "keep_input_artifact"];

/// Reads these arguments from one body.
pub(super) struct Meta<'a> {
    pub(super) body: &'a Body,
    pub(super) scope: &'a Scope<'a>,
}

impl Meta<'_> {
    fn get(&self, name: &str, ty: &Type, diagnostics: &mut Diagnostics) -> Option<Value> {
        let attribute = self.body.attribute(name)?;
        let what = format!("attribute {name:?}");
        self.scope
            .evaluate_as(&attribute.value, ty, &what, diagnostics)
            .filter(|value| !value.is_null() && value.is_wholly_known())
    }

    pub(super) fn text(&self, name: &str, diagnostics: &mut Diagnostics) -> Option<String> {
        self.get(name, &Type::String, diagnostics)?.as_str().map(str::to_owned)
    }

    pub(super) fn flag(&self, name: &str, diagnostics: &mut Diagnostics) -> Option<bool> {
        self.get(name, &Type::Bool, diagnostics)?.as_bool()
    }

    pub(super) fn texts(&self, name: &str, diagnostics: &mut Diagnostics) -> Option<Vec<String>> {
        let value = self.get(name, &Type::list(Type::String), diagnostics)?;
        Some(value.as_elements()?.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect())
    }

    pub(super) fn duration(&self, name: &str, diagnostics: &mut Diagnostics) -> Option<Duration> {
        let text = self.text(name, diagnostics)?;
        if text.is_empty() {
            return None;
        }
        let span = self.body.attribute(name)?.value.span;
        match parse_go_duration(&text) {
            Ok(duration) => Some(Duration::try_from(duration).unwrap_or(Duration::ZERO)),
            Err(error) => {
                let detail = format!("Failed to parse {name:?}: {error}.");
                let diagnostic = Diagnostic::error("Invalid duration", detail).at(span);
                diagnostics.push(diagnostic.hint("durations need a unit: \"90s\", \"5m\", \"1h30m\""));
                None
            }
        }
    }

    pub(super) fn count(&self, name: &str, diagnostics: &mut Diagnostics) -> Option<u32> {
        let value = self.get(name, &Type::Number, diagnostics)?;
        let number = value.as_number()?;
        let count = number.to_i64().and_then(|count| u32::try_from(count).ok());
        if count.is_none() {
            let span = self.body.attribute(name)?.value.span;
            let detail = format!("{name} must be a whole number from 0 on, not {number}.");
            diagnostics.push(Diagnostic::error("Invalid number", detail).at(span));
        }
        count
    }

    /// Returns the names of sources that `override` has something for.
    pub(super) fn override_names(&self, diagnostics: &mut Diagnostics) -> Vec<String> {
        let Some(attribute) = self.body.attribute("override") else { return Vec::new() };
        let value = self.scope.evaluate(&attribute.value, diagnostics);
        value.as_entries().map(|entries| entries.keys().map(ToString::to_string).collect()).unwrap_or_default()
    }

    /// Checks the arguments of a part that no source gets.
    pub(super) fn check(&self, diagnostics: &mut Diagnostics) {
        self.duration("pause_before", diagnostics);
        self.duration("timeout", diagnostics);
        self.count("max_retries", diagnostics);
        self.flag("continue_on_error", diagnostics);
        self.flag("keep_input_artifact", diagnostics);
        self.text("name", diagnostics);
    }

    /// Returns the value of `override` for a source, if it has one.
    pub(super) fn override_for(&self, source: &str, diagnostics: &mut Diagnostics) -> Option<Value> {
        let attribute = self.body.attribute("override")?;
        let errors = diagnostics.len();
        let value = self.scope.evaluate(&attribute.value, diagnostics);
        if diagnostics.len() > errors || value.is_null() || value.is_unknown() {
            return None;
        }
        let Some(entries) = value.as_entries() else {
            let detail = "override must be an object of source names with the options to change for each.";
            diagnostics.push(
                Diagnostic::error("provisioner's override block must be an HCL object", detail)
                    .at(attribute.value.span),
            );
            return None;
        };
        let found = entries.get(source)?;
        if found.as_entries().is_none() {
            let detail = format!("The override for {source:?} must be an object with the options to change.");
            diagnostics.push(Diagnostic::error("Invalid override", detail).at(attribute.value.span));
            return None;
        }
        Some(found.clone())
    }

    /// Reports whether the component is part of a build named `TYPE.NAME`.
    pub(super) fn applies_to(&self, name: &str, diagnostics: &mut Diagnostics) -> bool {
        let only = self.texts("only", diagnostics);
        let except = self.texts("except", diagnostics);
        if let (Some(only), Some(except)) = (&only, &except)
            && !only.is_empty()
            && !except.is_empty()
        {
            let detail = "Only one of 'only' or 'except' may be specified.";
            let span = self.body.attribute("except").map(|attribute| attribute.span);
            diagnostics.push(Diagnostic::error("Both only and except", detail).at_maybe(span));
            return false;
        }
        match (only, except) {
            (Some(only), _) if !only.is_empty() => only.iter().any(|pattern| pattern == name),
            (_, Some(except)) => !except.iter().any(|pattern| pattern == name),
            _ => true,
        }
    }
}
