//! Owns `source` and `build` blocks: one build for each source of each build block.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::blocks::Root;
use super::idle;
use super::meta::{self, Meta};
use super::registry::check_bucket;
use super::select::Selection;
use super::uses::{Sources, Use, sources, uses};
use crate::components::component::Component;
use crate::components::config::{HclBase, HclConfig, build_object};
use crate::components::evaluated::{Evaluated, EvaluatedBuild, PostProcessor, Provisioner};
use crate::components::foreign::schema_of;
use crate::components::generated::Generated;
use crate::components::schema::{Catalog, ComponentType, Schema};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::language::dynamic::{Expanded, expand};
use crate::language::shape::{expect_labels, expect_only, unsupported_argument, unsupported_block};
use crate::language::syntax::ast::{Attribute, Block, Body};
use crate::language::value::{Entries, Type, Value};
use crate::world::inputs::Inputs;

/// What a build block's parts are evaluated with.
struct Context<'a> {
    base: &'a Arc<HclBase>,
    catalog: &'a dyn Catalog,
    block_name: Option<String>,
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
    let mut selection = Selection::new(&inputs.only, &inputs.except, diagnostics);
    let mut evaluated = Evaluated::default();
    let mut names = Vec::new();
    for block in &root.build {
        build_block(block, &known, base, catalog, &mut selection, &mut evaluated, &mut names, diagnostics);
    }
    selection.warn_unused(&names, diagnostics);
    evaluated
}

