//! Data of the boot command, and of options that are rendered right before the machine starts.

use kiln_template::go_template;

use super::prepare::Prepared;
use super::recipe::Recipe;
use crate::error::StepError;
use crate::generated::Renderer;

/// What the build's server serves beside its directory: texts by their paths, as `{{ index .HTTPContent "/path" }}` names them.
const HTTP_CONTENT: &str = "HTTPContent";

/// Names and values, rendered into the texts of one source.
pub(super) struct Fields {
    renderer: Renderer,
    values: Vec<(&'static str, String)>,
    /// What only options of the machine can refer to.
    own: Vec<(&'static str, go_template::Value)>,
}

impl Fields {
    pub(super) fn new(recipe: &Recipe<'_>, prepared: &Prepared, renderer: Renderer) -> Self {
        let plan = &recipe.plan;
        let http_directory = plan.http.and_then(|http| http.directory.as_ref());
        let served = plan.http.map(|http| http.content.clone()).unwrap_or_default();
        let served = served.into_iter().map(|(path, text)| (path, text.into())).collect();
        let own = recipe.builder.fields().into_iter().map(|(name, value)| (name, value.into()));
        let own = own.chain([(HTTP_CONTENT, go_template::Value::Map(served))]);
        let values = vec![
            ("HTTPIP", prepared.host.clone()),
            ("HTTPPort", prepared.http_port.unwrap_or(0).to_string()),
            ("HTTPDir", http_directory.map_or_else(String::new, |directory| directory.display().to_string())),
            ("Name", plan.vm_name.to_owned()),
            ("OutputDir", plan.output_directory.display().to_string()),
            ("SSHPublicKey", prepared.access.public_key().unwrap_or_default().to_owned()),
        ];
        Self { renderer, values, own: own.collect() }
    }

    /// Renders a boot command.
    pub(super) fn render(&self, text: &str) -> Result<String, StepError> {
        self.render_with(text, &[])
    }

    /// Renders an option of the machine.
    pub(super) fn render_option(&self, text: &str) -> Result<String, StepError> {
        self.render_with(text, &self.own)
    }

    fn render_with(&self, text: &str, more: &[(&'static str, go_template::Value)]) -> Result<String, StepError> {
        let fields = self.values.iter().map(|(name, value)| (*name, value.as_str().into()));
        self.renderer.render_values(text, fields.chain(more.iter().cloned()).collect())
    }
}
