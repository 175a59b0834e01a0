//! Owns [`Component`]: one builder, provisioner or post-processor with its options still unevaluated.

use std::sync::Arc;

use super::config::{HclConfig, JsonConfig};
use super::decode;
use super::generated::Generated;
use super::options::Options;
use super::schema::Schema;
use crate::diagnostics::Diagnostics;
use crate::diagnostics::source_map::Span;
use crate::go::path::clean;
use crate::go_template;
use crate::language::value::Value;

/// A component of a build. Cheap to clone; may be decoded again whenever more is known.
#[derive(Debug, Clone)]
pub struct Component {
    /// Its kind, such as `shell`.
    pub kind: String,
    /// Where the template names it.
    pub span: Span,
    schema: &'static Schema,
    config: Config,
}

/// The options as the template has them.
#[derive(Debug, Clone)]
enum Config {
    Hcl(Arc<HclConfig>),
    Json(Arc<JsonConfig>),
}

impl Component {
    pub(crate) fn hcl(schema: &'static Schema, span: Span, config: HclConfig) -> Self {
        Self { kind: schema.kind.to_owned(), span, schema, config: Config::Hcl(Arc::new(config)) }
    }

    pub(crate) fn json(schema: &'static Schema, span: Span, config: JsonConfig) -> Self {
        Self { kind: schema.kind.to_owned(), span, schema, config: Config::Json(Arc::new(config)) }
    }

    pub(crate) fn set_overrides(&mut self, overrides: Option<Value>) {
        if let Config::Hcl(config) = &mut self.config {
            Arc::make_mut(config).overrides = overrides;
        }
    }

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
        let (options, diagnostics) = self.decode_partly(generated);
        (Some(options).filter(|_| !diagnostics.has_errors()), diagnostics)
    }

    /// Evaluates and checks the options as [`Self::decode`] does, and returns those that are right even when others are
    /// not, so that a caller can complain about all of them at once.
    #[must_use]
    pub fn decode_partly(&self, generated: &Generated) -> (Options, Diagnostics) {
        let mut diagnostics = Diagnostics::new();
        let context = self.template_context(generated);
        let options = match &self.config {
            Config::Hcl(config) => {
                decode::hcl::decode(config, self.schema, self.span, generated, &context, &mut diagnostics)
            }
            Config::Json(config) => decode::json::decode(config, self.schema, self.span, &context, &mut diagnostics),
        };
        (options, diagnostics)
    }

    /// Returns what Go templates of this component can refer to, for rendering the options marked `late`.
    #[must_use]
    pub fn template_context(&self, generated: &Generated) -> go_template::Context {
        let config = match &self.config {
            Config::Hcl(config) => config,
            Config::Json(config) => {
                return go_template::Context {
                    fields: generated.fields.clone(),
                    build: generated.build.clone(),
                    build_name: Some(config.build_name.clone()),
                    build_type: Some(config.build_type.clone()),
                    ..config.base.context()
                };
            }
        };
        let environment = &config.base.environment;
        go_template::Context {
            fields: generated.fields.clone(),
            open: false,
            variables: Arc::default(),
            build: generated.build.clone(),
            environment: None,
            data: crate::world::data::DataMode::Refuse,
            build_name: Some(config.build_name.clone()),
            build_type: Some(config.build_type.clone()),
            template_dir: Some(clean(&environment.root)),
            cwd: environment.cwd.clone(),
            now: environment.now,
        }
    }
}
