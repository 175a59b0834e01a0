//! The Puppet provisioners: manifests that are applied in the guest, and an agent that asks a server.

use std::path::Path;

use kiln_communicators::Exit;

use super::context::ProvisionContext;
use super::guest_command;
use super::staging::{GuestSystem, Staging, base_name};
use super::windows::elevated;
use crate::error::StepError;
use crate::generated::Renderer;
use crate::option_values::OptionValues;

/// How both commands begin on Unix: facts are variables before the program.
const UNIX: &str = "cd {{.WorkingDir}} && {{if ne .FacterVars \"\"}}{{.FacterVars}} {{end}}{{if .Sudo}}sudo -E {{end}}";

/// The same on Windows, where they are set by commands before it.
const WINDOWS: &str = "cd {{.WorkingDir}} && {{if ne .FacterVars \"\"}}{{.FacterVars}} && {{end}}";

const PROGRAM: &str = "{{if ne .PuppetBinDir \"\"}}{{.PuppetBinDir}}/{{end}}puppet ";

const APPLY: &str = "apply --detailed-exitcodes {{if .Debug}}--debug {{end}}\
    {{if ne .ModulePath \"\"}}--modulepath='{{.ModulePath}}' {{end}}\
    {{if ne .HieraConfigPath \"\"}}--hiera_config='{{.HieraConfigPath}}' {{end}}\
    {{if ne .ManifestDir \"\"}}--manifestdir='{{.ManifestDir}}' {{end}}\
    {{if ne .ExtraArguments \"\"}}{{.ExtraArguments}} {{end}}{{.ManifestFile}}";

const AGENT: &str = "agent --onetime --no-daemonize --detailed-exitcodes {{if .Debug}}--debug {{end}}\
    {{if ne .PuppetServer \"\"}}--server='{{.PuppetServer}}' {{end}}\
    {{if ne .PuppetNode \"\"}}--certname='{{.PuppetNode}}' {{end}}\
    {{if ne .ClientCertPath \"\"}}--certdir='{{.ClientCertPath}}' {{end}}\
    {{if ne .ClientPrivateKeyPath \"\"}}--privatekeydir='{{.ClientPrivateKeyPath}}' {{end}}\
    {{if ne .ExtraArguments \"\"}}{{.ExtraArguments}} {{end}}";

/// Puppet's words for "all went well, and something was changed".
const CHANGED: i32 = 2;

/// What to do about a run that failed.
const FAILED_HINT: &str = "what Puppet said is above; 127 means that there is no puppet in the guest's PATH: install it first, or name its \
                           directory in puppet_bin_dir";

/// Applies manifests.
pub(super) async fn masterless(
    context: &ProvisionContext,
    options: OptionValues<'_>,
    renderer: &Renderer,
) -> Result<(), StepError> {
    let puppet = Puppet::new(context, options, renderer, options.given("staging_directory"), "puppet-masterless");
    let (build, staging) = (&context.build, &puppet.staging);
    build.say("Provisioning with Puppet...");
    build.say("Creating Puppet staging directory...");
    staging.make().await?;
    let mut hiera = String::new();
    if let Some(file) = options.given("hiera_config_path") {
        build.say("Uploading hiera configuration...");
        hiera = staging.upload(file, "hiera.yaml").await?;
    }
    let mut manifest_dir = String::new();
    if let Some(directory) = options.given("manifest_dir") {
        build.say(format!("Uploading manifest directory from: {directory}"));
        manifest_dir = staging.upload_directory(directory, "manifests").await?;
    }
    let mut modules = Vec::new();
    for (number, path) in options.texts("module_paths").into_iter().enumerate() {
        build.say(format!("Uploading local modules from: {path}"));
        modules.push(staging.upload_directory(&path, &format!("module-{number}")).await?);
    }
    build.say("Uploading manifests...");
    let manifest = options.given("manifest_file").unwrap_or_default();
    let manifest = if Path::new(manifest).is_dir() {
        staging.upload_directory(manifest, "manifests").await?
    } else {
        staging.make_directory(&staging.path("manifests")).await?;
        staging.upload(manifest, &format!("manifests/{}", base_name(manifest))).await?
    };
    let fields = [
        ("HieraConfigPath", hiera),
        ("ModulePath", modules.join(puppet.module_joiner())),
        ("ModulePathJoiner", puppet.module_joiner().to_owned()),
        ("ManifestFile", manifest),
        ("ManifestDir", manifest_dir),
    ];
    puppet.run(APPLY, &fields).await?;
    if options.flag("clean_staging_directory") {
        staging.remove().await?;
    }
    Ok(())
}

