//! Owns `inspect`: what a template is made of, as Packer lists it.

use std::sync::Arc;

use serde_json::{Value as Json, json};

use super::console::{hcl_variables, quoted_once};
use crate::diagnostics::Diagnostics;
use crate::diagnostics::redact::SENSITIVE;
use crate::diagnostics::source_map::SourceMap;
use crate::hcl2::{self, BuildOutline};
use crate::language::value::Value;
use crate::language::value::json::encode;
use crate::legacy;
use crate::load::is_hcl2;
use crate::world::data::{DataMode, Unset};
use crate::world::files::Files;
use crate::world::inputs::Inputs;

/// One message of `inspect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InspectLine {
    /// Text for people; a line end follows it.
    Say(String),
    /// A record for `-machine-readable`: its type and fields.
    Record(&'static str, Vec<String>),
}

/// What a template is made of.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The messages; empty when the template could not be read.
    pub lines: Vec<InspectLine>,
    /// The same as one value, secrets hidden; `null` when the template could not be read.
    pub json: Json,
    /// Problems found on the way. Values that are missing do not keep a template from being inspected.
    pub diagnostics: Diagnostics,
    /// The texts the problems point into.
    pub sources: SourceMap,
}

impl Inspection {
    /// Returns the text for people.
    #[must_use]
    pub fn text(&self) -> String {
        let said = self.lines.iter().filter_map(|line| match line {
            InspectLine::Say(text) => Some(format!("{text}\n")),
            InspectLine::Record(..) => None,
        });
        said.collect()
    }
}

/// Lists variables, builds and what they are made of.
#[must_use]
pub fn inspect(inputs: &Inputs, files: Arc<dyn Files>) -> Inspection {
    let mut sources = SourceMap::new();
    let mut diagnostics = Diagnostics::new();
    let (lines, json) = if is_hcl2(inputs, &*files) {
        inspect_hcl(inputs, files, &mut sources, &mut diagnostics)
    } else {
        inspect_json(inputs, &*files, &mut sources, &mut diagnostics)
    };
    diagnostics.dedup();
    Inspection { lines, json, diagnostics, sources }
}

fn inspect_hcl(
    inputs: &Inputs,
    files: Arc<dyn Files>,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) -> (Vec<InspectLine>, Json) {
    let Some(prepared) = hcl2::prepare(inputs, files, DataMode::Unknown, Unset::Refused, sources, diagnostics) else {
        return (Vec::new(), Json::Null);
    };
    if prepared.is_broken() {
        return (Vec::new(), Json::Null);
    }
    let values = |namespace: &str| -> Vec<(String, Value)> {
        let entries = prepared.base.names.get(namespace).and_then(Value::as_entries).cloned().unwrap_or_default();
        entries.iter().map(|(name, value)| (name.to_string(), value.clone())).collect()
    };
    let (variables, locals) = (values("var"), values("local"));
    let shown = |values: &[(String, Value)]| -> Vec<(String, String)> {
        values.iter().map(|(name, value)| (name.clone(), quoted_once(value))).collect()
    };
    let listed = hcl_variables(&shown(&variables), &shown(&locals));
    let outlines = prepared.outline(diagnostics);
    let mut builds = String::from("> builds:\n");
    for (index, build) in outlines.iter().enumerate() {
        builds.push_str(&outline(index, build));
    }
    let said = ["Packer Inspect: HCL2 mode\n".to_owned(), listed, builds];
    let json = json!({
        "language": "hcl2",
        "variables": variables.iter().map(value_entry).collect::<Vec<_>>(),
        "locals": locals.iter().map(value_entry).collect::<Vec<_>>(),
        "builds": outlines,
    });
    (said.into_iter().map(InspectLine::Say).collect(), json)
}

fn outline(index: usize, build: &BuildOutline) -> String {
    let name = build.name.clone().unwrap_or_else(|| format!("<unnamed build {index}>"));
    let mut out = format!("\n  > {name}:\n\n");
    if let Some(description) = &build.description {
        out.push_str(&format!("  > Description: {description}\n\n"));
    }
    out.push_str("    sources:\n");
    for source in &build.sources {
        out.push_str(&format!("\n      {source}\n"));
    }
    if build.sources.is_empty() {
        out.push_str("\n      <no source>\n");
    }
    out.push_str("\n    provisioners:\n\n");
    for provisioner in &build.provisioners {
        out.push_str(&format!("      {provisioner}\n"));
    }
    if build.provisioners.is_empty() {
        out.push_str("      <no provisioner>\n");
    }
    out.push_str("\n    post-processors:\n");
    for (index, chain) in build.post_processors.iter().enumerate() {
        out.push_str(&format!("\n      {index}:\n"));
        for post_processor in chain {
            out.push_str(&format!("        {post_processor}\n"));
        }
    }
    if build.post_processors.is_empty() {
        out.push_str("\n      <no post-processor>\n");
    }
    out
}

