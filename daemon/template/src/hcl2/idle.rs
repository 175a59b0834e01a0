//! Owns what is said of provisioners and post-processors that select sources by names which are not there, and of those
//! that are left without any source.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::meta::Meta;
use super::uses::Use;
use crate::components::config::{HclBase, build_object};
use crate::components::generated::Generated;
use crate::diagnostics::suggest::did_you_mean;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::dynamic::{Expanded, expand};
use crate::language::eval::Scope;
use crate::language::syntax::ast::Block;
use crate::language::value::Value;

/// Checks the selections of all parts of a build block. Returns the parts that no source gets.
pub(super) fn check<'a>(
    blocks: &'a [Expanded],
    uses: &[Use],
    base: &HclBase,
    diagnostics: &mut Diagnostics,
) -> Vec<&'a Arc<Block>> {
    let labels: Vec<&str> = uses.iter().map(|source| &**source.label()).collect();
    let names: Vec<String> = uses.iter().map(Use::short).collect();
    let plan: BTreeMap<Arc<str>, Value> =
        [("source".into(), Value::unknown()), ("build".into(), build_object(&Generated::plan(), None))].into();
    let mut idle = Vec::new();
    for expanded in blocks {
        let mut more = plan.clone();
        more.extend(expanded.names.clone());
        let scope = base.scope(more);
        match &*expanded.block.kind.text {
            "post-processors" => {
                // What is wrong in there has been said where it is used.
                for inner in expand(&expanded.block.body, &expanded.names, &scope, &mut Diagnostics::new()) {
                    check_names(&inner.block, &names, &labels, &scope, diagnostics);
                }
            }
            "provisioner" | "error-cleanup-provisioner" | "post-processor" => {
                let used = check_names(&expanded.block, &names, &labels, &scope, diagnostics);
                idle.extend((!used && !names.is_empty()).then_some(&expanded.block));
            }
            _ => {}
        }
    }
    idle
}

/// Warns about names that select nothing; reports whether any source is left.
fn check_names(
    block: &Block,
    names: &[String],
    labels: &[&str],
    scope: &Scope<'_>,
    diagnostics: &mut Diagnostics,
) -> bool {
    let meta = Meta { body: &block.body, scope };
    // Values that cannot be evaluated have been told of where the block is used.
    let mut told = Diagnostics::new();
    for argument in ["only", "except"] {
        let Some(attribute) = block.body.attribute(argument) else { continue };
        for wanted in meta.texts(argument, &mut told).unwrap_or_default() {
            if names.contains(&wanted) || names.is_empty() {
                continue;
            }
            let detail = format!(
                "{argument} has {wanted:?}, which is no source of this build block. Its sources: {}.",
                names.join(", ")
            );
            let full = names.iter().find(|name| name.split_once('.').is_some_and(|(_, label)| label == wanted));
            let hint = match full {
                Some(full) => Some(format!("write {full:?}: sources are named with their types")),
                None => did_you_mean(&wanted, names.iter().map(String::as_str)),
            };
            diagnostics.push(
                Diagnostic::warning(format!("Unknown source in {argument}"), detail)
                    .at(attribute.value.span)
                    .hint_maybe(hint),
            );
        }
    }
    // The override of a post-processor is an option of its own.
    let overrides = &*block.kind.text != "post-processor";
    if let Some(attribute) = block.body.attribute("override").filter(|_| overrides) {
        for name in meta.override_names(&mut told) {
            if labels.contains(&&*name) || labels.is_empty() {
                continue;
            }
            let detail = format!(
                "override has {name:?}, which is no source of this build block. Its sources: {}.",
                labels.join(", ")
            );
            let plain = name.split_once('.').map(|(_, label)| label).filter(|label| labels.contains(label));
            let hint = match plain {
                Some(plain) => Some(format!("write {plain}: here sources are named without their types")),
                None => did_you_mean(&name, labels.iter().copied()),
            };
            let diagnostic = Diagnostic::warning("Unknown source in override", detail);
            diagnostics.push(diagnostic.at(attribute.value.span).hint_maybe(hint));
        }
    }
    names.iter().any(|name| meta.applies_to(name, &mut told)) || told.has_errors()
}
