//! Owns the structure of legacy JSON templates.

use crate::components::version::Constraints;
use crate::diagnostics::source_map::Span;
use crate::diagnostics::suggest::did_you_mean;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::go_template::PACKER_VERSION;
use crate::language::syntax::ast::Name;
use crate::language::syntax::json::{Json, JsonKind};

/// A template, as written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Template {
    pub(crate) description: Option<String>,
    pub(crate) min_version: Option<String>,
    /// Names and defaults; nothing makes a variable required.
    pub(crate) variables: Vec<(Name, Option<String>, Span)>,
    pub(crate) sensitive: Vec<String>,
    pub(crate) builders: Vec<Builder>,
    pub(crate) provisioners: Vec<Provisioner>,
    pub(crate) cleanup: Option<Provisioner>,
    pub(crate) post_processors: Vec<Vec<PostProcessor>>,
}

/// Options of a component, as written.
pub(crate) type Options = Vec<(Name, Json)>;

#[derive(Debug, Clone)]
pub(crate) struct Builder {
    pub(crate) kind: String,
    /// The name before interpolation; the kind where none is given.
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) options: Options,
}

#[derive(Debug, Clone)]
pub(crate) struct Provisioner {
    pub(crate) kind: String,
    pub(crate) span: Span,
    pub(crate) selection: Selection,
    pub(crate) overrides: Vec<(Name, Options)>,
    /// `pause_before`, `timeout` and `max_retries`, still to be interpolated.
    pub(crate) wrapper: Options,
    pub(crate) options: Options,
}

#[derive(Debug, Clone)]
pub(crate) struct PostProcessor {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) span: Span,
    pub(crate) selection: Selection,
    pub(crate) keep_input_artifact: Option<bool>,
    pub(crate) options: Options,
}

/// `only` and `except`: builder names before interpolation.
#[derive(Debug, Clone, Default)]
pub(crate) struct Selection {
    pub(crate) only: Vec<(String, Span)>,
    pub(crate) except: Vec<(String, Span)>,
}

impl Selection {
    pub(crate) fn includes(&self, name: &str) -> bool {
        let has = |list: &[(String, Span)]| list.iter().any(|(known, _)| known == name);
        if self.only.is_empty() { !has(&self.except) } else { has(&self.only) }
    }
}

const ROOT_KEYS: &[&str] = &[
    "builders",
    "description",
    "error-cleanup-provisioner",
    "min_packer_version",
    "post-processors",
    "provisioners",
    "push",
    "sensitive-variables",
    "variables",
];

/// Reads the structure, reporting all that is wrong with it, also that there is nothing to build.
pub(super) fn template(json: &Json, diagnostics: &mut Diagnostics) -> Template {
    let template = structure(json, diagnostics);
    if template.builders.is_empty() && !diagnostics.has_errors() {
        let detail = "At least one builder must be defined.";
        diagnostics.push(Diagnostic::error("No builders", detail).at(json.span.before()));
    }
    template
}

/// Reads the structure of a template that may have no builders.
pub(crate) fn structure(json: &Json, diagnostics: &mut Diagnostics) -> Template {
    let mut template = Template::default();
    check_duplicates(json, diagnostics);
    let JsonKind::Object(entries) = &json.kind else {
        diagnostics.push(wrong_type("The template", "an object", json));
        return template;
    };
    for (key, value) in entries {
        // As in Go's decoding, case does not count, and null is nothing.
        let known = ROOT_KEYS.iter().find(|known| known.eq_ignore_ascii_case(&key.text));
        if known.is_some() && matches!(value.kind, JsonKind::Null) {
            continue;
        }
        match known.copied().unwrap_or(&key.text) {
            "builders" => {
                template.builders =
                    array(key, value, diagnostics).filter_map(|item| builder(item, diagnostics)).collect();
            }
            "description" => template.description = text(key, value, diagnostics),
            "error-cleanup-provisioner" => template.cleanup = provisioner(value, diagnostics),
            "min_packer_version" => template.min_version = version(key, value, diagnostics),
            "post-processors" => {
                let chains = array(key, value, diagnostics).map(|item| post_processors(item, diagnostics));
                template.post_processors = chains.filter(|chain| !chain.is_empty()).collect();
            }
            "provisioners" => {
                template.provisioners =
                    array(key, value, diagnostics).filter_map(|item| provisioner(item, diagnostics)).collect();
            }
            "push" => {}
            "sensitive-variables" => {
                let names = array(key, value, diagnostics).filter_map(|item| text(key, item, diagnostics));
                template.sensitive = names.collect();
            }
            "variables" => template.variables = variables(value, diagnostics),
            comment if comment.starts_with('_') => {
                if !matches!(value.kind, JsonKind::String(_)) {
                    diagnostics.push(wrong_type(&format!("The comment {comment:?}"), "a string", value));
                }
            }
            other => {
                let detail = format!("Unknown root level key in template: '{other}'.");
                let hint = did_you_mean(other, ROOT_KEYS.iter().copied())
                    .unwrap_or_else(|| "names of comments begin with an underscore".into());
                diagnostics.push(Diagnostic::error("Unknown root level key", detail).at(key.span).hint(hint));
            }
        }
    }
    check_selections(&template, diagnostics);
    template
}

