//! chef-client: a node that registers with a server, and is forgotten there when it is done.

use kiln_communicators::Exit;

use super::{Chef, configuration};
use crate::error::StepError;
use crate::generated::Renderer;
use crate::option_values::OptionValues;
use crate::provisioners::{ProvisionContext, guest_command};

const RUN: &str = "{{if .Sudo}}sudo {{end}}chef-client --no-color -c {{.ConfigPath}} -j {{.JsonPath}}";

const RUN_WINDOWS: &str = "c:/opscode/chef/bin/chef-client.bat --no-color -c {{.ConfigPath}} -j {{.JsonPath}}";

const KNIFE_WINDOWS: &str = "c:/opscode/chef/bin/knife.bat {{.Args}} {{.Flags}}";

pub(in crate::provisioners) async fn run(
    context: &ProvisionContext,
    options: OptionValues<'_>,
    renderer: &Renderer,
) -> Result<(), StepError> {
    let chef = Chef::new(context, options, renderer, "chef-client");
    chef.begin().await?;
    let uuid = uuid::Uuid::new_v4();
    let name = options.given("node_name").map_or_else(|| format!("packer-{uuid}"), str::to_owned);
    let key = options.given("client_key").map_or_else(|| chef.staging.path("client.pem"), str::to_owned);
    let mut uploaded = [String::new(), String::new()];
    let uploads =
        [("encrypted_data_bag_secret_path", "encrypted_data_bag_secret"), ("validation_key_path", "validation.pem")];
    for (path, (option, file)) in uploaded.iter_mut().zip(uploads) {
        if let Some(source) = options.given(option) {
            *path = chef.staging.upload(source, file).await?;
        }
    }
    let [secret, validation] = uploaded;
    let settings = Settings { options, name: &name, key: &key, secret: &secret, validation: &validation };
    let (default, fields) = (settings.client(), settings.fields());
    let borrowed: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let configuration = chef.configure(&configuration::literal(&default), "client.rb", &borrowed).await?;
    let node = chef.write_node().await?;
    let ran = chef.run(if chef.is_windows() { RUN_WINDOWS } else { RUN }, &configuration, &node).await;
    // What the run has registered goes whatever came of it.
    let forgotten = forget(&chef, &settings).await;
    ran.and(forgotten)?;
    if !options.flag("skip_clean_staging_directory") {
        chef.staging.remove().await?;
    }
    Ok(())
}

struct Settings<'a> {
    options: OptionValues<'a>,
    name: &'a str,
    key: &'a str,
    secret: &'a str,
    validation: &'a str,
}

impl Settings<'_> {
    fn given(&self, name: &str) -> &str {
        self.options.given(name).unwrap_or_default()
    }

    fn validator(&self) -> String {
        let named = self.options.text("validation_client_name").unwrap_or_default();
        if self.validation.is_empty() { String::new() } else { named }
    }

    /// The configuration of the client.
    fn client(&self) -> String {
        let license = self.options.text("chef_license").unwrap_or_default();
        let mut text = "log_level :info\nlog_location STDOUT\n".to_owned();
        text.push_str(&configuration::lines(&[
            ("chef_license", &license),
            ("chef_server_url", self.given("server_url")),
            ("client_key", self.key),
            ("encrypted_data_bag_secret", self.secret),
            ("validation_key", self.validation),
            ("validation_client_name", &self.validator()),
            ("node_name", self.name),
            ("environment", self.given("chef_environment")),
            ("policy_name", self.given("policy_name")),
            ("policy_group", self.given("policy_group")),
            ("trusted_certs_dir", self.given("trusted_certs_dir")),
            ("rubygems_url", self.given("rubygems_url")),
        ]));
        if let Some(mode) = self.options.given("ssl_verify_mode") {
            text.push_str(&format!("ssl_verify_mode :{mode}\n"));
        }
        text
    }

    /// What a configuration of the template's own may use.
    fn fields(&self) -> Vec<(&'static str, String)> {
        let given = |name: &str| self.given(name).to_owned();
        vec![
            ("ChefEnvironment", given("chef_environment")),
            ("ChefLicense", self.options.text("chef_license").unwrap_or_default()),
            ("ClientKey", self.key.to_owned()),
            ("EncryptedDataBagSecretPath", self.secret.to_owned()),
            ("NodeName", self.name.to_owned()),
            ("PolicyGroup", given("policy_group")),
            ("PolicyName", given("policy_name")),
            ("RubygemsURL", given("rubygems_url")),
            ("ServerUrl", given("server_url")),
            ("SslVerifyMode", given("ssl_verify_mode")),
            ("TrustedCertsDir", given("trusted_certs_dir")),
            ("ValidationClientName", self.validator()),
            ("ValidationKeyPath", self.validation.to_owned()),
        ]
    }
}