/// Runs the agent.
pub(super) async fn server(
    context: &ProvisionContext,
    options: OptionValues<'_>,
    renderer: &Renderer,
) -> Result<(), StepError> {
    let puppet = Puppet::new(context, options, renderer, options.given("staging_dir"), "puppet-server");
    let (build, staging) = (&context.build, &puppet.staging);
    build.say("Provisioning with Puppet...");
    build.say("Creating Puppet staging directory...");
    staging.make().await?;
    let mut paths = [String::new(), String::new()];
    let uploads = [("client_cert_path", "certs"), ("client_private_key_path", "private_keys")];
    for (path, (option, name)) in paths.iter_mut().zip(uploads) {
        if let Some(directory) = options.given(option) {
            build.say(format!("Uploading {name}..."));
            *path = staging.upload_directory(directory, name).await?;
        }
    }
    let [certificates, keys] = paths;
    let fields = [
        ("PuppetServer", options.text("puppet_server").unwrap_or_default()),
        ("PuppetNode", options.given("puppet_node").unwrap_or_default().to_owned()),
        ("ClientCertPath", certificates),
        ("ClientPrivateKeyPath", keys),
    ];
    puppet.run(AGENT, &fields).await
}

/// What both have in common.
struct Puppet<'a> {
    context: &'a ProvisionContext,
    options: OptionValues<'a>,
    renderer: &'a Renderer,
    staging: Staging<'a>,
}

impl<'a> Puppet<'a> {
    fn new(
        context: &'a ProvisionContext,
        options: OptionValues<'a>,
        renderer: &'a Renderer,
        staging: Option<&str>,
        kind: &str,
    ) -> Self {
        let system = GuestSystem::named(&options.text("guest_os_type").unwrap_or_default());
        let parent = if system == GuestSystem::Windows { "%SYSTEMROOT%/Temp" } else { "/tmp" };
        let directory = staging.map_or_else(|| format!("{parent}/packer-{kind}"), str::to_owned);
        let sudo = system == GuestSystem::Unix && !options.flag("prevent_sudo");
        let staging = Staging { context, directory, system, sudo };
        Self { context, options, renderer, staging }
    }

    fn is_windows(&self) -> bool {
        self.staging.system == GuestSystem::Windows
    }

