//! The ansible-local provisioner: uploads playbooks into the guest and runs Ansible there.

use std::path::{Component, Path, PathBuf};

use kiln_communicators::{Exit, quote_guest_path};

use super::ansible::galaxy;
use super::context::ProvisionContext;
use super::guest_command;
use super::staging::{GuestSystem, Staging, base_name};
use crate::error::StepError;
use crate::generated::Renderer;
use crate::option_values::OptionValues;

/// What a shell says of a command that it does not find.
const NOT_FOUND: Exit = Exit::Code(127);

/// What to do about a playbook that failed.
const FAILED_HINT: &str =
    "what Ansible said is above; it ran in the guest; extra_arguments = [\"-vvv\"] makes it say more";

pub(super) async fn run(
    context: &ProvisionContext,
    options: OptionValues<'_>,
    renderer: &Renderer,
) -> Result<(), StepError> {
    let directory = options.given("staging_directory").map_or_else(
        || format!("/tmp/packer-provisioner-ansible-local/{}", uuid::Uuid::new_v4()),
        |directory| directory.trim_end_matches('/').to_owned(),
    );
    let staging = Staging { context, directory, system: GuestSystem::Unix, sudo: false };
    context.build.say("Provisioning with Ansible...");
    let ansible = AnsibleLocal { context, options, renderer, staging };
    let playbooks = ansible.upload().await?;
    let inventory = ansible.upload_inventory().await?;
    ansible.galaxy().await?;
    for playbook in playbooks {
        ansible.play(&playbook, &inventory).await?;
    }
    if options.flag("clean_staging_directory") {
        context.build.say("Removing staging directory...");
        ansible.staging.remove().await?;
    }
    Ok(())
}

struct AnsibleLocal<'a> {
    context: &'a ProvisionContext,
    options: OptionValues<'a>,
    renderer: &'a Renderer,
    staging: Staging<'a>,
}

