//! Owns the result of a load: the builds of a template, ready to be planned.

use std::collections::BTreeMap;
use std::time::Duration;

use super::component::Component;
use super::schema::ComponentType;
use crate::diagnostics::Diagnostics;
use crate::diagnostics::source_map::SourceMap;

/// Everything [`load`](crate::load) found out.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The builds; nothing when the template has errors.
    pub evaluated: Option<Evaluated>,
    /// What could be made of a template that has errors: never to be built, but its options can be checked, so that all
    /// problems are told at once. What depends on something that is wrong is unknown there.
    pub incomplete: Option<Evaluated>,
    /// All problems: of every file, variable and block, not only the first.
    pub diagnostics: Diagnostics,
    /// The texts the problems point into. Diagnostics of a later [`Component::decode`] point into it too.
    pub sources: SourceMap,
}

/// A template after variables, locals, `-only` and `-except`.
#[derive(Debug, Clone, Default)]
pub struct Evaluated {
    /// The selected builds in order.
    pub builds: Vec<EvaluatedBuild>,
    /// Parts of builds whose builder is not known: nothing can be built of them, but their options can be checked.
    pub orphans: Vec<(ComponentType, Component)>,
    /// Texts that must never appear in logs or on screens.
    pub sensitive: Vec<String>,
    /// The texts of variables whose values the environment gave (`PKR_VAR_…`): those that the template declares, and not as secrets.
    pub of_environment: BTreeMap<String, String>,
    /// The template's description, if it has one (JSON templates).
    pub description: Option<String>,
}

impl Loaded {
    pub(crate) fn new(evaluated: Option<Evaluated>, diagnostics: Diagnostics, sources: SourceMap) -> Self {
        let (evaluated, incomplete) = if diagnostics.has_errors() { (None, evaluated) } else { (evaluated, None) };
        Self { evaluated, incomplete, diagnostics, sources }
    }

    /// Returns what there is to check, whole or not.
    #[must_use]
    pub fn to_check(&self) -> Option<&Evaluated> {
        self.evaluated.as_ref().or(self.incomplete.as_ref())
    }
}

impl Evaluated {
    /// Keeps the parts of a build that has no builder.
    pub(crate) fn orphan(
        &mut self,
        provisioners: impl IntoIterator<Item = Provisioner>,
        post_processors: Vec<Vec<PostProcessor>>,
    ) {
        let provisioners = provisioners.into_iter().map(|part| (ComponentType::Provisioner, part.component));
        let post_processors = post_processors.into_iter().flatten();
        let post_processors = post_processors.map(|part| (ComponentType::PostProcessor, part.component));
        self.orphans.extend(provisioners.chain(post_processors));
    }

    /// Returns every builder, provisioner and post-processor of all builds, and what has no builder.
    pub fn components(&self) -> impl Iterator<Item = &Component> {
        self.builds
            .iter()
            .flat_map(EvaluatedBuild::components)
            .chain(self.orphans.iter().map(|(_, component)| component))
    }
}

/// One source of one `build` block.
#[derive(Debug, Clone)]
pub struct EvaluatedBuild {
    /// The name people see and `-only` matches: `qemu.web`, or `rel.qemu.web` in `build { name = "rel" }`.
    pub name: String,
    /// The `name` of the `build` block.
    pub block_name: Option<String>,
    /// The builder's kind, such as `qemu`.
    pub source_type: String,
    /// The source's own label, which stays the same under an alias: `PACKER_BUILD_NAME`.
    pub source_name: String,
    /// The builder with its options.
    pub source: Component,
    /// The provisioners of this build, in order.
    pub provisioners: Vec<Provisioner>,
    /// What runs when a provisioner fails.
    pub cleanup_provisioner: Option<Provisioner>,
    /// The post-processor sequences of this build.
    pub post_processors: Vec<Vec<PostProcessor>>,
}

impl EvaluatedBuild {
    /// Returns its builder, provisioners and post-processors.
    pub fn components(&self) -> impl Iterator<Item = &Component> {
        let provisioners = self.provisioners.iter().chain(&self.cleanup_provisioner).map(|item| &item.component);
        let post_processors = self.post_processors.iter().flatten().map(|item| &item.component);
        [&self.source].into_iter().chain(provisioners).chain(post_processors)
    }
}

/// One provisioner of one build; `only`, `except` and `override` are already applied.
#[derive(Debug, Clone)]
pub struct Provisioner {
    /// Its kind and options.
    pub component: Component,
    /// Its label.
    pub name: Option<String>,
    /// How long to wait before each attempt.
    pub pause_before: Duration,
    /// How long one attempt may take.
    pub timeout: Option<Duration>,
    /// How many times a failure is retried.
    pub max_retries: u32,
    /// Whether a failure is only a warning.
    pub continue_on_error: bool,
}

/// One post-processor of one build.
#[derive(Debug, Clone)]
pub struct PostProcessor {
    /// Its kind and options.
    pub component: Component,
    /// Its label.
    pub name: Option<String>,
    /// Whether its input stays; nothing leaves that to the post-processor.
    pub keep_input_artifact: Option<bool>,
}
