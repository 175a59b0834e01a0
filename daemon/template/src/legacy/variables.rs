//! Owns the values of legacy templates' variables: defaults, variable files, `-var`, and what they refer to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use super::parse::Template;
use crate::components::generated::Generated;
use crate::diagnostics::source_map::{SourceMap, Span};
use crate::diagnostics::suggest::did_you_mean;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::go_template::{self, Context};
use crate::language::syntax::json::{JsonKind, parse_json};
use crate::world::data::{DataMode, Unset};
use crate::world::files::Files;
use crate::world::inputs::Inputs;
use crate::world::read::read_text;

/// A value before interpolation and its place, if it has one.
type Raw = (String, Option<Span>);

/// Unknown names for which one like them is looked for among all names.
const MAX_COMPARED: usize = 100;
/// Names at each end of a circle that are told.
const CIRCLE_ENDS: usize = 10;

/// Returns the values of all variables and the secrets among them.
#[expect(clippy::too_many_arguments, reason = "one caller; the parts have nothing else in common")]
pub(super) fn resolve(
    template: &Template,
    inputs: &Inputs,
    template_dir: &Path,
    files: &dyn Files,
    data: DataMode,
    unset_are: Unset,
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
        if !files_torn && unset_are == Unset::Refused {
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
        open: Vec::new(),
        opened: BTreeSet::new(),
        failed: BTreeSet::new(),
        compared: 0,
    };
    for name in raw.keys() {
        resolver.resolve(name, diagnostics);
    }
    let (mut values, failed) = (Arc::unwrap_or_clone(resolver.context.variables), resolver.failed);
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
    for name in unset.iter().copied().chain(failed) {
        values.entry(name.to_owned()).or_insert_with(|| Generated::UNKNOWN.to_owned());
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
    /// Its variables are those that have their values.
    context: Context,
    /// Variables that are being resolved, outermost first. No recursion: a chain may be as long as the template.
    open: Vec<Open<'a>>,
    /// The names of those that are being resolved.
    opened: BTreeSet<&'a str>,
    failed: BTreeSet<&'a str>,
    /// Names that were looked for among all others.
    compared: usize,
}

/// A variable that waits for those it refers to.
struct Open<'a> {
    name: &'a str,
    raw: &'a Raw,
    /// What it refers to and was not looked at yet.
    others: std::vec::IntoIter<String>,
    /// Whether all it refers to has a value.
    whole: bool,
}

/// Writes who refers to whom; of many only the first and the last.
fn circle(open: &[Open<'_>]) -> String {
    let names = |open: &[Open<'_>]| open.iter().map(|open| open.name).collect::<Vec<_>>().join(" → ");
    let first = open.first().map_or("", |open| open.name);
    if open.len() <= 2 * CIRCLE_ENDS {
        return format!("{} → {first}", names(open));
    }
    let (start, end) = (&open[..CIRCLE_ENDS], &open[open.len() - CIRCLE_ENDS..]);
    format!("{} → ({} more) → {} → {first}", names(start), open.len() - 2 * CIRCLE_ENDS, names(end))
}

impl<'a> Resolver<'a> {
    fn resolve(&mut self, name: &str, diagnostics: &mut Diagnostics) {
        self.enter(name, diagnostics);
        while let Some(last) = self.open.last_mut() {
            match last.others.next() {
                Some(other) if self.raw.contains_key(&other) => self.enter(&other, diagnostics),
                Some(other) => {
                    last.whole = false;
                    let (name, span) = (last.name, last.raw.1);
                    if !self.unset.contains(&*other) {
                        self.tell_unknown(name, &other, span, diagnostics);
                    }
                }
                None => self.leave(diagnostics),
            }
        }
    }

    /// Begins with a variable, unless it has been done already.
    fn enter(&mut self, name: &str, diagnostics: &mut Diagnostics) {
        let Some((name, raw)) = self.raw.get_key_value(name) else { return };
        if self.context.variables.contains_key(name) {
            return;
        }
        if self.opened.contains(&**name) && !self.failed.contains(&**name) {
            let start = self.open.iter().position(|open| open.name == name).unwrap_or(0);
            let detail = format!("These variables refer to each other in a circle: {}.", circle(&self.open[start..]));
            diagnostics.push(Diagnostic::error("Cycle in variables", detail).at_maybe(raw.1));
            self.failed.insert(name);
        }
        if self.failed.contains(&**name) {
            if let Some(last) = self.open.last_mut() {
                last.whole = false;
            }
            return;
        }
        self.opened.insert(name);
        self.open.push(Open { name, raw, others: go_template::user_variables(&raw.0).into_iter(), whole: true });
    }

    /// Ends with the innermost variable: all it refers to was looked at.
    fn leave(&mut self, diagnostics: &mut Diagnostics) {
        let Some(Open { name, raw: (text, span), whole, .. }) = self.open.pop() else { return };
        self.opened.remove(name);
        if whole && !self.failed.contains(name) {
            match go_template::render(text, &self.context) {
                Ok(rendered) => {
                    // Data that only a component has: the text is rendered when that component uses the variable.
                    let value = if go_template::fields(text).is_empty() { rendered } else { text.clone() };
                    // Nobody else holds them, so nothing is copied.
                    Arc::make_mut(&mut self.context.variables).insert(name.to_owned(), value);
                    return;
                }
                Err(error) => {
                    let detail = format!("Error interpolating the variable {name:?}: {error}.");
                    diagnostics.push(Diagnostic::error("Error interpolating a variable", detail).at_maybe(*span));
                }
            }
        }
        self.failed.insert(name);
        if let Some(outer) = self.open.last_mut() {
            outer.whole = false;
        }
    }

    fn tell_unknown(&mut self, name: &str, other: &str, span: Option<Span>, diagnostics: &mut Diagnostics) {
        let detail = format!("The variable {name:?} refers to the variable {other:?}, which is not set.");
        self.compared += 1;
        let hint =
            if self.compared > MAX_COMPARED { None } else { did_you_mean(other, self.raw.keys().map(String::as_str)) };
        diagnostics.push(Diagnostic::error("Unknown variable", detail).at_maybe(span).hint_maybe(hint));
    }
}