impl AnsibleLocal<'_> {
    fn say(&self, text: &str) {
        self.context.build.say(text);
    }

    /// Uploads all but the inventory; returns the playbooks' paths in the guest.
    async fn upload(&self) -> Result<Vec<String>, StepError> {
        let (options, staging) = (self.options, &self.staging);
        self.say("Creating Ansible staging directory...");
        staging.make().await?;
        if let Some(directory) = options.given("playbook_dir") {
            self.say("Uploading Playbook directory to Ansible staging directory...");
            staging.upload_directory(directory, ".").await?;
        }
        let mut playbooks = Vec::new();
        if let Some(playbook) = options.given("playbook_file") {
            self.say("Uploading main Playbook file...");
            playbooks.push(staging.upload(playbook, base_name(playbook)).await?);
        }
        for playbook in options.texts("playbook_files") {
            playbooks.push(self.upload_playbook(&playbook).await?);
        }
        if let Some(file) = options.given("galaxy_file") {
            self.say("Uploading galaxy file...");
            staging.upload(file, base_name(file)).await?;
        }
        for (option, name) in [("group_vars", "group_vars"), ("host_vars", "host_vars")] {
            if let Some(directory) = options.given(option) {
                self.say(&format!("Uploading {option} directory..."));
                staging.upload_directory(directory, name).await?;
            }
        }
        for (option, name, what) in [
            ("role_paths", "roles", "role directories"),
            ("collection_paths", "collections", "collection directories"),
            ("playbook_paths", "playbooks", "additional Playbooks"),
        ] {
            let paths = options.texts(option);
            if !paths.is_empty() {
                self.say(&format!("Uploading {what}..."));
            }
            for path in paths {
                let name = format!("{name}/{}", base_name(&path));
                if Path::new(&path).is_dir() {
                    staging.upload_directory(&path, &name).await?;
                } else {
                    staging.make_directory(&staging.path("playbooks")).await?;
                    staging.upload(&path, &name).await?;
                }
            }
        }
        Ok(playbooks)
    }

    /// One of several playbooks keeps its path below the staging directory; what `playbook_dir` holds is there already.
    async fn upload_playbook(&self, playbook: &str) -> Result<String, StepError> {
        let staging = &self.staging;
        if let Some(directory) = self.options.given("playbook_dir") {
            let absolute = |path: &str| std::path::absolute(path).unwrap_or_else(|_| path.into());
            if let Ok(inside) = absolute(playbook).strip_prefix(absolute(directory)) {
                return Ok(staging.path(&inside.to_string_lossy()));
            }
        }
        self.say(&format!("Uploading playbook file: {playbook}"));
        let name = &below_staging(playbook);
        if let Some((directory, _)) = name.rsplit_once('/') {
            staging.make_directory(&staging.path(directory)).await?;
        }
        staging.upload(playbook, name).await
    }

    async fn upload_inventory(&self) -> Result<String, StepError> {
        self.say("Uploading inventory file...");
        if let Some(file) = self.options.given("inventory_file") {
            return self.staging.upload(file, base_name(file)).await;
        }
        let groups = self.options.texts("inventory_groups");
        let mut text: String = groups.iter().map(|group| format!("[{group}]\n127.0.0.1\n")).collect();
        if text.is_empty() {
            text.push_str("127.0.0.1\n");
        }
        self.staging.write(&text, "packer-provisioner-ansible-local-inventory").await
    }

    /// Where galaxy puts roles, or collections.
    fn galaxy_path(&self, option: &str, default: &str) -> String {
        self.options.given(option).map_or_else(|| self.staging.path(default), str::to_owned)
    }

    async fn galaxy(&self) -> Result<(), StepError> {
        let Some(file) = self.options.given("galaxy_file") else { return Ok(()) };
        let content = tokio::fs::read_to_string(file).await;
        let content = content.map_err(|error| StepError::new(format!("cannot read {file}")).with_source(error))?;
        let program = self.options.text("galaxy_command").unwrap_or_default();
        let force: &[&str] = if self.options.flag("galaxy_force_install") { &["-f"] } else { &[] };
        let roles = self.galaxy_path("galaxy_roles_path", "galaxy_roles");
        let collections = self.galaxy_path("galaxy_collections_path", "galaxy_collections");
        let uploaded = self.staging.path(base_name(file));
        for arguments in galaxy::runs(&content, &uploaded, force, Some(&roles), Some(&collections)) {
            let command = format!("cd {} && {program} {}", self.stage(), arguments.join(" "));
            self.say(&format!("Executing Ansible Galaxy: {command}"));
            self.execute(&command, &program).await?;
        }
        Ok(())
    }

    fn stage(&self) -> String {
        quote_guest_path(&self.staging.directory)
    }

    /// Where Ansible finds what was uploaded or installed for it.
    fn environment(&self) -> String {
        let galaxy = self.options.given("galaxy_file").is_some();
        let mut environment = String::new();
        let mut collections = Vec::new();
        if galaxy {
            collections.push(self.galaxy_path("galaxy_collections_path", "galaxy_collections"));
        }
        if !self.options.texts("collection_paths").is_empty() {
            collections.push(self.staging.path("collections"));
        }
        if !collections.is_empty() {
            let known = "${ANSIBLE_COLLECTIONS_PATH:+$ANSIBLE_COLLECTIONS_PATH:}";
            environment.push_str(&format!("ANSIBLE_COLLECTIONS_PATH={known}{} ", collections.join(":")));
        }
        if galaxy {
            let roles = self.galaxy_path("galaxy_roles_path", "galaxy_roles");
            let uploaded = (!self.options.texts("role_paths").is_empty()).then(|| self.staging.path("roles"));
            let paths: Vec<String> = [roles].into_iter().chain(uploaded).collect();
            environment.push_str(&format!("ANSIBLE_ROLES_PATH={} ", paths.join(":")));
        }
        environment
    }

    async fn play(&self, playbook: &str, inventory: &str) -> Result<(), StepError> {
        let (data, options) = (&self.context.data, self.options);
        let address = data.http.as_ref().map_or_else(
            || "ERR_HTTP_ADDR_NOT_IMPLEMENTED_BY_BUILDER".to_owned(),
            |http| format!("{}:{}", http.host, http.port),
        );
        let mut extra = Vec::new();
        for argument in options.texts("extra_arguments") {
            extra.push(self.renderer.render(&argument, &[])?);
        }
        let program = options.text("command").unwrap_or_default();
        let command = format!(
            "cd {} && {}{program} {} --extra-vars \"packer_build_name={} packer_builder_type={} packer_http_addr={address} \
             -o IdentitiesOnly=yes\" {} -c local -i {}",
            self.stage(),
            self.environment(),
            quote_guest_path(playbook),
            data.source_name,
            data.source_type,
            extra.join(" "),
            quote_guest_path(inventory),
        );
        self.say(&format!("Executing Ansible: {command}"));
        self.execute(&command, &program).await
    }

    async fn execute(&self, command: &str, program: &str) -> Result<(), StepError> {
        match guest_command::run(self.context, command).await? {
            Exit::Code(0) => Ok(()),
            NOT_FOUND => Err(StepError::new(format!(
                "{program} could not be found. Verify that it is available on the\nPATH after connecting to the machine."
            ))
            .with_hint("install Ansible in the guest first, in a shell provisioner before this one")),
            Exit::Code(code) => {
                Err(StepError::new(format!("Error executing Ansible: Non-zero exit status: {code}")).with_hint(FAILED_HINT))
            }
            exit => Err(StepError::new(format!("Ansible was ended: {exit}")).lost_when(exit == Exit::Disconnected)),
        }
    }
}

