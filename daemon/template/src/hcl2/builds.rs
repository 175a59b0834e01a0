//! Owns `source` and `build` blocks: one build for each source of each build block.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::blocks::Root;
use super::build::Build;
use super::idle;
use super::meta::{self, Meta};
use super::select::Selection;
use super::uses::{Sources, Use, sources, uses};
use crate::components::config::{HclBase, build_object};
use crate::components::evaluated::{Evaluated, EvaluatedBuild};
use crate::components::generated::Generated;
use crate::components::schema::{Catalog, ComponentType, Schema};
use crate::diagnostics::Diagnostics;
use crate::language::dynamic::{Expanded, expand};
use crate::language::shape::{expect_labels, expect_only, unsupported_argument};
use crate::language::syntax::ast::{Attribute, Block};
use crate::language::value::{Type, Value};
use crate::world::inputs::Inputs;

/// The build blocks that are evaluated so far.
struct Builds<'a> {
    base: &'a Arc<HclBase>,
    catalog: &'a dyn Catalog,
    known: Sources,
    selection: Selection,
    /// Names of all builds, selected or not.
    names: Vec<String>,
    evaluated: Evaluated,
}

/// Evaluates all build blocks, keeping what `-only` and `-except` select.
pub(super) fn evaluate(
    inputs: &Inputs,
    root: &Root,
    base: &Arc<HclBase>,
    catalog: &dyn Catalog,
    diagnostics: &mut Diagnostics,
) -> Evaluated {
    let known = sources(root, diagnostics);
    let selection = Selection::new(&inputs.only, &inputs.except, diagnostics);
    let mut builds = Builds { base, catalog, known, selection, names: Vec::new(), evaluated: Evaluated::default() };
    for block in &root.build {
        builds.block(block, diagnostics);
    }
    builds.selection.warn_unused(&builds.names, diagnostics);
    builds.evaluated
}

impl Builds<'_> {
    fn block(&mut self, block: &Arc<Block>, diagnostics: &mut Diagnostics) {
        const ATTRIBUTES: &[&str] = &["name", "description", "sources"];
        const BLOCKS: &[&str] = &[
            "source",
            "provisioner",
            "error-cleanup-provisioner",
            "post-processor",
            "post-processors",
            "hcp_packer_registry",
            "dynamic",
        ];
        expect_only(&block.body, ATTRIBUTES, BLOCKS, diagnostics);
        let scope = self.base.scope([]);
        let text = |name: &str, diagnostics: &mut Diagnostics| {
            let attribute = block.body.attribute(name)?;
            let what = format!("attribute {name:?}");
            let value = scope.evaluate_as(&attribute.value, &Type::String, &what, diagnostics)?;
            value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
        };
        let block_name = text("name", diagnostics);
        text("description", diagnostics);
        let blocks = expand(&block.body, &BTreeMap::new(), &scope, diagnostics);
        let before = diagnostics.len();
        let uses = uses(block, &blocks, &self.known, &scope, diagnostics);
        let without_source = uses.is_empty() && diagnostics.len() > before;
        for block in idle::check(&blocks, &uses, self.base, diagnostics) {
            check_shape(block, self.catalog, diagnostics);
            let names = [("source".into(), Value::unknown()), ("build".into(), build_object(&Generated::plan(), None))];
            Meta { body: &block.body, scope: &self.base.scope(names) }.check(diagnostics);
        }
        let mut selected = 0;
        for source in &uses {
            let short = source.short();
            let name = block_name.as_ref().map_or_else(|| short.clone(), |block_name| format!("{block_name}.{short}"));
            self.names.push(name.clone());
            if self.selection.build(&name) {
                selected += 1;
                self.build(name, block_name.as_deref(), source, &blocks, diagnostics);
            }
        }
        if without_source {
            // No source that it names is there, which has been said. Its parts are looked at all the same.
            self.build(String::new(), block_name.as_deref(), &Use::nowhere(block), &blocks, diagnostics);
        } else if selected == 0 {
            // Nothing of this block runs, but what is plainly wrong in it is still worth telling.
            for expanded in &blocks {
                check_shape(&expanded.block, self.catalog, diagnostics);
            }
        }
    }

    /// Makes the build of a source, or keeps its parts where it cannot be one.
    fn build(
        &mut self,
        name: String,
        block_name: Option<&str>,
        source: &Use,
        blocks: &[Expanded],
        diagnostics: &mut Diagnostics,
    ) {
        let build = Build::new(self.base, self.catalog, block_name, source);
        let parts = build.parts(blocks, &mut self.selection, diagnostics);
        let Some(builder) = build.builder(diagnostics) else {
            return self.evaluated.orphan(parts.provisioners.into_iter().chain(parts.cleanup), parts.post_processors);
        };
        self.evaluated.builds.push(EvaluatedBuild {
            name,
            block_name: block_name.map(str::to_owned),
            source_type: source.kind.to_string(),
            source_name: source.name.to_string(),
            source: builder,
            provisioners: parts.provisioners,
            cleanup_provisioner: parts.cleanup,
            post_processors: parts.post_processors,
        });
    }
}

/// Checks what can be checked of a block that no build uses.
fn check_shape(block: &Block, catalog: &dyn Catalog, diagnostics: &mut Diagnostics) {
    let component = match &*block.kind.text {
        "provisioner" | "error-cleanup-provisioner" => ComponentType::Provisioner,
        "post-processor" => ComponentType::PostProcessor,
        _ => return,
    };
    if expect_labels(block, &["type"], diagnostics)
        && let Some(label) = block.labels.first()
        && let Some(schema) = catalog.schema(component, &label.text)
    {
        let meta = if component == ComponentType::Provisioner { meta::PROVISIONER } else { meta::POST_PROCESSOR };
        for attribute in &block.body.attributes {
            check_known(attribute, schema, meta, diagnostics);
        }
    }
}

fn check_known(attribute: &Attribute, schema: &Schema, meta: &[&str], diagnostics: &mut Diagnostics) {
    let name = &*attribute.name.text;
    if schema.spec(name).is_none() && !meta.contains(&name) {
        let known = schema.specs().map(|spec| spec.name).chain(meta.iter().copied());
        diagnostics.push(unsupported_argument(&attribute.name, known));
    }
}
