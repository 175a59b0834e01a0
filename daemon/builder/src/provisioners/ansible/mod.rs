//! The ansible provisioner: runs `ansible-playbook` on this machine against the guest, through an SSH server of ours that uses the build's
//! connection, or straight to the guest.

mod arguments;
mod background;
pub(super) mod galaxy;
mod inventory;
mod keys;
mod proxy;
mod session;
#[cfg(test)]
mod tests;
mod version;

use std::path::Path;

use self::background::Background;
use self::inventory::{Inventory, Target};
use self::proxy::Proxy;
use self::session::Served;
use super::context::ProvisionContext;
use crate::build_data::{Connection, SshConnection};
use crate::error::StepError;
use crate::generated::Renderer;
use crate::line_output::LineOutput;
use crate::option_values::OptionValues;
use crate::scripts::LocalCommand;
use crate::temporary_file::TemporaryFile;

/// What to do about a playbook that failed.
const FAILED_HINT: &str = "what Ansible said is above; it ran on this machine, in the directory in which the build was started; \
                           extra_arguments = [\"-vvv\"] makes it say more";

pub(super) async fn run(
    context: &ProvisionContext,
    options: OptionValues<'_>,
    renderer: &Renderer,
) -> Result<(), StepError> {
    let build = &context.build;
    build.say("Provisioning with Ansible...");
    let ansible = Ansible { context, options, renderer };
    let program = options.text("command").unwrap_or_default();
    let major = if options.flag("skip_version_check") { 2 } else { version::major(build, &program).await? };
    let way = if ansible.goes_direct() { ansible.direct()? } else { ansible.proxied().await? };
    ansible.galaxy().await?;
    ansible.play(&program, &way.target, major).await
}

/// A target, with what must live as long as it is used.
struct Way<'a> {
    target: Target,
    _proxy: Option<Proxy>,
    _key: Option<TemporaryFile<'a>>,
}

struct Ansible<'a> {
    context: &'a ProvisionContext,
    options: OptionValues<'a>,
    renderer: &'a Renderer,
}

impl<'a> Ansible<'a> {
    fn guest(&self) -> Option<&SshConnection> {
        match &self.context.data.connection {
            Some(Connection::Ssh(ssh)) => Some(ssh),
            _ => None,
        }
    }

    /// Whether the template wants no proxy, and there is a way without one; says when there is none.
    fn goes_direct(&self) -> bool {
        if self.options.flag("use_proxy") {
            return false;
        }
        let fallback = "Falling back to use localhost proxy.";
        let say = |why: &str| self.context.build.say(format!("Warning: use_proxy is false, but {why}. {fallback}"));
        match self.guest() {
            Some(ssh) if ssh.host.is_empty() => {
                say("instance does not have an IP address to give to Ansible");
                false
            }
            Some(_) => true,
            None if matches!(self.context.data.connection, Some(Connection::WinRm(_))) => {
                say("Ansible is handed connections of ssh alone yet, not of winrm");
                false
            }
            None => {
                say("communicator is neither ssh nor winrm, so without the proxy ansible will not function");
                false
            }
        }
    }

