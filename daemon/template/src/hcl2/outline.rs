//! Owns [`BuildOutline`]: the parts of build blocks by name, without their options.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::blocks::Root;
use super::uses::{sources, uses};
use crate::components::config::HclBase;
use crate::diagnostics::Diagnostics;
use crate::language::dynamic::expand;
use crate::language::syntax::ast::Block;
use crate::language::value::Type;

/// The parts of a build block, by name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct BuildOutline {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    /// `TYPE.NAME` of each source.
    pub(crate) sources: Vec<String>,
    pub(crate) provisioners: Vec<String>,
    pub(crate) post_processors: Vec<Vec<String>>,
}

/// Lists the parts of all build blocks.
pub(super) fn outline(root: &Root, base: &Arc<HclBase>, diagnostics: &mut Diagnostics) -> Vec<BuildOutline> {
    let known = sources(root, diagnostics);
    let scope = base.scope([]);
    let label = |block: &Block| block.labels.first().map(|label| label.text.to_string());
    let mut outlines = Vec::new();
    for block in &root.build {
        let text = |name: &str| {
            let attribute = block.body.attribute(name)?;
            let value = scope.evaluate_as(&attribute.value, &Type::String, name, &mut Diagnostics::new())?;
            value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let blocks = expand(&block.body, &BTreeMap::new(), &scope, diagnostics);
        let of = |kind: &'static str| blocks.iter().filter(move |expanded| &*expanded.block.kind.text == kind);
        let named = |block: &Block| {
            let attribute = block.body.attribute("name");
            attribute.and_then(|attribute| attribute.value.literal_string()).or_else(|| label(block))
        };
        let mut post_processors = Vec::new();
        for expanded in &blocks {
            match &*expanded.block.kind.text {
                "post-processor" => post_processors.push(named(&expanded.block).into_iter().collect()),
                "post-processors" => {
                    let inner = expand(&expanded.block.body, &expanded.names, &scope, diagnostics);
                    post_processors.push(inner.iter().filter_map(|inner| named(&inner.block)).collect());
                }
                _ => {}
            }
        }
        outlines.push(BuildOutline {
            name: text("name"),
            description: text("description"),
            sources: uses(block, &blocks, &known, &scope, diagnostics)
                .iter()
                .map(|source| format!("{}.{}", source.kind, source.name))
                .collect(),
            provisioners: of("provisioner").filter_map(|expanded| label(&expanded.block)).collect(),
            post_processors,
        });
    }
    outlines
}