    fn module_joiner(&self) -> &'static str {
        if self.is_windows() { ";" } else { ":" }
    }

    /// The template's facts and the build's own, as the guest's shell takes them.
    fn facts(&self) -> String {
        let data = &self.context.data;
        let mut facts = self.options.map("facter");
        facts.insert("packer_build_name".to_owned(), data.source_name.clone());
        facts.insert("packer_builder_type".to_owned(), data.source_type.clone());
        if let Some(http) = &data.http {
            facts.insert("packer_http_addr".to_owned(), format!("{}:{}", http.host, http.port));
        }
        let written = facts.iter().map(|(name, value)| {
            if self.is_windows() {
                format!("SET \"FACTER_{name}={value}\"")
            } else {
                format!("FACTER_{name}='{}'", value.replace('\'', "'\"'\"'"))
            }
        });
        written.collect::<Vec<_>>().join(if self.is_windows() { " & " } else { " " })
    }

    /// Renders the command and runs it.
    async fn run(&self, verb: &str, own: &[(&str, String)]) -> Result<(), StepError> {
        let (options, build) = (self.options, &self.context.build);
        let default = format!("{}{PROGRAM}{verb}", if self.is_windows() { WINDOWS } else { UNIX });
        let template = options.given("execute_command").unwrap_or(&default);
        let mut extra = Vec::new();
        for argument in options.texts("extra_arguments") {
            extra.push(self.renderer.render(&argument, &[])?);
        }
        let extra = extra.join(" ");
        let facts = self.facts();
        let directory = options.given("working_directory").unwrap_or(&self.staging.directory);
        let yes = |flag: bool| if flag { "true" } else { "" };
        let mut fields = vec![
            ("WorkingDir", directory),
            ("FacterVars", facts.as_str()),
            ("PuppetBinDir", options.given("puppet_bin_dir").unwrap_or_default()),
            ("Sudo", yes(self.staging.sudo)),
            ("ExtraArguments", extra.as_str()),
            ("Debug", yes(build.settings.debug)),
        ];
        fields.extend(own.iter().map(|(name, value)| (*name, value.as_str())));
        let command = self.renderer.render(template, &fields)?;
        build.say(format!("Running Puppet: {command}"));
        let command = elevated::wrapped(self.context, options, self.renderer, command).await?;
        match guest_command::run(self.context, &command).await? {
            Exit::Code(0 | CHANGED) => Ok(()),
            Exit::Code(_) if options.flag("ignore_exit_codes") => Ok(()),
            Exit::Code(code) => {
                let error = format!("Puppet exited with a non-zero exit status: {code}");
                Err(StepError::new(error).with_hint(FAILED_HINT))
            }
            exit => Err(StepError::new(format!("Puppet was ended: {exit}")).lost_when(exit == Exit::Disconnected)),
        }
    }
}

#[cfg(test)]
mod tests {
    use kiln_communicators::fake::{Answer, FakeCommunicator};

    use crate::provisioners::harness::{files, run, uploaded, uploaded_directories};

    const FACTS: &str = "FACTER_packer_build_name='web' FACTER_packer_builder_type='qemu' \
                         FACTER_packer_http_addr='10.0.2.2:8123'";

    #[tokio::test]
    async fn a_manifest_is_applied_as_packer_does() {
        let local = files(&[("site.pp", "notify { 'x': }\n")]);
        let guest = FakeCommunicator::new();
        guest.on_command("puppet apply", Answer::code(2));
        let body = format!("manifest_file = \"{}/site.pp\"", local.path().display());
        run("puppet-masterless", &body, &guest).await.result.unwrap();
        assert_eq!(uploaded(&guest, "/tmp/packer-puppet-masterless/manifests/site.pp"), "notify { 'x': }\n");
        let stage = "/tmp/packer-puppet-masterless";
        let made = |path: &str| format!("sudo mkdir -p {path} && sudo chmod 0777 {path}");
        let applied =
            format!("cd {stage} && {FACTS} sudo -E puppet apply --detailed-exitcodes {stage}/manifests/site.pp");
        assert_eq!(guest.commands(), [made(stage), made(&format!("{stage}/manifests")), applied]);
    }

