//! Owns [`Component`]: one builder, provisioner or post-processor with its options still unevaluated.

use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::evaluated::Generated;
use crate::go_template;
use crate::options::Options;
use crate::schema::Schema;
use crate::source_map::Span;

/// A component of a build. Cheap to clone; may be decoded again whenever more is known.
#[derive(Debug, Clone)]
pub struct Component {
    /// Its kind, such as `shell`.
    pub kind: String,
    /// Where the template names it.
    pub span: Span,
    schema: &'static Schema,
}

impl Component {
    /// Returns the table its options are checked against.
    #[must_use]
    pub fn schema(&self) -> &'static Schema {
        self.schema
    }

    /// Evaluates and checks the options.
    ///
    /// Expressions are evaluated, converted to the types of the schema, and Go templates rendered, except in options
    /// marked `late`. The options are absent when anything in them is wrong; the diagnostics name all of it.
    #[must_use]
    pub fn decode(&self, generated: &Generated) -> (Option<Options>, Diagnostics) {
        _ = generated;
        (None, Diagnostic::error("Options cannot be decoded yet", "").at(self.span).into())
    }

    /// Returns what Go templates of this component can refer to, for rendering the options marked `late`.
    #[must_use]
    pub fn template_context(&self, generated: &Generated) -> go_template::Context {
        go_template::Context {
            fields: generated.fields.clone(),
            build: generated.build.clone(),
            ..go_template::Context::default()
        }
    }
}