fn inspect_json(
    inputs: &Inputs,
    files: &dyn Files,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) -> (Vec<InspectLine>, Json) {
    let Some(template) = legacy::read(inputs, files, sources, diagnostics) else { return (Vec::new(), Json::Null) };
    if diagnostics.has_errors() {
        return (Vec::new(), Json::Null);
    }
    let say = |text: &str| InspectLine::Say(text.to_owned());
    let mut lines = vec![say("Packer Inspect: JSON mode")];
    if let Some(description) = template.description.as_ref().filter(|description| !description.is_empty()) {
        lines.push(say("Description:\n"));
        lines.push(say(&format!("{description}\n")));
    }
    let hidden = |name: &str, value: &str| {
        if template.sensitive.iter().any(|known| known == name) { SENSITIVE.to_owned() } else { value.to_owned() }
    };
    let mut variables: Vec<(&str, Option<String>)> = template
        .variables
        .iter()
        .map(|(name, default, _)| (&*name.text, default.as_ref().map(|value| hidden(&name.text, value))))
        .collect();
    variables.sort();
    if variables.is_empty() {
        lines.push(say("Variables:\n"));
        lines.push(say("  <No variables>"));
    }
    let json = json!({
        "language": "json",
        "description": template.description,
        "variables": variables.iter().map(|(name, default)| json!({
            "name": name,
            "default": default,
            "required": default.is_none(),
            "sensitive": template.sensitive.iter().any(|known| known == name),
        })).collect::<Vec<_>>(),
        "builders": template.builders.iter().map(|builder| json!({
            "name": builder.name,
            "type": builder.kind,
        })).collect::<Vec<_>>(),
        "provisioners": template.provisioners.iter().map(|provisioner| &provisioner.kind).collect::<Vec<_>>(),
        "post_processors": template.post_processors.iter().map(|chain| {
            chain.iter().map(|post_processor| &post_processor.kind).collect::<Vec<_>>()
        }).collect::<Vec<_>>(),
    });
    let width = variables.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let (required, optional): (Vec<_>, Vec<_>) = variables.into_iter().partition(|(_, default)| default.is_none());
    if !required.is_empty() {
        lines.push(say("Required variables:\n"));
        for (name, _) in &required {
            lines.push(InspectLine::Record("template-variable", vec![(*name).into(), String::new(), "1".into()]));
            lines.push(say(&format!("  {name}")));
        }
    }
    if !optional.is_empty() {
        if !required.is_empty() {
            lines.push(say(""));
        }
        lines.push(say("Optional variables and their defaults:\n"));
        for (name, default) in &optional {
            let default = default.clone().unwrap_or_default();
            let record = vec![(*name).into(), default.clone(), "0".into()];
            lines.push(InspectLine::Record("template-variable", record));
            lines.push(say(&format!("  {name:width$} = {default}")));
        }
    }
    lines.push(say(""));
    lines.push(say("Builders:\n"));
    let mut builders: Vec<(&str, &str)> =
        template.builders.iter().map(|builder| (builder.name.as_str(), builder.kind.as_str())).collect();
    builders.sort_unstable();
    let width = builders.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    for (name, kind) in builders {
        lines.push(InspectLine::Record("template-builder", vec![name.into(), kind.into()]));
        let kind = if name == kind { String::new() } else { format!(" ({kind})") };
        lines.push(say(&format!("  {name:width$}{kind}")));
    }
    lines.push(say(""));
    lines.push(say("Provisioners:\n"));
    if template.provisioners.is_empty() {
        lines.push(say("  <No provisioners>"));
    }
    for provisioner in &template.provisioners {
        lines.push(InspectLine::Record("template-provisioner", vec![provisioner.kind.clone()]));
        lines.push(say(&format!("  {}", provisioner.kind)));
    }
    lines.push(say(
        "\nNote: If your build names contain user variables or template\nfunctions such as 'timestamp', these are \
         processed at build time,\nand therefore only show in their raw form here.",
    ));
    (lines, json)
}

/// A variable or local for programs.
fn value_entry((name, value): &(String, Value)) -> Json {
    json!({ "name": name, "value": visible(value), "sensitive": value.is_sensitive_within() })
}

/// Returns a value as JSON, with [`SENSITIVE`] in the place of secrets and null in that of what is not known.
fn visible(value: &Value) -> Json {
    if value.is_sensitive() && !value.is_null() {
        return Json::from(SENSITIVE);
    }
    if let Some(entries) = value.as_entries() {
        return Json::Object(entries.iter().map(|(name, value)| (name.to_string(), visible(value))).collect());
    }
    if let Some(elements) = value.as_elements() {
        return elements.iter().map(visible).collect();
    }
    serde_json::from_str(&encode(value)).unwrap_or(Json::Null)
}
