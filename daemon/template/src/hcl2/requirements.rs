//! Owns the `packer` block: which versions and plugins a template asks for.

use std::sync::Arc;

use super::read::read;
use crate::components::plugins::PluginRequirement;
use crate::components::version::Constraints;
use crate::diagnostics::source_map::SourceMap;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::go_template::PACKER_VERSION;
use crate::language::shape::{expect_labels, expect_only};
use crate::language::syntax::ast::{Attribute, Block, Body, ExprKind, ObjectKey};
use crate::world::files::Files;
use crate::world::inputs::Inputs;

/// Checks all `packer` blocks; false when the template is for another version.
pub(super) fn check(bodies: &[Arc<Body>], diagnostics: &mut Diagnostics) -> bool {
    let mut suitable = true;
    for block in bodies.iter().flat_map(|body| body.blocks_of("packer")) {
        expect_labels(block, &[], diagnostics);
        expect_only(&block.body, &["required_version"], &["required_plugins"], diagnostics);
        if let Some(attribute) = block.body.attribute("required_version") {
            suitable &= check_version(attribute, diagnostics);
        }
        for plugins in block.body.blocks_of("required_plugins") {
            check_plugins(plugins, diagnostics);
        }
    }
    suitable
}

fn check_version(attribute: &Attribute, diagnostics: &mut Diagnostics) -> bool {
    let Some(text) = attribute.value.literal_string() else {
        let detail = "required_version must be a literal string, such as \">= 1.7.0\".";
        diagnostics.push(Diagnostic::error("Invalid version constraint", detail).at(attribute.value.span));
        return true;
    };
    match Constraints::parse(&text) {
        Err(reason) => {
            let detail = format!("This string does not use correct version constraint syntax: {reason}.");
            diagnostics.push(Diagnostic::error("Invalid version constraint", detail).at(attribute.value.span));
            true
        }
        Ok(constraints) if constraints.allow_current() => true,
        Ok(_) => {
            let detail = format!(
                "This template asks for Packer {text}. Kiln understands the language of Packer {PACKER_VERSION}, which \
                 does not satisfy that."
            );
            let diagnostic = Diagnostic::error("Unsupported Packer Core version", detail).at(attribute.value.span);
            diagnostics.push(diagnostic.hint("relax required_version if the template does not depend on that version"));
            false
        }
    }
}

fn check_plugins(block: &Block, diagnostics: &mut Diagnostics) {
    for attribute in &block.body.attributes {
        let invalid = |detail: String| Diagnostic::error("Invalid plugin requirement", detail).at(attribute.value.span);
        let ExprKind::Object(items) = &attribute.value.kind else {
            // Old templates write the version alone.
            if attribute.value.literal_string().is_none() {
                diagnostics.push(invalid(format!(
                    "The requirement {:?} must be an object with a source and a version.",
                    attribute.name.text
                )));
            } else {
                diagnostics.push(invalid(format!(
                    "The requirement {:?} needs a source: {} = {{ version = …, source = \"github.com/hashicorp/{}\" }}.",
                    attribute.name.text, attribute.name.text, attribute.name.text
                )));
            }
            continue;
        };
        let mut source = false;
        let mut version = false;
        for (key, value) in items {
            let name = match key {
                ObjectKey::Name(name) => name.text.to_string(),
                ObjectKey::Expr(key) => key.literal_string().unwrap_or_default(),
            };
            let Some(text) = value.literal_string() else {
                diagnostics.push(invalid(format!("The {name} of a plugin requirement must be a literal string.")));
                continue;
            };
            match name.as_str() {
                "version" => {
                    version = true;
                    if let Err(reason) = Constraints::parse(&text) {
                        let detail = format!("This string does not use correct version constraint syntax: {reason}.");
                        diagnostics.push(Diagnostic::error("Invalid version constraint", detail).at(value.span));
                    } else if text.contains('-') {
                        let detail = format!("The versions of plugins must not be pre-releases, as in {text:?}.");
                        diagnostics.push(Diagnostic::error("Invalid version constraint", detail).at(value.span));
                    }
                }
                "source" => {
                    source = true;
                    if text.split('/').count() < 3 || text.contains("://") {
                        let detail = format!(
                            "The source {text:?} must name a host, a namespace and a plugin: \"github.com/hashicorp/qemu\"."
                        );
                        diagnostics.push(Diagnostic::error("Invalid source", detail).at(value.span));
                    }
                    let last = text.rsplit('/').next().unwrap_or_default();
                    if let Some(name) =
                        ["packer-plugin-", "packer-"].iter().find_map(|prefix| last.strip_prefix(prefix))
                    {
                        let detail =
                            format!("The last part of a source is the name of the plugin alone, not {last:?}.");
                        let diagnostic = Diagnostic::error("Invalid source", detail).at(value.span);
                        diagnostics.push(diagnostic.hint(format!("write {:?}", text.replace(last, name))));
                    }
                }
                other => diagnostics
                    .push(invalid(format!("A plugin requirement has no {other:?}, only version and source."))),
            }
        }
        if !source || !version {
            let missing = if source { "version" } else { "source" };
            diagnostics.push(invalid(format!("The requirement {:?} has no {missing}.", attribute.name.text)));
        }
    }
    for nested in &block.body.blocks {
        let detail = format!("Write {} = {{ … }}, with an equals sign.", nested.kind.text);
        diagnostics.push(Diagnostic::error("Unsupported block type", detail).at(nested.header));
    }
}

/// Collects the well-formed requirements of all `packer` blocks, sorted by name.
fn collect(bodies: &[Arc<Body>]) -> Vec<PluginRequirement> {
    let mut found: Vec<PluginRequirement> = Vec::new();
    let blocks = bodies.iter().flat_map(|body| body.blocks_of("packer"));
    let attributes =
        blocks.flat_map(|block| block.body.blocks_of("required_plugins")).flat_map(|block| &block.body.attributes);
    for attribute in attributes {
        let ExprKind::Object(items) = &attribute.value.kind else { continue };
        let text = |wanted: &str| {
            let named = |key: &ObjectKey| match key {
                ObjectKey::Name(name) => &*name.text == wanted,
                ObjectKey::Expr(key) => key.literal_string().is_some_and(|name| &*name == wanted),
            };
            items.iter().find(|(key, _)| named(key)).and_then(|(_, value)| value.literal_string())
        };
        let (Some(source), Some(version)) = (text("source"), text("version")) else { continue };
        let name = attribute.name.text.to_string();
        match found.iter_mut().find(|known| known.name == name) {
            Some(known) if known.version == *version => {}
            Some(known) => known.version = format!("{},{version}", known.version),
            None => {
                let (source, version) = (source.to_string(), version.to_string());
                found.push(PluginRequirement { name, source, version, span: attribute.name.span });
            }
        }
    }
    found.sort_by(|left, right| left.name.cmp(&right.name));
    found
}

/// Reads a template for its plugin requirements alone.
pub(crate) fn required_plugins(
    inputs: &Inputs,
    files: &dyn Files,
    sources: &mut SourceMap,
    diagnostics: &mut Diagnostics,
) -> Vec<PluginRequirement> {
    let Some(found) = read(inputs, files, sources, diagnostics) else { return Vec::new() };
    check(&found.bodies, diagnostics);
    collect(&found.bodies)
}