fn check_duplicates(json: &Json, diagnostics: &mut Diagnostics) {
    match &json.kind {
        JsonKind::Array(items) => items.iter().for_each(|item| check_duplicates(item, diagnostics)),
        JsonKind::Object(entries) => {
            let mut seen = std::collections::HashSet::new();
            for (key, value) in entries {
                if !seen.insert(&key.text) {
                    let detail = format!("The template has a duplicate field: {}.", key.text);
                    diagnostics.push(Diagnostic::error("Duplicate field", detail).at(key.span));
                }
                check_duplicates(value, diagnostics);
            }
        }
        _ => {}
    }
}

fn wrong_type(what: &str, wanted: &str, found: &Json) -> Diagnostic {
    let detail = format!("{what} must be {wanted}, not {}.", found.noun());
    Diagnostic::error("Wrong type", detail).at(found.span)
}

fn array<'a>(key: &Name, value: &'a Json, diagnostics: &mut Diagnostics) -> std::slice::Iter<'a, Json> {
    match &value.kind {
        JsonKind::Array(items) => items.iter(),
        JsonKind::Null => [].iter(),
        _ => {
            diagnostics.push(wrong_type(&format!("{:?}", key.text), "an array", value));
            [].iter()
        }
    }
}

fn text(key: &Name, value: &Json, diagnostics: &mut Diagnostics) -> Option<String> {
    if let JsonKind::String(text) = &value.kind {
        return Some(text.clone());
    }
    diagnostics.push(wrong_type(&format!("{:?}", key.text), "a string", value));
    None
}

/// Returns a name, which may be written as a number or a boolean too; nothing for an empty one.
fn name(key: &Name, value: &Json, diagnostics: &mut Diagnostics) -> Option<String> {
    match &value.kind {
        JsonKind::Number(number) => Some(number.to_string()),
        JsonKind::Bool(truth) => Some(if *truth { "1" } else { "0" }.to_owned()),
        JsonKind::Null => None,
        _ => text(key, value, diagnostics).filter(|name| !name.is_empty()),
    }
}

fn object<'a>(what: &str, value: &'a Json, diagnostics: &mut Diagnostics) -> Option<&'a [(Name, Json)]> {
    if let JsonKind::Object(entries) = &value.kind {
        return Some(entries);
    }
    diagnostics.push(wrong_type(what, "an object", value));
    None
}

fn variables(value: &Json, diagnostics: &mut Diagnostics) -> Vec<(Name, Option<String>, Span)> {
    let mut found = Vec::new();
    for (name, value) in object("\"variables\"", value, diagnostics).unwrap_or_default() {
        let default = match &value.kind {
            JsonKind::Null => None,
            JsonKind::String(text) => Some(text.clone()),
            _ => {
                let diagnostic = wrong_type(&format!("The variable {:?}", name.text), "a string or null", value);
                diagnostics.push(diagnostic.hint("put the value in quotes"));
                continue;
            }
        };
        found.push((name.clone(), default, value.span));
    }
    found
}

fn version(key: &Name, value: &Json, diagnostics: &mut Diagnostics) -> Option<String> {
    let text = text(key, value, diagnostics)?;
    match Constraints::parse(&format!(">= {text}")) {
        Err(_) => {
            let detail = format!("min_packer_version is {text:?}, which is not a version.");
            diagnostics.push(Diagnostic::error("Invalid version", detail).at(value.span));
        }
        Ok(constraints) if !constraints.allow_current() => {
            let detail = format!(
                "This template asks for Packer {text} or later. Kiln understands the language of Packer {}.",
                PACKER_VERSION
            );
            diagnostics.push(Diagnostic::error("Unsupported Packer version", detail).at(value.span));
        }
        Ok(_) => {}
    }
    Some(text)
}

fn kind_of(what: &str, json: &Json, entries: &[(Name, Json)], diagnostics: &mut Diagnostics) -> Option<(String, Span)> {
    let Some((key, value)) = entries.iter().find(|(key, _)| &*key.text == "type") else {
        let detail = format!("The {what} has no 'type'.");
        diagnostics.push(Diagnostic::error(format!("Missing type of {what}"), detail).at(json.span));
        return None;
    };
    Some((text(key, value, diagnostics)?, value.span))
}

fn builder(json: &Json, diagnostics: &mut Diagnostics) -> Option<Builder> {
    let entries = object("A builder", json, diagnostics)?;
    let (kind, span) = kind_of("builder", json, entries, diagnostics)?;
    let mut name = kind.clone();
    let mut options = Options::new();
    for (key, value) in entries {
        match &*key.text {
            "type" => {}
            "name" => name = self::name(key, value, diagnostics).unwrap_or(name),
            _ => options.push((key.clone(), value.clone())),
        }
    }
    Some(Builder { kind, name, span, options })
}

