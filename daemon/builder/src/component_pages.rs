//! Writes the documentation pages of components from their tables.

use std::fmt::Write as _;

use kiln_template::{ComponentType, OptionKind, OptionSpec};

use crate::catalog::definitions;
use crate::options::Definition;
use crate::options::rule::Rule;
use crate::options::shared::INTERNAL;

/// Returns the pages below `docs/components/` by file name, sorted: one for each component, and `README.md`.
#[must_use]
pub fn component_pages() -> Vec<(String, String)> {
    let mut pages: Vec<(String, String)> =
        definitions().map(|definition| (file_name(definition), page(definition))).collect();
    pages.push(("README.md".to_owned(), index()));
    pages.sort();
    pages
}

fn file_name(definition: &Definition) -> String {
    let noun = definition.component.noun().replace(' ', "-");
    format!("{noun}-{}.md", definition.schema.kind)
}

fn index() -> String {
    let mut text = "# Components\n\nMade from the option tables by `./x components`. What is only checked passes `kiln validate`, and `kiln build` \
                    refuses it with an error that says so.\n"
        .to_owned();
    for component in [ComponentType::Builder, ComponentType::Provisioner, ComponentType::PostProcessor] {
        let _ = write!(text, "\n| {} | | |\n|---|---|---|\n", component.noun());
        for definition in definitions().filter(|definition| definition.component == component) {
            let state = if definition.runs { "runs" } else { "checked only" };
            let (kind, file) = (definition.schema.kind, file_name(definition));
            let _ = writeln!(text, "| [{kind}]({file}) | {} | {state} |", definition.about);
        }
    }
    text
}

fn page(definition: &Definition) -> String {
    let (noun, kind) = (definition.component.noun(), definition.schema.kind);
    let mut text = format!("# {kind} ({noun})\n\n{}\n", definition.about);
    if !definition.runs {
        let _ = write!(text, "\n**This version checks this {noun} but cannot run it yet.**\n");
    }
    let internal = |spec: &OptionSpec| INTERNAL.iter().any(|known| known.name == spec.name);
    let mut specs: Vec<&OptionSpec> = definition.schema.specs().filter(|spec| !internal(spec)).collect();
    specs.sort_by_key(|spec| spec.name);
    options(&mut text, "Options", &specs);
    for spec in specs {
        if let OptionKind::Block(inner) | OptionKind::Blocks(inner) = spec.kind {
            options(&mut text, &format!("Options of `{}`", spec.name), &inner.iter().collect::<Vec<_>>());
        }
    }
    let rules: Vec<String> = definition.rules.iter().copied().flatten().map(Rule::words).collect();
    if !rules.is_empty() {
        text.push_str("\n## Rules\n\n");
        for rule in rules {
            let _ = writeln!(text, "- {rule}");
        }
    }
    text
}

fn options(text: &mut String, title: &str, specs: &[&OptionSpec]) {
    if specs.is_empty() {
        return;
    }
    let _ = write!(text, "\n## {title}\n\n| option | type | default | |\n|---|---|---|---|\n");
    for spec in specs {
        let code = |text: &str| format!("`{}`", text.replace('|', "\\|"));
        let mut default = match spec.default {
            _ if spec.required => "**required**".to_owned(),
            "" => String::new(),
            default => code(default),
        };
        if let Some((switch, other)) = spec.default_where {
            let _ = write!(default, "; with {}: {}", code(switch), code(other));
        }
        let mut doc = spec.doc.replace('|', "\\|");
        if spec.sensitive {
            doc.push_str(" (a secret: never shown)");
        }
        if let Some(instead) = spec.deprecated {
            let _ = write!(doc, " (deprecated: {instead})");
        }
        let _ = writeln!(text, "| `{}` | {} | {default} | {doc} |", spec.name, spec.kind.noun());
    }
}
