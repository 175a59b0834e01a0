//! Owns the `packer` block: which versions and plugins a template asks for.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::world::files::Files;
use crate::go_template::PACKER_VERSION;
use crate::world::inputs::Inputs;
use crate::components::plugins::PluginRequirement;
use crate::language::shape::{expect_labels, expect_only};
use crate::diagnostics::source_map::SourceMap;
use crate::language::syntax::ast::{Attribute, Block, Body, ExprKind, ObjectKey};

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
        Ok(constraints) if constraints.allow(&Version::current()) => true,
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
    let Some(found) = super::read::read(inputs, files, sources, diagnostics) else { return Vec::new() };
    check(&found.bodies, diagnostics);
    collect(&found.bodies)
}

/// A version: numbers, and whether it is a pre-release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    numbers: Vec<u64>,
    /// How many numbers were written.
    written: usize,
}

impl Version {
    fn current() -> Self {
        Self::parse(PACKER_VERSION).unwrap_or(Self { numbers: vec![0; 3], written: 3 })
    }

    /// Parses `1.2.3`, `v1.2`, `1.2.3-beta+meta`; the pre-release part does not count.
    fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix('v').unwrap_or(text);
        let core = text.split(['-', '+']).next()?;
        let mut numbers: Vec<u64> = core.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let written = numbers.len();
        while numbers.len() < 3 {
            numbers.push(0);
        }
        Some(Self { numbers, written })
    }

    fn order(&self, other: &Self) -> Ordering {
        let length = self.numbers.len().max(other.numbers.len());
        let at = |version: &Self, index: usize| version.numbers.get(index).copied().unwrap_or(0);
        (0..length)
            .map(|index| at(self, index).cmp(&at(other, index)))
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal)
    }
}

/// `>= 1.2, < 2`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Constraints(Vec<(String, Version)>);

impl Constraints {
    /// Parses constraints separated by commas; the error says which part is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        for part in text.split(',') {
            let part = part.trim();
            let length = part.find(|c: char| c.is_ascii_digit() || c == 'v').unwrap_or(part.len());
            let (operator, version) = part.split_at(length);
            let operator = operator.trim();
            if !["", "=", "!=", ">", ">=", "<", "<=", "~>"].contains(&operator) {
                return Err(format!("{operator:?} in {part:?} is not an operator"));
            }
            let version = Version::parse(version).ok_or_else(|| format!("{part:?} has no version number"))?;
            parts.push((operator.to_owned(), version));
        }
        Ok(Self(parts))
    }

    /// Reports whether the version whose language this is satisfies all.
    pub(crate) fn allow_current(&self) -> bool {
        self.allow(&Version::current())
    }

    /// Reports whether a version that is written like this satisfies all.
    pub(crate) fn allow_version(&self, version: &str) -> bool {
        Version::parse(version).is_some_and(|version| self.allow(&version))
    }

    fn allow(&self, version: &Version) -> bool {
        self.0.iter().all(|(operator, wanted)| {
            let order = version.order(wanted);
            match operator.as_str() {
                "!=" => order.is_ne(),
                ">" => order.is_gt(),
                ">=" => order.is_ge(),
                "<" => order.is_lt(),
                "<=" => order.is_le(),
                "~>" => {
                    // Everything but the last written number must stay.
                    let fixed = wanted.written.saturating_sub(1);
                    order.is_ge()
                        && version.numbers.iter().zip(&wanted.numbers).take(fixed).all(|(have, want)| have == want)
                }
                _ => order.is_eq(),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(constraints: &str, version: &str) -> bool {
        Constraints::parse(constraints).unwrap().allow(&Version::parse(version).unwrap())
    }

    #[test]
    fn constraints_compare_as_in_go_version() {
        assert!(allows(">= 1.7.0", "1.16.0"));
        assert!(allows("~> 1.7", "1.16.0"));
        assert!(!allows("~> 1.7.1", "1.16.0"));
        assert!(allows(">= 1.2, < 2", "1.16.0"));
        assert!(!allows("= 1.6.6", "1.16.0"));
        assert!(!allows("!= 1.16", "1.16.0"));
        assert!(Constraints::parse("=> 1").is_err());
        assert!(Constraints::parse("").is_err());
    }
}