fn names(key: &Name, value: &Json, diagnostics: &mut Diagnostics) -> Vec<(String, Span)> {
    if let JsonKind::String(single) = &value.kind {
        return vec![(single.clone(), value.span)];
    }
    array(key, value, diagnostics).filter_map(|item| Some((text(key, item, diagnostics)?, item.span))).collect()
}

fn provisioner(json: &Json, diagnostics: &mut Diagnostics) -> Option<Provisioner> {
    let entries = object("A provisioner", json, diagnostics)?;
    let (kind, span) = kind_of("provisioner", json, entries, diagnostics)?;
    let mut made = Provisioner {
        kind,
        span,
        selection: Selection::default(),
        overrides: Vec::new(),
        wrapper: Options::new(),
        options: Options::new(),
    };
    for (key, value) in entries {
        match &*key.text {
            "type" => {}
            "only" => made.selection.only = names(key, value, diagnostics),
            "except" => made.selection.except = names(key, value, diagnostics),
            "override" if matches!(value.kind, JsonKind::Null) => {}
            "override" => {
                for (name, value) in object("\"override\"", value, diagnostics).unwrap_or_default() {
                    let what = format!("The override for {:?}", name.text);
                    if let Some(options) = object(&what, value, diagnostics) {
                        made.overrides.push((name.clone(), options.to_vec()));
                    }
                }
            }
            "pause_before" | "timeout" | "max_retries" => made.wrapper.push((key.clone(), value.clone())),
            _ => made.options.push((key.clone(), value.clone())),
        }
    }
    Some(made)
}

fn post_processors(json: &Json, diagnostics: &mut Diagnostics) -> Vec<PostProcessor> {
    match &json.kind {
        JsonKind::Array(items) => items.iter().filter_map(|item| post_processor(item, diagnostics)).collect(),
        _ => post_processor(json, diagnostics).into_iter().collect(),
    }
}

fn post_processor(json: &Json, diagnostics: &mut Diagnostics) -> Option<PostProcessor> {
    let mut made = PostProcessor {
        kind: String::new(),
        name: String::new(),
        span: json.span,
        selection: Selection::default(),
        keep_input_artifact: None,
        options: Options::new(),
    };
    if let JsonKind::String(kind) = &json.kind {
        return Some(PostProcessor { kind: kind.clone(), name: kind.clone(), ..made });
    }
    let JsonKind::Object(entries) = &json.kind else {
        diagnostics.push(wrong_type("A post-processor", "a string or an object", json));
        return None;
    };
    (made.kind, made.span) = kind_of("post-processor", json, entries, diagnostics)?;
    made.name.clone_from(&made.kind);
    for (key, value) in entries {
        match &*key.text {
            "type" => {}
            "name" => {
                if let Some(name) = text(key, value, diagnostics).filter(|name| !name.is_empty()) {
                    made.name = name;
                }
            }
            "only" => made.selection.only = names(key, value, diagnostics),
            "except" => made.selection.except = names(key, value, diagnostics),
            "keep_input_artifact" => match value.kind {
                JsonKind::Bool(keep) => made.keep_input_artifact = Some(keep),
                JsonKind::Null => {}
                _ => diagnostics.push(wrong_type("\"keep_input_artifact\"", "true or false", value)),
            },
            _ => made.options.push((key.clone(), value.clone())),
        }
    }
    Some(made)
}

/// Checks that `only`, `except` and `override` name builders that exist.
fn check_selections(template: &Template, diagnostics: &mut Diagnostics) {
    let builders: Vec<&str> = template.builders.iter().map(|builder| builder.name.as_str()).collect();
    let check = |what: &str, name: &str, span: Span, diagnostics: &mut Diagnostics| {
        if !builders.contains(&name) {
            let detail =
                format!("'{what}' specified builder '{name}' not found; the builders are {}.", builders.join(", "));
            let hint = did_you_mean(name, builders.iter().copied());
            diagnostics.push(Diagnostic::error("Unknown builder name", detail).at(span).hint_maybe(hint));
        }
    };
    let provisioners = template.provisioners.iter().chain(&template.cleanup);
    let selections = provisioners
        .clone()
        .map(|provisioner| (&provisioner.selection, provisioner.span))
        .chain(template.post_processors.iter().flatten().map(|item| (&item.selection, item.span)));
    for (selection, span) in selections {
        if !selection.only.is_empty() && !selection.except.is_empty() {
            let detail = "Only one of 'only' or 'except' may be specified.";
            diagnostics.push(Diagnostic::error("Both only and except", detail).at(span));
        }
        for (what, list) in [("only", &selection.only), ("except", &selection.except)] {
            for (name, span) in list {
                check(what, name, *span, diagnostics);
            }
        }
    }
    for provisioner in provisioners {
        for (name, _) in &provisioner.overrides {
            check("override", &name.text, name.span, diagnostics);
        }
    }
}
