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

mod component;
mod config;
mod console;
mod data;
mod decode;
mod diagnostics;
mod duration;
mod dynamic;
mod eval;
mod evaluated;
mod files;
mod fix;
mod foreign;
mod format;
mod functions;
mod generated;
pub mod go_template;
mod go_text;
mod hcl2;
mod inputs;
mod inspect;
mod legacy;
mod load;
mod options;
mod plugins;
mod redact;
mod schema;
mod secret_stores;
mod shape;
mod source_map;
mod suggest;
mod syntax;
mod time_layout;
mod type_expr;
mod upgrade;
mod value;

pub use component::Component;
pub use console::{Answer, Console};
pub use data::{DataMode, DataSources, HttpRequest, HttpResponse};
pub use diagnostics::{Diagnostic, Diagnostics, ExcerptLine, RelatedPlace, Report, ReportRange, Severity, Style};
pub use evaluated::{Evaluated, EvaluatedBuild, Loaded, PostProcessor, Provisioner};
pub use files::{Files, MemoryFiles, OsFiles};
pub use fix::{FixError, fix, fixers};
pub use format::{FormatError, format_hcl};
pub use generated::Generated;
pub use go_template::PACKER_VERSION;
pub use inputs::Inputs;
pub use inspect::{InspectLine, Inspection, inspect};
pub use load::{check_syntax, check_template_syntax, is_hcl2, load, load_with};
pub use options::{Options, SENSITIVE};
pub use plugins::{
    BUILT_IN_PLUGINS, BuiltInPlugin, PluginRequirement, RequiredPlugins, built_in_plugin, required_plugins,
};
pub use redact::Redactor;
pub use schema::{Catalog, ComponentType, OptionKind, OptionSpec, Schema};
pub use source_map::{FileId, Position, SourceFile, SourceMap, Span};
pub use suggest::did_you_mean;
pub use upgrade::{Upgraded, hcl2_upgrade};
