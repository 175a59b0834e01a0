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

pub use commands::console::{Answer, Console};
pub use commands::fix::{FixError, fix, fixers};
pub use commands::fmt::{FormatError, format_hcl};
pub use commands::init::{RequiredPlugins, required_plugins};
pub use commands::inspect::{InspectLine, Inspection, inspect};
pub use commands::upgrade::{Upgraded, hcl2_upgrade};
pub use commands::validate::{check_syntax, check_template_syntax};
pub use components::component::Component;
pub use components::evaluated::{Evaluated, EvaluatedBuild, Loaded, PostProcessor, Provisioner};
pub use components::generated::Generated;
pub use components::options::Options;
pub use components::plugins::{BUILT_IN_PLUGINS, BuiltInPlugin, PluginRequirement, built_in_plugin};
pub use components::schema::{Catalog, ComponentType, OptionKind, OptionSpec, Schema};
pub use diagnostics::redact::{Redactor, SENSITIVE};
pub use diagnostics::source_map::{FileId, Position, SourceFile, SourceMap, Span};
pub use diagnostics::suggest::did_you_mean;
pub use diagnostics::{Diagnostic, Diagnostics, ExcerptLine, RelatedPlace, Report, ReportRange, Severity, Style};
pub use go_template::PACKER_VERSION;
pub use load::{is_hcl2, load, load_with};
pub use world::data::{DataMode, DataSources, HttpRequest, HttpResponse};
pub use world::files::{Files, MemoryFiles, OsFiles};
pub use world::inputs::Inputs;
