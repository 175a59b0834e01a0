//! Packer's template languages: HCL2 and JSON, from text to builds whose options are checked.
//!
//! ```text
//! text ─lex→ tokens ─parse→ Body ─resolve→ variables, locals, sources ─select→ Evaluated ─decode→ Options
//!  └─ Diagnostics with spans at every stage
//! ```
//!
//! [`load`] does all of it up to [`Evaluated`]; each [`Component`] of it is decoded when it is needed (and again when
//! `build.*` values are known) by [`Component::decode`] against the [`Schema`] its [`Catalog`] gave.
//!
//! The crate is pure: files are reached only through [`Files`], the environment, the clock and the current folder
//! only through [`Inputs`]; nothing is printed.

mod commands;
mod components;
mod diagnostics;
mod go;
pub mod go_template;
mod hcl2;
mod language;
mod legacy;
mod load;
mod world;

pub use components::component::Component;
pub use commands::console::{Answer, Console};
pub use world::data::{DataMode, DataSources, HttpRequest, HttpResponse};
pub use diagnostics::{Diagnostic, Diagnostics, ExcerptLine, RelatedPlace, Report, ReportRange, Severity, Style};
pub use components::evaluated::{Evaluated, EvaluatedBuild, Loaded, PostProcessor, Provisioner};
pub use world::files::{Files, MemoryFiles, OsFiles};
pub use commands::fix::{FixError, fix, fixers};
pub use commands::fmt::{FormatError, format_hcl};
pub use components::generated::Generated;
pub use go_template::PACKER_VERSION;
pub use world::inputs::Inputs;
pub use commands::inspect::{InspectLine, Inspection, inspect};
pub use load::{check_syntax, check_template_syntax, is_hcl2, load, load_with};
pub use components::options::{Options, SENSITIVE};
pub use components::plugins::{
    BUILT_IN_PLUGINS, BuiltInPlugin, PluginRequirement, RequiredPlugins, built_in_plugin, required_plugins,
};
pub use diagnostics::redact::Redactor;
pub use components::schema::{Catalog, ComponentType, OptionKind, OptionSpec, Schema};
pub use diagnostics::source_map::{FileId, Position, SourceFile, SourceMap, Span};
pub use diagnostics::suggest::did_you_mean;
pub use commands::upgrade::{Upgraded, hcl2_upgrade};