    #[tokio::test]
    async fn all_that_is_named_reaches_the_command() {
        let local = files(&[("m/init.pp", ""), ("a/x", ""), ("b/x", ""), ("h.yaml", "h"), ("old/x.pp", "")]);
        let (guest, at) = (FakeCommunicator::new(), local.path().display().to_string());
        let body = format!(
            "manifest_file = \"{at}/m\"\nmodule_paths = [\"{at}/a\", \"{at}/b\"]\nhiera_config_path = \"{at}/h.yaml\"\n\
             manifest_dir = \"{at}/old\"\nfacter = {{ who = \"it's\" }}\nextra_arguments = [\"--noop\", \"x{{{{ .User }}}}\"]\n\
             prevent_sudo = true\npuppet_bin_dir = \"/opt/bin\"\nstaging_directory = \"/s\"\nworking_directory = \"/w\"\n\
             clean_staging_directory = true"
        );
        run("puppet-masterless", &body, &guest).await.result.unwrap();
        let directories = uploaded_directories(&guest);
        let pair = |from: &str, to: &str| (format!("{at}/{from}/"), format!("/s/{to}"));
        let expected = [pair("old", "manifests"), pair("a", "module-0"), pair("b", "module-1"), pair("m", "manifests")];
        assert_eq!(directories, expected);
        let commands = guest.commands();
        let applied = format!(
            "cd /w && {FACTS} FACTER_who='it'\"'\"'s' /opt/bin/puppet apply --detailed-exitcodes \
             --modulepath='/s/module-0:/s/module-1' --hiera_config='/s/hiera.yaml' --manifestdir='/s/manifests' \
             --noop xroot /s/manifests"
        );
        assert_eq!(commands[commands.len() - 2..], [applied, "rm -rf /s".to_owned()]);
    }

    #[tokio::test]
    async fn windows_guests_get_their_own_words() {
        let local = files(&[("site.pp", "")]);
        let guest = FakeCommunicator::new();
        let body = format!(
            "manifest_file = \"{}/site.pp\"\nguest_os_type = \"windows\"\nexecute_command = \
             \"{{{{.FacterVars}}}}|{{{{.ModulePathJoiner}}}}|{{{{if .Sudo}}}}sudo{{{{end}}}}|{{{{.WorkingDir}}}}\"",
            local.path().display()
        );
        run("puppet-masterless", &body, &guest).await.result.unwrap();
        let command = guest.commands().pop().unwrap();
        let facts = "SET \"FACTER_packer_build_name=web\" & SET \"FACTER_packer_builder_type=qemu\" & \
                     SET \"FACTER_packer_http_addr=10.0.2.2:8123\"";
        assert_eq!(command, format!("{facts}|;||%SYSTEMROOT%/Temp/packer-puppet-masterless"));
    }

    #[tokio::test]
    async fn the_agent_asks_its_server() {
        let local = files(&[("c/x", ""), ("k/x", "")]);
        let (guest, at) = (FakeCommunicator::new(), local.path().display().to_string());
        let body = format!(
            "client_cert_path = \"{at}/c\"\nclient_private_key_path = \"{at}/k\"\npuppet_node = \"n\"\n\
             puppet_server = \"s\"\nstaging_dir = \"/s\"\nprevent_sudo = true"
        );
        run("puppet-server", &body, &guest).await.result.unwrap();
        let command = guest.commands().pop().unwrap();
        let words = "puppet agent --onetime --no-daemonize --detailed-exitcodes --server='s' --certname='n' \
                     --certdir='/s/certs' --privatekeydir='/s/private_keys' ";
        assert_eq!(command, format!("cd /s && {FACTS} {words}"));
    }

    #[tokio::test]
    async fn a_failed_run_is_told_unless_its_code_is_nobodys_business() {
        let local = files(&[("site.pp", "")]);
        let body = format!("manifest_file = \"{}/site.pp\"", local.path().display());
        for (more, answer, told) in [
            ("", Answer::code(4), Some("Puppet exited with a non-zero exit status: 4")),
            ("\nignore_exit_codes = true", Answer::code(4), None),
            ("\nignore_exit_codes = true", Answer::Disconnect, Some("Puppet was ended: disconnected")),
        ] {
            let guest = FakeCommunicator::new();
            guest.on_command("puppet apply", answer);
            let result = run("puppet-masterless", &format!("{body}{more}"), &guest).await.result;
            assert_eq!(result.err().map(|error| error.to_string()).as_deref(), told);
        }
    }
}
