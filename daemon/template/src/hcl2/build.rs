//! Owns one build: a source, and the provisioners and post-processors that its build block gives it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::meta::{self, Meta};
use super::registry;
use super::select::Selection;
use super::uses::Use;
use crate::components::component::Component;
use crate::components::config::{HclBase, HclConfig, build_object};
use crate::components::evaluated::{PostProcessor, Provisioner};
use crate::components::foreign::schema_of;
use crate::components::generated::Generated;
use crate::components::schema::{Catalog, ComponentType};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::dynamic::{Expanded, expand};
use crate::language::eval::Scope;
use crate::language::shape::{expect_labels, expect_only, unsupported_block};
use crate::language::syntax::ast::{Block, Body};
use crate::language::value::Value;

/// A build of a source.
pub(super) struct Build<'a> {
    base: &'a Arc<HclBase>,
    catalog: &'a dyn Catalog,
    block_name: Option<&'a str>,
    source: &'a Use,
    /// `TYPE.NAME`, which `only` and `except` name.
    short: String,
    /// `source` in expressions.
    this: Value,
    /// `build` in expressions, before the build runs.
    plan: Value,
}

/// What is done in a build beside its builder.
#[derive(Default)]
pub(super) struct Parts {
    pub(super) provisioners: Vec<Provisioner>,
    pub(super) cleanup: Option<Provisioner>,
    pub(super) post_processors: Vec<Vec<PostProcessor>>,
}

impl<'a> Build<'a> {
    pub(super) fn new(
        base: &'a Arc<HclBase>,
        catalog: &'a dyn Catalog,
        block_name: Option<&'a str>,
        source: &'a Use,
    ) -> Self {
        let entries = [("type".into(), Value::string(&source.kind)), ("name".into(), Value::string(source.label()))];
        let this = match source.is_nowhere() {
            true => Value::unknown(),
            false => Value::object(entries.into_iter().collect()),
        };
        let plan = build_object(&Generated::plan(), block_name);
        Self { base, catalog, block_name, source, short: source.short(), this, plan }
    }

    /// Makes what this source gets of a build block.
    pub(super) fn parts(&self, blocks: &[Expanded], selection: &mut Selection, diagnostics: &mut Diagnostics) -> Parts {
        let mut parts = Parts::default();
        for expanded in blocks {
            let block = &expanded.block;
            match &*block.kind.text {
                "provisioner" => parts.provisioners.extend(self.provisioner(expanded, diagnostics)),
                "error-cleanup-provisioner" => {
                    let Some(provisioner) = self.provisioner(expanded, diagnostics) else { continue };
                    if parts.cleanup.is_some() {
                        let detail = "Only one error-cleanup-provisioner is allowed per build.";
                        let diagnostic = Diagnostic::error("Only one error-cleanup-provisioner is allowed", detail);
                        diagnostics.push(diagnostic.at(block.header));
                    } else {
                        parts.cleanup = Some(provisioner);
                    }
                }
                "post-processor" => {
                    let chain = std::slice::from_ref(expanded);
                    parts.post_processors.extend(self.sequence(chain, selection, diagnostics));
                }
                "post-processors" => {
                    expect_labels(block, &[], diagnostics);
                    expect_only(&block.body, &[], &["post-processor", "dynamic"], diagnostics);
                    let mut chain = expand(&block.body, &expanded.names, &self.scope(expanded), diagnostics);
                    chain.retain(|inner| &*inner.block.kind.text == "post-processor");
                    parts.post_processors.extend(self.sequence(&chain, selection, diagnostics));
                }
                "source" => {}
                "hcp_packer_registry" => {
                    let meta = Meta { body: &block.body, scope: &self.scope(expanded) };
                    registry::check(&meta, diagnostics);
                    diagnostics.push(registry::without_effect(block));
                }
                _ => diagnostics.push(unsupported_block(block, &["provisioner", "post-processor", "source"])),
            }
        }
        parts
    }

    /// Makes the builder; nothing where there is none of its kind, or no source.
    pub(super) fn builder(&self, diagnostics: &mut Diagnostics) -> Option<Component> {
        if self.source.is_nowhere() {
            return None;
        }
        let root = &self.source.root;
        let span = root.labels.first().map_or(root.header, |label| label.span);
        let schema = schema_of(self.catalog, ComponentType::Builder, &self.source.kind, span, diagnostics)?;
        let config = match &self.source.nested {
            Some(nested) => {
                check_duplicates(&root.body, &nested.block.body, diagnostics);
                self.config(vec![root.clone(), without_name(nested)], &nested.names)
            }
            None => self.config(vec![root.clone()], &BTreeMap::new()),
        };
        Some(Component::hcl(schema, root.header, config))
    }

