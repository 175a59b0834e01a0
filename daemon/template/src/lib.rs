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
//!
//! # Where things are
//!
//! Each line may use those below it, never one above.
//!
//! ```text
//! commands     what people do with templates: fmt, validate, inspect, console, fix, hcl2_upgrade, init
//! load         a template of either dialect → Evaluated
//! hcl2         the dialect of .pkr.hcl and .pkr.json: what its blocks mean    legacy   the older one: JSON with {{ … }}
//! components   options of builders, provisioners, post-processors: schema, what the template has, decoded
//! language     HCL: syntax → tree, values, functions, evaluation
//! go_template  the {{ … }} in texts: Go's text/template with Packer's functions
//! world        what is outside: files, the caller's environment, stores of secrets
//! diagnostics  problems and their places, what hides secrets, what was probably meant
//! go           texts, durations, times and paths as Go has them
//! ```

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
pub use diagnostics::suggest::{did_you_mean, nearest};
pub use diagnostics::{Diagnostic, Diagnostics, ExcerptLine, RelatedPlace, Report, ReportRange, Severity, Style};
pub use go::duration::{GoDuration, parse_go_duration};
pub use go_template::PACKER_VERSION;
pub use load::{is_hcl2, load, load_with};
pub use world::data::{DataMode, DataSources, HttpRequest, HttpResponse, KnownImage};
pub use world::files::{Files, MemoryFiles, OsFiles};
pub use world::inputs::Inputs;