/// Where a file of this machine goes below the staging directory: its path as it is, or, where that leads up, its whole path.
fn below_staging(path: &str) -> String {
    let mut below = PathBuf::new();
    let leads_up = Path::new(path).components().any(|part| part == Component::ParentDir);
    let path = if leads_up { std::path::absolute(path).unwrap_or_else(|_| path.into()) } else { path.into() };
    for part in path.components() {
        match part {
            Component::Normal(name) => below.push(name),
            Component::ParentDir => {
                below.pop();
            }
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
        }
    }
    below.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use kiln_communicators::fake::{Answer, FakeCommunicator};

    use crate::provisioners::harness::{files, run, uploaded, uploaded_directories};

    const SHORT: &str = "command = \"play\"\nstaging_directory = \"/stage/\"\nplaybook_file = ";

    #[tokio::test]
    async fn a_playbook_is_uploaded_and_played() {
        let local = files(&[("site.yml", "- hosts: all\n")]);
        let guest = FakeCommunicator::new();
        let at = local.path().display();
        let body = format!(
            "{SHORT}\"{at}/site.yml\"\ninventory_groups = [\"a\", \"b\"]\nextra_arguments = [\"-v\", \"x={{{{ .Host }}}}\"]\n\
             clean_staging_directory = true"
        );
        run("ansible-local", &body, &guest).await.result.unwrap();
        assert_eq!(uploaded(&guest, "/stage/site.yml"), "- hosts: all\n");
        let inventory = "/stage/packer-provisioner-ansible-local-inventory";
        assert_eq!(uploaded(&guest, inventory), "[a]\n127.0.0.1\n[b]\n127.0.0.1\n");
        let played = "cd /stage && play /stage/site.yml --extra-vars \"packer_build_name=web packer_builder_type=qemu \
                      packer_http_addr=10.0.2.2:8123 -o IdentitiesOnly=yes\" -v x=127.0.0.1 -c local -i ";
        assert_eq!(guest.commands(), ["mkdir -p /stage", &format!("{played}{inventory}"), "rm -rf /stage"]);
    }

    #[tokio::test]
    async fn everything_that_is_named_is_uploaded_and_found() {
        let local = files(&[
            ("dir/inside.yml", ""),
            ("other.yml", ""),
            ("role/tasks/main.yml", ""),
            ("coll/x", ""),
            ("group_vars/all", ""),
            ("host_vars/all", ""),
            ("more/a.yml", ""),
            ("hosts", "h\n"),
            ("r.yml", "roles:\n- a\ncollections:\n- b\n"),
        ]);
        let guest = FakeCommunicator::new();
        let at = local.path().display().to_string();
        let body = format!(
            "command = \"play\"\nstaging_directory = \"/stage\"\nplaybook_files = [\"{at}/dir/inside.yml\", \"{at}/other.yml\"]\n\
             playbook_dir = \"{at}/dir\"\nrole_paths = [\"{at}/role/\"]\ncollection_paths = [\"{at}/coll\"]\n\
             group_vars = \"{at}/group_vars\"\nhost_vars = \"{at}/host_vars\"\nplaybook_paths = [\"{at}/more\"]\n\
             inventory_file = \"{at}/hosts\"\ngalaxy_file = \"{at}/r.yml\"\ngalaxy_force_install = true\n\
             galaxy_command = \"galaxy\"\ngalaxy_roles_path = \"/roles\"\ngalaxy_collections_path = \"/found\""
        );
        run("ansible-local", &body, &guest).await.result.unwrap();
        let directories: Vec<(String, String)> = [
            ("dir", "."),
            ("group_vars", "group_vars"),
            ("host_vars", "host_vars"),
            ("role", "roles/role"),
            ("coll", "collections/coll"),
            ("more", "playbooks/more"),
        ]
        .map(|(from, to)| (format!("{at}/{from}/"), format!("/stage/{to}")))
        .into();
        assert_eq!(uploaded_directories(&guest), directories);
        assert_eq!(uploaded(&guest, "/stage/hosts"), "h\n");
        let commands = guest.commands();
        let run = |at: usize| commands[commands.len() - at].as_str();
        assert_eq!(run(4), "cd /stage && galaxy install -r /stage/r.yml -f -p /roles");
        assert_eq!(run(3), "cd /stage && galaxy collection install -r /stage/r.yml -f -p /found");
        let found = "cd /stage && ANSIBLE_COLLECTIONS_PATH=${ANSIBLE_COLLECTIONS_PATH:+$ANSIBLE_COLLECTIONS_PATH:}\
                     /found:/stage/collections ANSIBLE_ROLES_PATH=/roles:/stage/roles play ";
        assert!(run(2).starts_with(&format!("{found}/stage/inside.yml ")), "{commands:?}");
        assert!(run(1).starts_with(&format!("{found}/stage{at}/other.yml ")), "{commands:?}");
    }

    #[tokio::test]
    async fn collections_go_where_the_template_wants_them_and_are_found_there() {
        let local = files(&[("site.yml", ""), ("r.yml", "collections:\n- b\n")]);
        let guest = FakeCommunicator::new();
        let at = local.path().display();
        let options = "galaxy_command = \"galaxy\"\ngalaxy_collections_path = \"/collections\"";
        let body = format!("{SHORT}\"{at}/site.yml\"\ngalaxy_file = \"{at}/r.yml\"\n{options}");
        run("ansible-local", &body, &guest).await.result.unwrap();
        let commands = guest.commands();
        let [.., installed, played] = &commands[..] else { panic!("{commands:?}") };
        assert_eq!(installed, "cd /stage && galaxy collection install -r /stage/r.yml -p /collections");
        let found = "ANSIBLE_COLLECTIONS_PATH=${ANSIBLE_COLLECTIONS_PATH:+$ANSIBLE_COLLECTIONS_PATH:}/collections ";
        assert!(played.starts_with(&format!("cd /stage && {found}")), "{played}");
    }

    #[tokio::test]
    async fn what_fails_is_told() {
        let local = files(&[("site.yml", "")]);
        let body = format!("{SHORT}\"{}/site.yml\"", local.path().display());
        for (answer, told) in [
            (Answer::code(127), "play could not be found."),
            (Answer::code(2), "Error executing Ansible: Non-zero exit status: 2"),
            (Answer::Disconnect, "Ansible was ended: disconnected"),
        ] {
            let guest = FakeCommunicator::new();
            guest.on_command("play /stage", answer);
            let error = run("ansible-local", &body, &guest).await.result.unwrap_err().to_string();
            assert!(error.starts_with(told), "{error}");
        }
        let guest = FakeCommunicator::new();
        guest.on_command("mkdir", Answer::code(1));
        let error = run("ansible-local", &body, &guest).await.result.unwrap_err().to_string();
        assert_eq!(error, "the guest could not make the directory /stage: exit code 1");
    }

    #[test]
    fn nothing_leads_out_of_the_staging_directory() {
        let here = std::env::current_dir().unwrap();
        let below = |path: &str| here.parent().unwrap().join(path).display().to_string();
        for (path, wanted) in [
            ("site.yml", "site.yml".to_owned()),
            ("./plays/./a.yml", "plays/a.yml".to_owned()),
            ("/srv/plays/a.yml", "srv/plays/a.yml".to_owned()),
            ("../common/x.yml", below("common/x.yml").trim_start_matches('/').to_owned()),
            ("/../../etc/passwd", "etc/passwd".to_owned()),
        ] {
            assert_eq!(super::below_staging(path), wanted, "{path}");
        }
    }
}
