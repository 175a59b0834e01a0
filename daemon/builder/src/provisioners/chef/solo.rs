//! chef-solo: cookbooks and all that is uploaded.

use super::{Chef, configuration};
use crate::error::StepError;
use crate::generated::Renderer;
use crate::option_values::OptionValues;
use crate::provisioners::ProvisionContext;

const RUN: &str = "{{if .Sudo}}sudo {{end}}chef-solo --no-color -c {{.ConfigPath}} -j {{.JsonPath}}";

const RUN_WINDOWS: &str = "c:/opscode/chef/bin/chef-solo.bat --no-color -c {{.ConfigPath}} -j {{.JsonPath}}";

pub(in crate::provisioners) async fn run(
    context: &ProvisionContext,
    options: OptionValues<'_>,
    renderer: &Renderer,
) -> Result<(), StepError> {
    let chef = Chef::new(context, options, renderer, "chef-solo");
    chef.begin().await?;
    let mut cookbooks = Vec::new();
    for (number, path) in options.texts("cookbook_paths").into_iter().enumerate() {
        cookbooks.push(chef.staging.upload_directory(&path, &format!("cookbooks-{number}")).await?);
    }
    cookbooks.extend(options.texts("remote_cookbook_paths"));
    let mut directories = [String::new(), String::new(), String::new()];
    let uploads = [("roles_path", "roles"), ("data_bags_path", "data_bags"), ("environments_path", "environments")];
    for (directory, (option, name)) in directories.iter_mut().zip(uploads) {
        if let Some(path) = options.given(option) {
            *directory = chef.staging.upload_directory(path, name).await?;
        }
    }
    let [roles, bags, environments] = directories;
    let secret = match options.given("encrypted_data_bag_secret_path") {
        Some(path) => chef.staging.upload(path, "encrypted_data_bag_secret").await?,
        None => String::new(),
    };
    let license = options.text("chef_license").unwrap_or_default();
    let environment = options.given("chef_environment").unwrap_or_default();
    let list: Vec<String> = cookbooks.iter().map(|path| configuration::text(path)).collect();
    let list = list.join(", ");
    let mut default = configuration::lines(&[("chef_license", &license)]);
    default.push_str(&format!("cookbook_path [{list}]\n"));
    default.push_str(&configuration::lines(&[
        ("role_path", &roles),
        ("data_bag_path", &bags),
        ("encrypted_data_bag_secret", &secret),
        ("environment_path", &environments),
        ("environment", environment),
    ]));
    let yes = |text: &str| if text.is_empty() { "" } else { "true" };
    let fields = [
        ("CookbookPaths", list.as_str()),
        ("DataBagsPath", &bags),
        ("EncryptedDataBagSecretPath", &secret),
        ("RolesPath", &roles),
        ("EnvironmentsPath", &environments),
        ("ChefEnvironment", environment),
        ("ChefLicense", &license),
        ("HasDataBagsPath", yes(&bags)),
        ("HasEncryptedDataBagSecretPath", yes(&secret)),
        ("HasRolesPath", yes(&roles)),
        ("HasEnvironmentsPath", yes(&environments)),
    ];
    let configuration = chef.configure(&configuration::literal(&default), "solo.rb", &fields).await?;
    let node = chef.write_node().await?;
    chef.run(if chef.is_windows() { RUN_WINDOWS } else { RUN }, &configuration, &node).await
}

#[cfg(test)]
mod tests {
    use kiln_communicators::fake::{Answer, FakeCommunicator};

    use crate::provisioners::harness::{files, run, uploaded, uploaded_directories};

    #[tokio::test]
    async fn chef_is_installed_configured_and_run() {
        let local = files(&[("c/x", ""), ("roles/x", ""), ("bags/x", ""), ("env/x", ""), ("secret", "s")]);
        let (guest, at) = (FakeCommunicator::new(), local.path().display().to_string());
        let body = format!(
            "cookbook_paths = [\"{at}/c\"]\nremote_cookbook_paths = [\"/far\"]\nroles_path = \"{at}/roles\"\n\
             data_bags_path = \"{at}/bags\"\nenvironments_path = \"{at}/env\"\nchef_environment = \"prod\"\n\
             encrypted_data_bag_secret_path = \"{at}/secret\"\nversion = \"17\"\nrun_list = [\"recipe[a]\"]\n\
             json_string = \"{{\\\"a\\\": 1}}\""
        );
        run("chef-solo", &body, &guest).await.result.unwrap();
        let stage = "/tmp/packer-chef-solo";
        let commands = guest.commands();
        assert_eq!(commands[0], "curl -L https://omnitruck.chef.io/install.sh | sudo bash -s -- -v 17");
        assert_eq!(commands[1], format!("sudo mkdir -p {stage} && sudo chmod 0777 {stage}"));
        let ran = format!("sudo chef-solo --no-color -c {stage}/solo.rb -j {stage}/node.json");
        assert_eq!(commands.last(), Some(&ran));
        let configuration = format!(
            "chef_license \"accept-silent\"\ncookbook_path [\"{stage}/cookbooks-0\", \"/far\"]\nrole_path \"{stage}/roles\"\n\
             data_bag_path \"{stage}/data_bags\"\nencrypted_data_bag_secret \"{stage}/encrypted_data_bag_secret\"\n\
             environment_path \"{stage}/environments\"\nenvironment \"prod\"\n"
        );
        assert_eq!(uploaded(&guest, &format!("{stage}/solo.rb")), configuration);
        let node = uploaded(&guest, &format!("{stage}/node.json"));
        assert!(node.contains("\"a\": 1") && node.contains("\"recipe[a]\""), "{node}");
        assert_eq!(uploaded_directories(&guest).len(), 4);
    }

    #[tokio::test]
    async fn templates_of_its_user_and_failures_are_heard() {
        let local = files(&[("solo.rb", "at {{.CookbookPaths}} {{if .HasRolesPath}}roles{{end}}|{{.ChefLicense}}")]);
        let guest = FakeCommunicator::new();
        let body = format!(
            "config_template = \"{}/solo.rb\"\nskip_install = true\nprevent_sudo = true\nstaging_directory = \"/s\"\n\
             chef_license = \"accept\"\nguest_os_type = \"windows\"\nremote_cookbook_paths = [\"/far\"]\n\
             execute_command = \"chef {{{{.ConfigPath}}}} {{{{.JsonPath}}}}\"",
            local.path().display()
        );
        guest.on_command("chef /s", Answer::code(1));
        let error = run("chef-solo", &body, &guest).await.result.unwrap_err().to_string();
        assert_eq!(error, "Error executing Chef: Non-zero exit status: 1");
        assert_eq!(uploaded(&guest, "/s/solo.rb"), "at \"/far\" |accept");
        assert_eq!(guest.commands().last().unwrap(), "chef /s/solo.rb /s/node.json");
        let guest = FakeCommunicator::new();
        guest.on_command("get-chef 9", Answer::code(22));
        let body = "install_command = \"get-chef {{.Version}}\"\nversion = \"9\"";
        let error = run("chef-solo", body, &guest).await.result.unwrap_err().to_string();
        assert_eq!(error, "Install script exited with non-zero exit status 22");
    }
}
