//! The Chef provisioners: recipes that are run in the guest, without a server and with one.

mod client;
mod configuration;
mod solo;

use kiln_communicators::Exit;
use serde_json::{Map, Value as Json, json};

pub(super) use self::client::run as client;
pub(super) use self::solo::run as solo;
use super::context::ProvisionContext;
use super::guest_command;
use super::staging::{GuestSystem, Staging};
use super::windows::elevated;
use crate::error::StepError;
use crate::generated::Renderer;
use crate::option_values::OptionValues;

const INSTALL: &str = "curl -L https://omnitruck.chef.io/install.sh | {{if .Sudo}}sudo {{end}}bash -s --\
                       {{if .Version}} -v {{.Version}}{{end}}";

const INSTALL_WINDOWS: &str = "powershell.exe -Command \". { iwr -useb https://omnitruck.chef.io/install.ps1 } | iex; Install-Project\
                               {{if .Version}} -version {{.Version}}{{end}}\"";

/// What to do about a run that failed.
const FAILED_HINT: &str = "what Chef said is above; it ran in the guest";

/// What both have in common.
struct Chef<'a> {
    context: &'a ProvisionContext,
    options: OptionValues<'a>,
    renderer: &'a Renderer,
    staging: Staging<'a>,
    kind: &'static str,
}

impl<'a> Chef<'a> {
    fn new(
        context: &'a ProvisionContext,
        options: OptionValues<'a>,
        renderer: &'a Renderer,
        kind: &'static str,
    ) -> Self {
        let system = GuestSystem::named(&options.text("guest_os_type").unwrap_or_default());
        let parent = if system == GuestSystem::Windows { "C:/Windows/Temp" } else { "/tmp" };
        let default = || format!("{parent}/packer-{kind}");
        let directory = options.given("staging_directory").map_or_else(default, str::to_owned);
        let sudo = system == GuestSystem::Unix && !options.flag("prevent_sudo");
        Self { context, options, renderer, staging: Staging { context, directory, system, sudo }, kind }
    }

    fn is_windows(&self) -> bool {
        self.staging.system == GuestSystem::Windows
    }

    fn sudo(&self) -> &'static str {
        if self.staging.sudo { "true" } else { "" }
    }

    /// Says who is there, and puts Chef into the guest.
    async fn begin(&self) -> Result<(), StepError> {
        self.context.build.say(format!("Provisioning with {}", self.kind));
        if !self.options.flag("skip_install") {
            self.install().await?;
        }
        self.staging.make().await
    }

    async fn install(&self) -> Result<(), StepError> {
        self.context.build.say("Installing Chef...");
        let default = if self.is_windows() { INSTALL_WINDOWS } else { INSTALL };
        let template = self.options.given("install_command").unwrap_or(default);
        let version = self.options.given("version").unwrap_or_default();
        let command = self.renderer.render(template, &[("Sudo", self.sudo()), ("Version", version)])?;
        match guest_command::run(self.context, &command).await? {
            Exit::Code(0) => Ok(()),
            exit => Err(StepError::new(format!("Install script exited with non-zero exit status {}", exit.code()))
                .with_hint("Chef's own servers are asked unless install_command says otherwise; skip_install = true where Chef is there already")
                .lost_when(exit == Exit::Disconnected)),
        }
    }

    /// Writes Chef's configuration: the template's own text, or `default`, rendered.
    async fn configure(&self, default: &str, name: &str, fields: &[(&str, &str)]) -> Result<String, StepError> {
        let own = match self.options.given("config_template") {
            None => None,
            Some(path) => {
                let text = tokio::fs::read_to_string(path).await;
                Some(text.map_err(|error| StepError::new(format!("cannot read {path}")).with_source(error))?)
            }
        };
        let text = self.renderer.render(own.as_deref().unwrap_or(default), fields)?;
        self.staging.write(&text, name).await
    }

    /// Writes the node's attributes with its run list; returns the file's path in the guest.
    async fn write_node(&self) -> Result<String, StepError> {
        let text = self.options.given("json_string").or_else(|| self.options.given("json")).unwrap_or("{}");
        let node = node(text, &self.options.texts("run_list"))?;
        self.staging.write(&node, "node.json").await
    }

    /// Runs Chef.
    async fn run(&self, default: &str, configuration: &str, node: &str) -> Result<(), StepError> {
        let template = self.options.given("execute_command").unwrap_or(default);
        let fields = [("ConfigPath", configuration), ("JsonPath", node), ("Sudo", self.sudo())];
        let command = self.renderer.render(template, &fields)?;
        self.context.build.say(format!("Executing Chef: {command}"));
        let command = elevated::wrapped(self.context, self.options, self.renderer, command).await?;
        match guest_command::run(self.context, &command).await? {
            Exit::Code(0) => Ok(()),
            Exit::Code(code) => {
                Err(StepError::new(format!("Error executing Chef: Non-zero exit status: {code}"))
                    .with_hint(FAILED_HINT))
            }
            exit => Err(StepError::new(format!("Chef was ended: {exit}")).lost_when(exit == Exit::Disconnected)),
        }
    }
}

/// Attributes and run list as one JSON object.
fn node(attributes: &str, run_list: &[String]) -> Result<String, StepError> {
    let wrong = |why: String| {
        StepError::new(format!("Chef's attributes are no JSON object: {why}"))
            .with_hint("json_string = jsonencode({ … })")
    };
    let parsed: Json = serde_json::from_str(attributes).map_err(|error| wrong(error.to_string()))?;
    let Json::Object(mut object): Json = parsed else { return Err(wrong("they are something else".to_owned())) };
    if !run_list.is_empty() {
        object.insert("run_list".to_owned(), json!(run_list));
    }
    serde_json::to_string_pretty::<Map<String, Json>>(&object).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_and_run_list_are_one_object() {
        let list = ["recipe[a]".to_owned()];
        let read: Json = serde_json::from_str(&node("{\"a\": {\"b\": 1}}", &list).unwrap()).unwrap();
        assert_eq!(read, json!({ "a": { "b": 1 }, "run_list": ["recipe[a]"] }));
        assert_eq!(node("{}", &[]).unwrap(), "{}");
        for wrong in ["[1]", "{", ""] {
            assert!(node(wrong, &[]).unwrap_err().to_string().starts_with("Chef's attributes are no JSON object"));
        }
    }
}