    /// What the arguments of a block that are not its component's own can refer to.
    fn scope(&self, expanded: &Expanded) -> Scope<'_> {
        let names = [("source".into(), self.this.clone()), ("build".into(), self.plan.clone())];
        self.base.scope(names.into_iter().chain(expanded.names.clone()))
    }

    fn config(&self, bodies: Vec<Arc<Block>>, iterators: &BTreeMap<Arc<str>, Value>) -> HclConfig {
        let mut names: BTreeMap<Arc<str>, Value> = [("source".into(), self.this.clone())].into();
        names.extend(iterators.clone());
        HclConfig {
            base: self.base.clone(),
            names,
            bodies,
            overrides: None,
            skip: &[],
            has_build_values: false,
            block_name: self.block_name.map(str::to_owned),
            build_name: self.source.name.to_string(),
            build_type: self.source.kind.to_string(),
        }
    }

    /// Makes the component of a block; `skip` names the arguments that are not its own.
    fn component(
        &self,
        kind: ComponentType,
        expanded: &Expanded,
        skip: &'static [&'static str],
        diagnostics: &mut Diagnostics,
    ) -> Option<Component> {
        let block = &expanded.block;
        let label = block.labels.first()?;
        let schema = schema_of(self.catalog, kind, &label.text, label.span, diagnostics)?;
        let config = self.config(vec![block.clone()], &expanded.names);
        Some(Component::hcl(schema, block.header, HclConfig { skip, has_build_values: true, ..config }))
    }

    /// Makes a provisioner; nothing where this source does not get it.
    fn provisioner(&self, expanded: &Expanded, diagnostics: &mut Diagnostics) -> Option<Provisioner> {
        let scope = self.scope(expanded);
        let meta = self.selected(expanded, &scope, diagnostics)?;
        let mut component = self.component(ComponentType::Provisioner, expanded, meta::PROVISIONER, diagnostics)?;
        component.set_overrides(meta.override_for(self.source.label(), diagnostics));
        Some(Provisioner {
            component,
            name: meta.text("name", diagnostics),
            pause_before: meta.duration("pause_before", diagnostics).unwrap_or_default(),
            timeout: meta.duration("timeout", diagnostics),
            max_retries: meta.count("max_retries", diagnostics).unwrap_or(0),
            continue_on_error: meta.flag("continue_on_error", diagnostics).unwrap_or(false),
        })
    }

    /// Makes one post-processor sequence; nothing when none of it is left.
    fn sequence(
        &self,
        chain: &[Expanded],
        selection: &mut Selection,
        diagnostics: &mut Diagnostics,
    ) -> Option<Vec<PostProcessor>> {
        let mut made = Vec::new();
        for expanded in chain {
            let scope = self.scope(expanded);
            let Some(meta) = self.selected(expanded, &scope, diagnostics) else { continue };
            let name = meta.text("name", diagnostics);
            let kind = expanded.block.labels.first().map(|label| label.text.to_string()).unwrap_or_default();
            if selection.excludes_post_processor(name.as_deref().unwrap_or(&kind)) {
                break;
            }
            let component = self.component(ComponentType::PostProcessor, expanded, meta::POST_PROCESSOR, diagnostics);
            if let Some(component) = component {
                let keep_input_artifact = meta.flag("keep_input_artifact", diagnostics);
                made.push(PostProcessor { component, name, keep_input_artifact });
            }
        }
        (!made.is_empty()).then_some(made)
    }

    /// Returns the arguments of a provisioner or post-processor that are not its own, if `only` and `except` give it to this
    /// source. Where there is no source, everything is looked at.
    fn selected<'b>(
        &self,
        expanded: &'b Expanded,
        scope: &'b Scope<'b>,
        diagnostics: &mut Diagnostics,
    ) -> Option<Meta<'b>> {
        if !expect_labels(&expanded.block, &["type"], diagnostics) {
            return None;
        }
        let meta = Meta { body: &expanded.block.body, scope };
        (meta.applies_to(&self.short, diagnostics) || self.source.is_nowhere()).then_some(meta)
    }
}

/// Removes the alias from a `source` block of a build block: it is not an option of the builder.
fn without_name(nested: &Expanded) -> Arc<Block> {
    let mut block = Block::clone(&nested.block);
    block.body.attributes.retain(|attribute| &*attribute.name.text != "name");
    Arc::new(block)
}

fn check_duplicates(root: &Body, nested: &Body, diagnostics: &mut Diagnostics) {
    for attribute in &nested.attributes {
        if root.attribute(&attribute.name.text).is_some() && &*attribute.name.text != "name" {
            let detail = format!(
                "Argument {:?} was already set in the source itself; a source block inside a build block can only add \
                 arguments.",
                attribute.name.text
            );
            diagnostics.push(Diagnostic::error("Duplicate argument", detail).at(attribute.name.span));
        }
    }
}
