//! Owns the result of a load: the builds of a template, ready to be planned.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::component::Component;
use crate::diagnostics::Diagnostics;
use crate::go_template::Value;
use crate::source_map::SourceMap;

/// Everything [`load`](crate::load) found out.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The builds; nothing when the template has errors.
    pub evaluated: Option<Evaluated>,
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
    /// Texts that must never appear in logs or on screens.
    pub sensitive: Vec<String>,
    /// The template's description, if it has one (JSON templates).
    pub description: Option<String>,
}

impl Evaluated {
    /// Returns every builder, provisioner and post-processor of all builds.
    pub fn components(&self) -> impl Iterator<Item = &Component> {
        self.builds.iter().flat_map(|build| {
            let provisioners = build.provisioners.iter().chain(&build.cleanup_provisioner).map(|item| &item.component);
            let post_processors = build.post_processors.iter().flatten().map(|item| &item.component);
            [&build.source].into_iter().chain(provisioners).chain(post_processors)
        })
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

/// What is known only while a build runs, for [`Component::decode`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Generated {
    /// The `build.*` values by their names: `ID`, `Host`, `Port`, `User`, …; also for `{{ build "ID" }}`.
    pub build: BTreeMap<String, String>,
    /// Data for Go templates in options that are not rendered late: `{{ .Field }}`. Usually empty.
    pub fields: BTreeMap<String, Value>,
}

impl Generated {
    /// Text that every `build.*` value reads before the build runs.
    pub const UNKNOWN: &'static str = "<unknown>";

    /// The `build.*` values every builder has.
    pub const NAMES: &'static [&'static str] = &[
        "ID",
        "Host",
        "Port",
        "User",
        "Password",
        "ConnType",
        "PackerRunUUID",
        "PackerHTTPPort",
        "PackerHTTPIP",
        "PackerHTTPAddr",
        "SSHPublicKey",
        "SSHPrivateKey",
        "SSHPrivateKeyFile",
        "SSHAgentAuth",
        "WinRMPassword",
        "SourceImageName",
    ];

    /// Returns the values of plan time: every `build.*` reads [`Self::UNKNOWN`].
    #[must_use]
    pub fn plan() -> Self {
        Self {
            build: Self::NAMES.iter().map(|&name| (name.to_owned(), Self::UNKNOWN.to_owned())).collect(),
            fields: BTreeMap::new(),
        }
    }

    /// Sets one `build.*` value.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.build.insert(name.into(), value.into());
        self
    }
}
