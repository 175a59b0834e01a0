//! Owns what is told to people about their templates: problems with their places, what hides secrets in them, and what is
//! proposed instead.

mod diagnostic;
mod list;
pub(crate) mod redact;
mod render;
mod report;
pub(crate) mod source_map;
pub(crate) mod suggest;

pub use diagnostic::{Diagnostic, Severity};
pub use list::Diagnostics;
pub use render::Style;
pub use report::{ExcerptLine, RelatedPlace, Report, ReportRange};
