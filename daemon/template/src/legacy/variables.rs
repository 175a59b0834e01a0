//! Owns the values of legacy templates' variables: defaults, variable files, `-var`, and what they refer to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Template;
use crate::data::DataMode;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::files::Files;
use crate::generated::Generated;
use crate::go_template::{self, Context};
use crate::hcl2::read_text;
use crate::inputs::Inputs;
use crate::source_map::{SourceMap, Span};
use crate::suggest::did_you_mean;
use crate::syntax::json::{JsonKind, parse_json};

/// A value before interpolation and its place, if it has one.
type Raw = (String, Option<Span>);

/// Returns the values of all variables and the secrets among them.
pub(super) fn resolve(
    template: &Template,
    inputs: &Inputs,
    template_dir: &Path,
    files: &dyn Files,
    data: DataMode,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) -> (BTreeMap<String, String>, Vec<String>) {
    let mut raw: BTreeMap<String, Raw> = BTreeMap::new();
    for (name, default, span) in &template.variables {
        if let Some(default) = default {
            raw.insert(name.text.to_string(), (default.clone(), Some(*span)));
        }
    }
    let mut told = Diagnostics::new();
    for path in &inputs.var_files {
        read_file(path, inputs, files, sources, &mut raw, &mut told);
    }
    // A variable file that could not be read may have set what is not set.
    let files_torn = told.has_errors();
    diagnostics.extend(told);
    for text in &inputs.vars {
        match text.split_once('=') {
            Some((name, value)) => _ = raw.insert(name.to_owned(), (value.to_owned(), None)),
            None => {
                let detail = format!("No '=' value in arg: {text}.");
                diagnostics.push(Diagnostic::error("Invalid -var option", detail).hint("write -var NAME=VALUE"));
            }
        }
    }
    let mut unset: BTreeSet<&str> = BTreeSet::new();
    for (name, default, _) in &template.variables {
        if default.is_some() || raw.contains_key(&*name.text) {
            continue;
        }
        unset.insert(&*name.text);
        if !files_torn {
            let detail = format!("Required variable not set: {}.", name.text);
            let hint = format!("pass -var '{}=…' or put it into a variable file", name.text);
            diagnostics
                .push(Diagnostic::error(format!("Unset variable {:?}", name.text), detail).at(name.span).hint(hint));
        }
    }
    let context = Context {
        environment: Some(inputs.env.clone()),
        data,
        template_dir: Some(template_dir.to_path_buf()),
        cwd: inputs.cwd.clone(),
        now: inputs.now,
        ..Context::default()
    };
    let mut resolver = Resolver {
        raw: &raw,
        unset: &unset,
        context,
        done: BTreeMap::new(),
        open: Vec::new(),
        failed: BTreeSet::new(),
    };
    for name in raw.keys() {
        resolver.visit(name, diagnostics);
    }
    let (mut values, failed) = (resolver.done, resolver.failed);
    let mut sensitive: Vec<String> = template
        .sensitive
        .iter()
        .filter_map(|name| values.get(name))
        .filter(|value| !value.is_empty())
        .cloned()
        .collect();
    // What comes out of a vault is a secret, marked or not.
    let from_vault = |name: &String| raw.get(name).is_some_and(|(text, _)| go_template::calls(text, "vault"));
    let stored = values.iter().filter(|(name, value)| from_vault(name) && *value != Generated::UNKNOWN);
    sensitive.extend(stored.map(|(_, value)| value.clone()));
    sensitive.sort();
    sensitive.dedup();
    // What has no value, which has been said, is unknown where it is used.
    for name in unset.into_iter().map(str::to_owned).chain(failed) {
        values.entry(name).or_insert_with(|| Generated::UNKNOWN.to_owned());
    }
    (values, sensitive)
}

fn read_file(
    path: &Path,
    inputs: &Inputs,
    files: &dyn Files,
    sources: &mut SourceMap,
    raw: &mut BTreeMap<String, Raw>,
    diagnostics: &mut Diagnostics,
) {
    let Some(file) = read_text(&inputs.cwd, path, files, sources, diagnostics) else { return };
    let Some(json) = parse_json(sources, file, diagnostics) else { return };
    let JsonKind::Object(entries) = json.kind else {
        let detail = "A variable file must be an object of strings.";
        diagnostics.push(Diagnostic::error("Wrong type", detail).at(json.span));
        return;
    };
    for (name, value) in entries {
        match value.kind {
            JsonKind::String(text) => _ = raw.insert(name.text.to_string(), (text, Some(value.span))),
            _ => {
                let detail = format!("The variable {:?} must be a string, not {}.", name.text, value.noun());
                let diagnostic = Diagnostic::error("Wrong type", detail).at(value.span);
                diagnostics.push(diagnostic.hint("put the value in quotes"));
            }
        }
    }
}

struct Resolver<'a> {
    raw: &'a BTreeMap<String, Raw>,
    /// Variables without a value.
    unset: &'a BTreeSet<&'a str>,
    context: Context,
    done: BTreeMap<String, String>,
    /// Variables that are being resolved, outermost first.
    open: Vec<String>,
    failed: BTreeSet<String>,
}

impl Resolver<'_> {
    fn visit(&mut self, name: &str, diagnostics: &mut Diagnostics) {
        if self.done.contains_key(name) || self.failed.contains(name) {
            return;
        }
        let Some((text, span)) = self.raw.get(name) else { return };
        if let Some(start) = self.open.iter().position(|open| open == name) {
            let circle: Vec<&str> = self.open[start..].iter().map(String::as_str).chain([name]).collect();
            let detail = format!("These variables refer to each other in a circle: {}.", circle.join(" → "));
            diagnostics.push(Diagnostic::error("Cycle in variables", detail).at_maybe(*span));
            self.failed.insert(name.to_owned());
            return;
        }
        self.open.push(name.to_owned());
        let mut whole = true;
        for other in go_template::user_variables(text) {
            if self.raw.contains_key(&other) {
                self.visit(&other, diagnostics);
                whole &= !self.failed.contains(&other);
            } else if self.unset.contains(&*other) {
                whole = false;
            } else {
                let detail = format!("The variable {name:?} refers to the variable {other:?}, which is not set.");
                let hint = did_you_mean(&other, self.raw.keys().map(String::as_str));
                let diagnostic = Diagnostic::error("Unknown variable", detail).at_maybe(*span);
                diagnostics.push(diagnostic.hint_maybe(hint));
                whole = false;
            }
        }
        self.open.pop();
        if !whole || self.failed.contains(name) {
            self.failed.insert(name.to_owned());
            return;
        }
        self.context.variables.clone_from(&self.done);
        match go_template::render(text, &self.context) {
            // Data that only a component has: the text is rendered when that component uses the variable.
            Ok(_) if !go_template::fields(text).is_empty() => _ = self.done.insert(name.to_owned(), text.clone()),
            Ok(value) => _ = self.done.insert(name.to_owned(), value),
            Err(error) => {
                let detail = format!("Error interpolating the variable {name:?}: {error}.");
                diagnostics.push(Diagnostic::error("Error interpolating a variable", detail).at_maybe(*span));
                self.failed.insert(name.to_owned());
            }
        }
    }
}