    /// The guest itself, opened by the build's own key; where that is in no file, it is in one for as long as Ansible runs.
    fn direct(&self) -> Result<Way<'a>, StepError> {
        self.context
            .build
            .say("Not using Proxy adapter for Ansible run:\n\tUsing ssh keys from Packer communicator...");
        let ssh = self.guest().cloned().unwrap_or_default();
        let login = ssh.login;
        let named = login.private_key_file.filter(|file| !file.is_empty()).map(|file| crate::home::expand_home(&file));
        let unnamed = login.private_key.filter(|_| named.is_none() && !login.agent);
        let file = unnamed.map(|key| keys::write(&self.context.build, key.expose())).transpose()?;
        let key = named.or_else(|| file.as_ref().map(|file| file.path().to_owned()));
        let user = self.options.given("user").map_or(ssh.user, str::to_owned);
        let target = Target { host: ssh.host, port: ssh.port, user, key };
        Ok(Way { target, _proxy: None, _key: file })
    }

    /// A proxy with keys of its own.
    async fn proxied(&self) -> Result<Way<'a>, StepError> {
        let build = &self.context.build;
        let host_key = keys::host_key(self.options).await?;
        let (public, file) = keys::client_key(build, self.options).await?;
        let served = Served {
            guest: self.context.communicator.clone(),
            key: public,
            sftp_command: self.options.text("sftp_command").unwrap_or_default(),
        };
        let port = self.options.port("local_port");
        let proxy = Proxy::start(port, host_key, served).await?;
        let target = Target {
            host: "127.0.0.1".to_owned(),
            port: proxy.port,
            user: self.options.given("user").map_or_else(keys::local_user, str::to_owned),
            key: file.as_ref().map(|file| file.path().to_owned()),
        };
        Ok(Way { target, _proxy: Some(proxy), _key: file })
    }

    /// Installs what the galaxy file names.
    async fn galaxy(&self) -> Result<(), StepError> {
        let Some(file) = self.options.given("galaxy_file") else { return Ok(()) };
        let content = tokio::fs::read_to_string(file).await;
        let content = content.map_err(|error| StepError::new(format!("cannot read {file}")).with_source(error))?;
        let flags = [("galaxy_force_install", "-f"), ("galaxy_force_with_deps", "--force-with-deps")];
        let force: Vec<&str> =
            flags.into_iter().filter(|(option, _)| self.options.flag(option)).map(|(_, flag)| flag).collect();
        let (roles, collections) = (self.options.given("roles_path"), self.options.given("collections_path"));
        let program = self.options.text("galaxy_command").unwrap_or_default();
        for arguments in galaxy::runs(&content, file, &force, roles, collections) {
            self.context.build.say(format!("Executing Ansible Galaxy: {program} {}", arguments.join(" ")));
            self.execute(&program, &arguments, &[], "Ansible Galaxy").await?;
        }
        Ok(())
    }

    /// Runs the playbook.
    async fn play(&self, program: &str, target: &Target, major: u32) -> Result<(), StepError> {
        let (build, options) = (&self.context.build, self.options);
        let rendered = |name: &str| -> Result<Vec<String>, StepError> {
            options.texts(name).iter().map(|text| self.renderer.render(text, &[])).collect()
        };
        let inventory = Inventory::new(build, options, || inventory::text(options, self.renderer, target, major))?;
        let playbook = options.text("playbook_file").unwrap_or_default();
        let playbook = std::path::absolute(&playbook).unwrap_or_else(|_| playbook.into());
        let extra = rendered("extra_arguments")?;
        let key = target.key.as_deref();
        let paths: (&Path, &Path) = (&inventory.path, &playbook);
        let arguments = arguments::arguments(options, &self.context.data, extra, key, paths);
        let mut environment = arguments::environment(options, rendered("ansible_env_vars")?);
        let background = Background::new(build);
        // A place of the template's own is its own affair.
        if !environment.iter().any(|(name, _)| name == background::VARIABLE) {
            environment.push((background::VARIABLE.to_owned(), background.directory()));
        }
        build.say(format!("Executing Ansible: {}", arguments::shown(program, &arguments)));
        let played = self.execute(program, &arguments, &environment, "Ansible").await;
        background.end().await;
        if options.flag("keep_inventory_file")
            && let Some(path) = inventory.keep()
        {
            build.say(format!("The inventory stays in {}", path.display()));
        }
        played
    }

    async fn execute(
        &self,
        program: &str,
        arguments: &[String],
        environment: &[(String, String)],
        what: &str,
    ) -> Result<(), StepError> {
        let build = &self.context.build;
        let output = LineOutput::new(build);
        let code = LocalCommand { build, program, arguments, environment }.run(&output).await?;
        output.finish();
        if code == 0 {
            return Ok(());
        }
        let error = format!("Error executing {what}: Non-zero exit status: exit status {code}");
        Err(StepError::new(error).with_hint(FAILED_HINT).lost_when(build.sightings.is_lost()))
    }
}
