//! What is known only while a build runs (`build.ID`, `{{ .HTTPIP }}`, …), on its way into options.

use kiln_template::{Component, Diagnostics, Generated, go_template};

use crate::context::GeneratedData;
use crate::error::StepError;

/// What every `build.*` value reads before the build runs.
pub(crate) const UNKNOWN: &str = Generated::UNKNOWN;

/// The values of a running build, for decoding a component; what the builder does not know stays unknown.
pub(crate) fn values(data: &GeneratedData) -> Generated {
    let mut generated = Generated::plan();
    generated.build.extend(data.iter().map(|(name, value)| (name.clone(), value.clone())));
    generated
}

/// Renders the options of one component that are marked `late`.
pub(crate) struct Renderer {
    context: go_template::Context,
}

impl Renderer {
    /// Renders for `component` with the build's values.
    pub(crate) fn new(component: &Component, generated: &Generated) -> Self {
        let mut context = component.template_context(generated);
        for (name, value) in &generated.build {
            context.fields.entry(name.clone()).or_insert_with(|| value.as_str().into());
        }
        Self { context }
    }

    /// Renders `text` with further fields.
    pub(crate) fn render(&self, text: &str, fields: &[(&str, &str)]) -> Result<String, StepError> {
        if !text.contains("{{") {
            return Ok(text.to_owned());
        }
        let mut context = self.context.clone();
        // Without data of the component, what the builder knows is a map, of which Go makes `<no value>` of what is missing.
        context.open = fields.is_empty();
        for &(name, value) in fields {
            context.fields.insert(name.to_owned(), value.into());
        }
        go_template::render(text, &context)
            .map_err(|error| StepError::new(format!("cannot render the template {text:?}")).with_source(error))
    }
}

/// All problems as one message, for errors at run time.
pub(crate) fn flatten(diagnostics: &Diagnostics) -> String {
    let texts: Vec<String> = diagnostics
        .iter()
        .map(|diagnostic| match diagnostic.detail.as_str() {
            "" => diagnostic.summary.clone(),
            detail => format!("{}: {detail}", diagnostic.summary),
        })
        .collect();
    texts.join("; ")
}