#[expect(clippy::too_many_arguments, reason = "one caller; the parts have nothing else in common")]
fn build_block(
    block: &Arc<Block>,
    known: &Sources,
    base: &Arc<HclBase>,
    catalog: &dyn Catalog,
    selection: &mut Selection,
    evaluated: &mut Evaluated,
    names: &mut Vec<String>,
    diagnostics: &mut Diagnostics,
) {
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
    let scope = base.scope([]);
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
    let uses = uses(block, &blocks, known, &scope, diagnostics);
    let without_source = uses.is_empty() && diagnostics.len() > before;
    let context = Context { base, catalog, block_name };
    for block in idle::check(&blocks, &uses, base, diagnostics) {
        check_shape(block, catalog, diagnostics);
        let names = [("source".into(), Value::unknown()), ("build".into(), build_object(&Generated::plan(), None))];
        Meta { body: &block.body, scope: &base.scope(names) }.check(diagnostics);
    }
    let mut selected = 0;
    for source in &uses {
        let label = source.alias.as_ref().unwrap_or(&source.name);
        let short = format!("{}.{label}", source.kind);
        let name = match &context.block_name {
            Some(block_name) => format!("{block_name}.{short}"),
            None => short.clone(),
        };
        names.push(name.clone());
        if !selection.build(&name) {
            continue;
        }
        selected += 1;
        one_build(&context, name, &short, source, &blocks, selection, evaluated, diagnostics);
    }
    if without_source {
        // No source that it names is there, which has been said. Its parts are looked at all the same.
        let nowhere = Use { kind: "".into(), name: "".into(), alias: None, root: block.clone(), nested: None };
        one_build(&context, String::new(), "", &nowhere, &blocks, selection, evaluated, diagnostics);
    } else if selected == 0 {
        // Nothing of this block runs, but what is plainly wrong in it is still worth telling.
        for expanded in &blocks {
            check_shape(&expanded.block, catalog, diagnostics);
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "one caller; the parts have nothing else in common")]
fn one_build(
    context: &Context<'_>,
    name: String,
    short: &str,
    source: &Use,
    blocks: &[Expanded],
    selection: &mut Selection,
    evaluated: &mut Evaluated,
    diagnostics: &mut Diagnostics,
) {
    let label = source.alias.as_ref().unwrap_or(&source.name);
    let entries: Entries =
        [("type".into(), Value::string(&source.kind)), ("name".into(), Value::string(label))].into_iter().collect();
    // Nowhere: there is no such source.
    let nowhere = short.is_empty();
    let this = if nowhere { Value::unknown() } else { Value::object(entries) };
    let own: BTreeMap<Arc<str>, Value> = [("source".into(), this)].into_iter().collect();
    let kind_span = source.root.labels.first().map_or(source.root.header, |label| label.span);
    let component =
        |kind: ComponentType, block: &Expanded, skip: &'static [&'static str], diagnostics: &mut Diagnostics| {
            let label = block.block.labels.first()?;
            let schema = schema_of(context.catalog, kind, &label.text, label.span, diagnostics)?;
            let mut names = own.clone();
            names.extend(block.names.clone());
            Some(Component::hcl(
                schema,
                block.block.header,
                HclConfig {
                    base: context.base.clone(),
                    names,
                    bodies: vec![block.block.clone()],
                    overrides: None,
                    skip,
                    has_build_values: true,
                    block_name: context.block_name.clone(),
                    build_name: source.name.to_string(),
                    build_type: source.kind.to_string(),
                },
            ))
        };
    let mut provisioners = Vec::new();
    let mut cleanup = None;
    let mut post_processors = Vec::new();
    let plan_values: BTreeMap<Arc<str>, Value> = own
        .iter()
        .map(|(name, value)| (name.clone(), value.clone()))
        .chain([("build".into(), build_object(&Generated::plan(), context.block_name.as_deref()))])
        .collect();
    for block in blocks {
        let mut names = plan_values.clone();
        names.extend(block.names.clone());
        let scope = context.base.scope(names);
        match &*block.block.kind.text {
            "provisioner" | "error-cleanup-provisioner" => {
                if !expect_labels(&block.block, &["type"], diagnostics) {
                    continue;
                }
                let meta = Meta { body: &block.block.body, scope: &scope };
                if !meta.applies_to(short, diagnostics) && !nowhere {
                    continue;
                }
                let is_cleanup = &*block.block.kind.text == "error-cleanup-provisioner";
                let Some(mut component) = component(ComponentType::Provisioner, block, meta::PROVISIONER, diagnostics)
                else {
                    continue;
                };
                component.set_overrides(meta.override_for(label, diagnostics));
                let provisioner = Provisioner {
                    component,
                    name: meta.text("name", diagnostics),
                    pause_before: meta.duration("pause_before", diagnostics).unwrap_or_default(),
                    timeout: meta.duration("timeout", diagnostics),
                    max_retries: meta.count("max_retries", diagnostics).unwrap_or(0),
                    continue_on_error: meta.flag("continue_on_error", diagnostics).unwrap_or(false),
                };
                if !is_cleanup {
                    provisioners.push(provisioner);
                } else if cleanup.is_some() {
                    let detail = "Only one error-cleanup-provisioner is allowed per build.";
                    let diagnostic = Diagnostic::error("Only one error-cleanup-provisioner is allowed", detail);
                    diagnostics.push(diagnostic.at(block.block.header));
                } else {
                    cleanup = Some(provisioner);
                }
            }
            "post-processor" => {
                let chain = [block.clone()];
                let chain = sequence(&chain, short, &plan_values, context, &component, selection, diagnostics);
                post_processors.extend(chain);
            }
            "post-processors" => {
                expect_labels(&block.block, &[], diagnostics);
                expect_only(&block.block.body, &[], &["post-processor", "dynamic"], diagnostics);
                let mut chain = expand(&block.block.body, &block.names, &scope, diagnostics);
                chain.retain(|expanded| &*expanded.block.kind.text == "post-processor");
                let chain = sequence(&chain, short, &plan_values, context, &component, selection, diagnostics);
                post_processors.extend(chain);
            }
            "source" => {}
            "hcp_packer_registry" => {
                const ARGUMENTS: &[&str] =
                    &["bucket_name", "description", "labels", "bucket_labels", "build_labels", "channels"];
                expect_only(&block.block.body, ARGUMENTS, &[], diagnostics);
                let meta = Meta { body: &block.block.body, scope: &scope };
                if let Some(name) = meta.text("bucket_name", diagnostics) {
                    check_bucket(&name, &block.block.body, diagnostics);
                }
            }
            _ => diagnostics.push(unsupported_block(&block.block, &["provisioner", "post-processor", "source"])),
        }
    }
    let schema = (!nowhere)
        .then(|| schema_of(context.catalog, ComponentType::Builder, &source.kind, kind_span, diagnostics))
        .flatten();
    let Some(schema) = schema else {
        return evaluated.orphan(provisioners.into_iter().chain(cleanup), post_processors);
    };
    let mut names = own;
    let mut bodies = vec![source.root.clone()];
    if let Some(nested) = &source.nested {
        names.extend(nested.names.clone());
        bodies.push(without_name(nested));
        check_duplicates(&source.root.body, &nested.block.body, diagnostics);
    }
    let component = Component::hcl(
        schema,
        source.root.header,
        HclConfig {
            base: context.base.clone(),
            names,
            bodies,
            overrides: None,
            skip: &[],
            has_build_values: false,
            block_name: context.block_name.clone(),
            build_name: source.name.to_string(),
            build_type: source.kind.to_string(),
        },
    );
    evaluated.builds.push(EvaluatedBuild {
        name,
        block_name: context.block_name.clone(),
        source_type: source.kind.to_string(),
        source_name: source.name.to_string(),
        source: component,
        provisioners,
        cleanup_provisioner: cleanup,
        post_processors,
    });
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

/// Makes the component of a block; the third argument names the arguments that are not its own.
type MakeComponent<'a> =
    &'a dyn Fn(ComponentType, &Expanded, &'static [&'static str], &mut Diagnostics) -> Option<Component>;

/// Makes one post-processor sequence; nothing when none of it is left.
fn sequence(
    chain: &[Expanded],
    short: &str,
    plan_values: &BTreeMap<Arc<str>, Value>,
    context: &Context<'_>,
    component: MakeComponent<'_>,
    selection: &mut Selection,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<PostProcessor>> {
    let mut made = Vec::new();
    for block in chain {
        if !expect_labels(&block.block, &["type"], diagnostics) {
            continue;
        }
        let mut names = plan_values.clone();
        names.extend(block.names.clone());
        let scope = context.base.scope(names);
        let meta = Meta { body: &block.block.body, scope: &scope };
        if !meta.applies_to(short, diagnostics) && !short.is_empty() {
            continue;
        }
        let name = meta.text("name", diagnostics);
        let kind = block.block.labels.first().map(|label| label.text.to_string()).unwrap_or_default();
        if selection.excludes_post_processor(name.as_deref().unwrap_or(&kind)) {
            break;
        }
        if let Some(component) = component(ComponentType::PostProcessor, block, meta::POST_PROCESSOR, diagnostics) {
            let keep_input_artifact = meta.flag("keep_input_artifact", diagnostics);
            made.push(PostProcessor { component, name, keep_input_artifact });
        }
    }
    (!made.is_empty()).then_some(made)
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