/// Has knife take node and client off the server.
async fn forget(chef: &Chef<'_>, settings: &Settings<'_>) -> Result<(), StepError> {
    let kinds = [("node", "skip_clean_node"), ("client", "skip_clean_client")];
    let kinds: Vec<&str> =
        kinds.into_iter().filter(|(_, skip)| !chef.options.flag(skip)).map(|(kind, _)| kind).collect();
    if kinds.is_empty() {
        return Ok(());
    }
    let own = configuration::lines(&[
        ("chef_server_url", settings.given("server_url")),
        ("client_key", settings.key),
        ("node_name", settings.name),
        ("trusted_certs_dir", settings.given("trusted_certs_dir")),
    ]);
    let mut text = format!("log_level :info\nlog_location STDOUT\n{own}");
    if let Some(mode) = chef.options.given("ssl_verify_mode") {
        text.push_str(&format!("ssl_verify_mode :{mode}\n"));
    }
    let configuration = chef.staging.write(&text, "knife.rb").await?;
    for kind in kinds {
        let arguments = format!("{kind} delete {}", settings.name);
        let flags = format!("-y -c {configuration}");
        let default = chef.options.text("knife_command").unwrap_or_default();
        let windows = chef.is_windows() && chef.options.given("knife_command").is_none();
        let template = if windows { KNIFE_WINDOWS } else { &default };
        let fields = [("Args", arguments.as_str()), ("Flags", flags.as_str()), ("Sudo", chef.sudo())];
        let command = chef.renderer.render(template, &fields)?;
        match guest_command::run(chef.context, &command).await? {
            Exit::Code(0) => {}
            exit => {
                let error = format!("the {kind} {} is still on Chef's server: knife ended with {exit}", settings.name);
                let hint = format!("remove it by hand, or set skip_clean_{kind} = true");
                return Err(StepError::new(error).with_hint(hint).lost_when(exit == Exit::Disconnected));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use kiln_communicators::fake::{Answer, FakeCommunicator};

    use crate::provisioners::harness::{files, run, uploaded};

    const SHORT: &str = "server_url = \"https://chef\"\nnode_name = \"n\"\nstaging_directory = \"/s\"\nskip_install = true\n\
                         prevent_sudo = true\n";

    #[tokio::test]
    async fn a_node_is_configured_run_and_forgotten() {
        let local = files(&[("v.pem", "v"), ("secret", "s")]);
        let (guest, at) = (FakeCommunicator::new(), local.path().display());
        let body = format!(
            "{SHORT}validation_key_path = \"{at}/v.pem\"\nencrypted_data_bag_secret_path = \"{at}/secret\"\n\
             policy_name = \"p\"\npolicy_group = \"g\"\nchef_environment = \"e\"\nssl_verify_mode = \"verify_none\"\n\
             trusted_certs_dir = \"/certs\"\nrubygems_url = \"https://gems\"\nrun_list = [\"recipe[a]\"]\n\
             validation_client_name = \"me\""
        );
        run("chef-client", &body, &guest).await.result.unwrap();
        assert_eq!(
            uploaded(&guest, "/s/client.rb"),
            "log_level :info\nlog_location STDOUT\nchef_license \"accept-silent\"\nchef_server_url \"https://chef\"\n\
             client_key \"/s/client.pem\"\nencrypted_data_bag_secret \"/s/encrypted_data_bag_secret\"\n\
             validation_key \"/s/validation.pem\"\nvalidation_client_name \"me\"\nnode_name \"n\"\nenvironment \"e\"\n\
             policy_name \"p\"\npolicy_group \"g\"\ntrusted_certs_dir \"/certs\"\nrubygems_url \"https://gems\"\n\
             ssl_verify_mode :verify_none\n"
        );
        assert!(uploaded(&guest, "/s/knife.rb").contains("node_name \"n\"\n"));
        let commands = [
            "mkdir -p /s",
            "chef-client --no-color -c /s/client.rb -j /s/node.json",
            "knife node delete n -y -c /s/knife.rb",
            "knife client delete n -y -c /s/knife.rb",
            "rm -rf /s",
        ];
        assert_eq!(guest.commands(), commands);
    }

    #[tokio::test]
    async fn a_node_is_forgotten_after_a_failed_run_too_and_what_is_to_stay_stays() {
        let guest = FakeCommunicator::new();
        guest.on_command("chef-client", Answer::code(35));
        let body =
            format!("{SHORT}skip_clean_client = true\nknife_command = \"k {{{{.Args}}}}\"\nclient_key = \"/k.pem\"");
        let error = run("chef-client", &body, &guest).await.result.unwrap_err().to_string();
        assert_eq!(error, "Error executing Chef: Non-zero exit status: 35");
        assert_eq!(guest.commands().last().unwrap(), "k node delete n");
        assert!(uploaded(&guest, "/s/client.rb").contains("client_key \"/k.pem\""));

        let guest = FakeCommunicator::new();
        let body =
            format!("{SHORT}skip_clean_client = true\nskip_clean_node = true\nskip_clean_staging_directory = true");
        run("chef-client", &body, &guest).await.result.unwrap();
        assert_eq!(guest.commands().last().unwrap(), "chef-client --no-color -c /s/client.rb -j /s/node.json");
        let guest = FakeCommunicator::new();
        guest.on_command("knife node", Answer::code(100));
        let error = run("chef-client", SHORT, &guest).await.result.unwrap_err().to_string();
        assert_eq!(error, "the node n is still on Chef's server: knife ended with exit code 100");
    }
}
