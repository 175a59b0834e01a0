//! Validates real templates, from the folder that `KILN_CORPUS` names (else `../shared/corpus` beside the repository).
//! This file holds one test, because a template's paths are relative to the process's working directory.

#![expect(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kiln_builder::{CheckRequest, Validation, Wanted, validate};
use kiln_communicators::ssh::{KeyKind, generate_key_pair};
use serde_json::Value as Json;

/// Builders that Kiln knows. Packer has plugins for all others.
const LOCAL: [&str; 8] =
    ["qemu", "virtualbox-iso", "virtualbox-ovf", "virtualbox-vm", "vmware-iso", "vmware-vmx", "null", "file"];

struct Template {
    dir: String,
    path: String,
    kind: String,
    expect: String,
    files: Vec<String>,
    required: Vec<String>,
    var_files: Vec<String>,
    builders: Vec<String>,
}

fn templates(corpus: &Path) -> Vec<Template> {
    let texts = |json: &Json| -> Vec<String> {
        json.as_array().into_iter().flatten().map(|item| item.as_str().unwrap().to_owned()).collect()
    };
    let index: Vec<Json> = serde_json::from_slice(&fs::read(corpus.join("index.json")).unwrap()).unwrap();
    let text = |entry: &Json, key: &str| entry[key].as_str().unwrap_or_default().to_owned();
    let template = |entry: &Json| Template {
        dir: text(entry, "dir"),
        path: text(entry, "path"),
        kind: text(entry, "kind"),
        expect: text(entry, "expect"),
        files: texts(&entry["files"]),
        required: texts(&entry["required_vars"]),
        var_files: texts(&entry["var_files"]),
        builders: entry["builders"].as_object().map(|map| map.keys().cloned().collect()).unwrap_or_default(),
    };
    index.iter().filter(|entry| entry["expect"].is_string()).map(template).collect()
}

/// Files that hold a private key in the repositories.
const KEYS: &[&str] = &["packer_rsa", "insecure_key"];

fn entry_is_empty(path: &Path) -> bool {
    fs::metadata(path).unwrap().len() == 0
}

/// Copies a folder, making symbolic links of the files that stand for them.
fn stage(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            stage(&path, &target);
            continue;
        }
        // Private keys are empty in the corpus.
        if KEYS.iter().any(|name| path.ends_with(name)) && entry_is_empty(&path) {
            let pair = generate_key_pair(KeyKind::Ed25519, "").unwrap();
            fs::write(&target, pair.private_openssh.expose()).unwrap();
            continue;
        }
        let link = fs::read_to_string(&path).ok().filter(|text| text.len() < 200 && !text.contains('\n'));
        match link.filter(|link| !link.is_empty() && path.parent().unwrap().join(link).exists()) {
            Some(link) => std::os::unix::fs::symlink(link, target).unwrap(),
            None => drop(fs::copy(&path, &target).unwrap()),
        }
    }
}

/// Values of variables for which no word will do: folder, beginning of the path, variable, value.
const VALUES: &[(&str, &str, &str, &str)] = &[
    ("tenthirtyam+packer-vmware-desktop-ubuntu-daily", "", "arch", "amd64"),
    ("tenthirtyam+packer-vmware-desktop-ubuntu-daily", "", "iso_checksum", ZEROES),
    ("chef+bento", "", "os_arch", "x86_64"),
    ("greg-hellings+vms", "", "iso", r#"{url = "https://example.org/x.iso", checksum = "none"}"#),
    ("Cray-HPE+node-images", "boxes/pit-common", "ssh_password", "word"),
    ("OpenNebula+one-apps", "packer/windows", "version", "10Home"),
    ("kubernetes-sigs+image-builder", "images/capi/packer/ova/packer-node", "remote_type", "esx5"),
    ("canonical+packer-maas", "fedora-server", "fedora_iso_path", "x.iso"),
    ("canonical+packer-maas", "openeuler", "openeuler_iso_path", "x.iso"),
    ("canonical+packer-maas", "rhel10", "rhel10_iso_path", "x.iso"),
    ("canonical+packer-maas", "rhel7", "rhel7_iso_path", "x.iso"),
    ("canonical+packer-maas", "rhel8", "rhel8_iso_path", "x.iso"),
    ("canonical+packer-maas", "rhel9", "rhel9_iso_path", "x.iso"),
    ("canonical+packer-maas", "sles15", "sles15_iso_path", "x.iso"),
    ("canonical+packer-maas", "sles16", "sles16_iso_path", "x.iso"),
    ("canonical+packer-maas", "xenserver8", "xenserver8_iso_path", "x.iso"),
];

/// Variables that image-builder's Makefile gives by var files which depend on the guest.
const FROM_OTHER_FILES: &[&str] = &[
    "ansible_common_ssh_args",
    "boot_command_prefix",
    "boot_command_suffix",
    "boot_media_path",
    "boot_wait",
    "build_name",
    "cd_content_location",
    "containerd_enable_limit_no_file",
    "containerd_gvisor_runtime",
    "containerd_gvisor_version",
    "convert_to_template",
    "cpu",
    "cpu_cores",
    "create_snapshot",
    "custom_post_processor",
    "custom_post_processor_command",
    "datacenter",
    "disk_controller_type",
    "disk_thin_provisioned",
    "disk_type_id",
    "distro_arch",
    "distro_name",
    "distro_version",
    "firmware",
    "floppy_dirs",
    "format",
    "goss_arch",
    "goss_download_path",
    "goss_entry_file",
    "goss_format",
    "goss_format_options",
    "goss_inspect_mode",
    "goss_remote_folder",
    "goss_remote_path",
    "goss_skip_install",
    "goss_tests_dir",
    "goss_url",
    "goss_vars_file",
    "goss_version",
    "headless",
    "host",
    "insecure_connection",
    "iso_checksum",
    "iso_checksum_type",
    "iso_url",
    "linked_clone",
    "memory",
    "network",
    "network_card",
    "node_custom_roles_pre",
    "os_display_name",
    "password",
    "pypy_http_source",
    "remote_datastore",
    "remote_host",
    "remote_password",
    "remote_username",
    "shutdown_command",
    "skip_compaction",
    "source_path",
    "ssh_password",
    "ssh_proxy_host",
    "ssh_proxy_port",
    "ssh_username",
    "template",
    "vmx_version",
    "vnc_bind_address",
    "vnc_disable_password",
    "vnc_port_max",
    "vnc_port_min",
    "guestinfo_datasource_slug",
    "guestinfo_datasource_ref",
    "guestinfo_datasource_script",
];

const ZEROES: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What stands against templates that are expected to be valid, and why: folder, beginning of the path, summary, how often in
/// all, cause. docs/differences.md says the same to users.
const DEVIATIONS: &[(&str, &str, &str, usize, &str)] = &[
    ("d-strobel+vagrant-box-windows", ".", "Unknown provisioner \"windows-update\"", 2, THIRD_PARTY),
    ("osuosl+packer-templates", "windows_", "Unknown provisioner \"windows-update\"", 3, THIRD_PARTY),
    ("dafyddj+packer-windows@26fbeac", "update", "Unknown provisioner \"windows-update\"", 1, THIRD_PARTY),
    ("mwrock+packer-templates", "", "Unknown post-processor \"atlas\"", 3, ATLAS),
    ("Seravo+wp-vagrant@01d0a40", "", "Unknown post-processor \"atlas\"", 1, ATLAS),
    ("boxcutter+macos", "", "Missing iso_checksum", 2, NO_CHECKSUM),
    ("timsutton+osx-vm-templates", "", "Missing iso_checksum", 2, NO_CHECKSUM),
    ("osuosl+packer-templates", "", "No such file", 60, SUBMODULE),
    ("mwrock+packer-templates", "vbox-2016", "No such file", 1, SUBMODULE),
    ("mwrock+packer-templates", "vbox-nano", "No such file", 1, SUBMODULE),
    ("Seravo+wp-vagrant@01d0a40", "", "No such script", 2, "scripts that the repository does not hold"),
    ("gildas+packer-windows", "", "No such file", 25, MADE_BEFOREHAND),
    ("dyson+packer-qemu-coreos-container-linux", "", "No such file", 1, MADE_BEFOREHAND),
    ("canonical+packer-maas", "ubuntu", "No such file", 1, MADE_BEFOREHAND),
    ("OpenNebula+one-apps", "", "No such file", 46, MADE_BEFOREHAND),
    ("ProfessorManhattan+packer-ubuntu-desktop", "", "No such script", 20, SUBMODULE),
    ("greg-hellings+vms", "", "Error in function call", 1, "a text file that the corpus does not hold"),
    ("greg-hellings+vms", "", "No such script", 4, "a script that the corpus does not hold"),
];

const THIRD_PARTY: &str = "a provisioner of a third party's plugin";
const ATLAS: &str = "a post-processor for a service that ended in 2018, removed from Packer too";
const NO_CHECKSUM: &str = "has no iso_checksum, which Packer too calls an error since 1.6";
const SUBMODULE: &str = "a submodule of the repository that the corpus does not hold";
const MADE_BEFOREHAND: &str = "a file that the repository's own tools make or fetch first";

impl Template {
    /// Values for variables that have none, or none of use.
    fn variables(&self) -> Vec<String> {
        let is_mine = |(dir, start, ..): &&(&str, &str, &str, &str)| *dir == self.dir && self.path.starts_with(start);
        let given: BTreeMap<&str, &str> =
            VALUES.iter().filter(is_mine).map(|(_, _, name, value)| (*name, *value)).collect();
        let last = self.path.rsplit('/').next().unwrap();
        let mut all: Vec<String> = given.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if self.path == "images/capi/packer/ova/packer-node.json" {
            all.extend(FROM_OTHER_FILES.iter().map(|name| format!("{name}=1")));
        }
        for name in self.required.iter().filter(|name| !given.contains_key(name.as_str())) {
            all.push(match name.as_str() {
                // The builds of one-apps are named after their folders.
                "distro" => format!("{name}={last}"),
                "input_dir" => format!("{name}={}", self.path),
                _ if name.contains("checksum") => format!("{name}=none"),
                _ => format!("{name}=1"),
            });
        }
        if self.dir == "OpenNebula+one-apps" && !last.starts_with("service_") && !["windows", "capone"].contains(&last)
        {
            let image = r#"{iso_url = "https://example.org/x.img", iso_checksum = "none"}"#;
            all.push(format!("{last}={{\"1.x86_64\" = {image}, \"1.1\" = {image}, \"1\" = {image}}}"));
        }
        all
    }

    /// Returns what the template is validated as: its file, or a folder that holds its files only.
    fn place(&self, root: &Path) -> PathBuf {
        let path = root.join(&self.path);
        if self.files.is_empty() || !path.is_dir() {
            return path;
        }
        // With its last slash, as shells complete it: some templates say "${path.root}files".
        let path = path.join("");
        for entry in fs::read_dir(&path).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.contains(".pkr.") && !self.files.contains(&name) {
                fs::rename(path.join(&name), path.join(format!("{name}.other"))).unwrap();
            }
        }
        path
    }

    fn restore(&self, root: &Path) {
        let path = root.join(&self.path);
        if !self.files.is_empty() && path.is_dir() {
            for entry in fs::read_dir(&path).unwrap() {
                let name = entry.unwrap().file_name().into_string().unwrap();
                if let Some(original) = name.strip_suffix(".other") {
                    fs::rename(path.join(&name), path.join(original)).unwrap();
                }
            }
        }
    }

    /// Names of the builds that local builders make, when there are others too.
    fn only(&self, path: &Path) -> Vec<String> {
        if self.builders.iter().all(|builder| LOCAL.contains(&builder.as_str())) {
            return Vec::new();
        }
        if self.kind == "hcl2" {
            return LOCAL.iter().map(|builder| format!("*{builder}.*")).collect();
        }
        let json: Json = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
        let builders = json["builders"].as_array().into_iter().flatten();
        let local = builders.filter(|builder| LOCAL.contains(&builder["type"].as_str().unwrap()));
        local.map(|builder| builder["name"].as_str().or(builder["type"].as_str()).unwrap().to_owned()).collect()
    }

    /// Validates what `hcl2_upgrade` makes of the template, in its place; nothing where it says that a name has to be
    /// written by hand.
    fn validate_upgraded(&self, root: &Path, cwd: &Path, var_file: Option<&str>) -> Option<(String, Validation)> {
        let path = root.join(&self.path);
        let upgraded = kiln_template::hcl2_upgrade(&self.path, &fs::read_to_string(&path).unwrap(), false);
        let by_hand = ["Name not usable in HCL2", "Selection by another name", "Unknown builder type"];
        if upgraded.diagnostics.iter().any(|told| by_hand.contains(&told.summary.as_str())) {
            return None;
        }
        let text = upgraded.text.unwrap();
        let place = path.with_extension("upgraded.pkr.hcl");
        fs::write(&place, &text).unwrap();
        std::env::set_current_dir(cwd).unwrap();
        let declared = |set: &String| {
            let name = set.split('=').next().unwrap();
            text.contains(&format!("variable \"{name}\" {{"))
        };
        // A variable that is used and not declared is empty in JSON; in HCL2 it must be given.
        let given: Vec<String> = self.variables().into_iter().filter(declared).collect();
        let json: Json = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let blocks = text.split("variable \"").skip(1).filter_map(|rest| Some((rest.split('"').next()?, rest)));
        let unset = blocks.filter(|(name, rest)| {
            let block = rest.split("\n}").next().unwrap();
            json["variables"].get(name).is_none() && !block.contains("default")
        });
        let vars = unset.map(|(name, _)| format!("{name}=")).chain(given).collect();
        let mixed = !self.builders.iter().all(|builder| LOCAL.contains(&builder.as_str()));
        let only = if mixed { LOCAL.iter().map(|builder| format!("{builder}.*")).collect() } else { Vec::new() };
        let request = CheckRequest {
            only,
            template: place.clone(),
            cwd: cwd.to_path_buf(),
            environment: BTreeMap::from([("HOME".into(), "/root".into()), ("USER".into(), "user".into())]),
            vars,
            var_files: var_file.map(|file| root.join(file)).into_iter().collect(),
            ..CheckRequest::default()
        };
        let validation = validate(&request, cwd, Wanted::Both);
        fs::remove_file(place).unwrap();
        Some((text, validation))
    }

    fn validate(&self, root: &Path, cwd: &Path, var_file: Option<&str>) -> Validation {
        let template = self.place(root);
        std::env::set_current_dir(cwd).unwrap();
        let request = CheckRequest {
            only: self.only(&template),
            template,
            cwd: cwd.to_path_buf(),
            environment: BTreeMap::from([("HOME".into(), "/root".into()), ("USER".into(), "user".into())]),
            vars: self.variables(),
            var_files: var_file.map(|file| root.join(file)).into_iter().collect(),
            ..CheckRequest::default()
        };
        let validation = validate(&request, cwd, Wanted::Both);
        self.restore(root);
        validation
    }
}

#[test]
fn real_templates() {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus");
    let corpus = std::env::var_os("KILN_CORPUS").map_or(beside, PathBuf::from);
    if !corpus.join("index.json").is_file() {
        eprintln!("ignored: needs the corpus in {}", corpus.display());
        return;
    }
    let staged = tempfile::tempdir().unwrap();
    let mut checked = 0;
    let (mut wrong, mut needed) = (Vec::new(), BTreeMap::<usize, usize>::new());
    let (mut unjudged, mut unjudged_valid) = (0, 0);
    let (mut upgraded, mut weakly_typed) = (0, 0);
    for template in templates(&corpus) {
        let reason = match template.expect.as_str() {
            "invalid:duplicate-json-field" => Some("Duplicate"),
            "invalid-now:esxi-remote-options-were-removed" => Some("Unknown configuration key \"remote_host\""),
            text if text.starts_with("valid") => None,
            // Nobody says what a current Packer would answer; but whatever is told has a place.
            _ => {
                let root = staged.path().join(&template.dir);
                if !root.exists() {
                    stage(&corpus.join("templates").join(&template.dir), &root);
                }
                let validation = template.validate(&root, &root, template.var_files.first().map(String::as_str));
                for problem in &validation.problems {
                    let placed = problem.json["range"]["start"]["line"].as_u64().is_some_and(|line| line > 0);
                    if !placed && problem.is_error {
                        wrong.push(format!(
                            "##### {} {} without a place:\n{}",
                            template.dir, template.path, problem.text
                        ));
                    }
                }
                assert_eq!(validation.valid, !validation.problems.iter().any(|problem| problem.is_error));
                unjudged += 1;
                unjudged_valid += usize::from(validation.valid);
                continue;
            }
        };
        let root = staged.path().join(&template.dir);
        if !root.exists() {
            stage(&corpus.join("templates").join(&template.dir), &root);
        }
        if template.expect == "valid-after-fix" {
            let path = root.join(&template.path);
            fs::write(&path, kiln_template::fix(&fs::read_to_string(&path).unwrap()).unwrap()).unwrap();
        }
        let folder = root.join(&template.path).parent().unwrap().to_path_buf();
        let unit = root.join(&template.path);
        let unit = if unit.is_dir() { unit } else { folder.clone() };
        let mut best: Option<Validation> = None;
        let mut best_place = (root.clone(), None);
        let mut refused_for_reason = false;
        let var_files = template.var_files.iter().map(|file| Some(file.as_str())).chain([None]);
        for var_file in var_files {
            for cwd in [&root, &folder, &unit] {
                let validation = template.validate(&root, cwd, var_file);
                let has_reason = |problem: &kiln_builder::Problem| {
                    problem.is_error && reason.is_some_and(|reason| problem.text.contains(reason))
                };
                refused_for_reason |= validation.problems.iter().any(has_reason);
                if best.as_ref().is_none_or(|best| {
                    !best.valid && (validation.valid || validation.problems.len() < best.problems.len())
                }) {
                    best = Some(validation);
                    best_place = (cwd.clone(), var_file);
                }
            }
        }
        let best = best.unwrap();
        checked += 1;
        if template.kind == "json"
            && best.valid
            && let Some((text, validation)) = template.validate_upgraded(&root, &best_place.0, best_place.1)
        {
            upgraded += 1;
            let against = validation.problems.iter().filter(|problem| {
                // An empty text is false, and a text with commas a list, only in JSON; the upgrade cannot know the types.
                problem.is_error && problem.json["summary"] != "Incorrect attribute value type"
            });
            let against: String = against.map(|problem| problem.text.as_str()).collect();
            if !against.is_empty() {
                wrong.push(format!("##### upgraded {} {}\n{against}", template.dir, template.path));
            }
            weakly_typed += usize::from(!validation.valid);
            let (problems, sources) = kiln_template::check_syntax("t.pkr.hcl", &text);
            assert!(!problems.has_errors(), "{}", problems.render(&sources, &kiln_template::Style::default()));
        }
        if let Some(reason) = reason {
            if !refused_for_reason || best.valid {
                let texts: Vec<&str> = best.problems.iter().map(|problem| problem.text.as_str()).collect();
                wrong.push(format!(
                    "##### {} {} ({})\nis not refused for {reason:?}: {texts:?}",
                    template.dir, template.path, template.expect
                ));
            }
            continue;
        }
        let summary = |problem: &kiln_builder::Problem| problem.json["summary"].as_str().unwrap().to_owned();
        let mut against = Vec::new();
        for problem in best.problems.iter().filter(|problem| problem.is_error) {
            let known = DEVIATIONS.iter().position(|(dir, start, text, ..)| {
                *dir == template.dir && template.path.starts_with(start) && *text == summary(problem)
            });
            match known {
                Some(known) => *needed.entry(known).or_default() += 1,
                None => against.push(problem),
            }
        }
        if !against.is_empty() {
            let errors = against.iter().map(|problem| problem.text.as_str());
            wrong.push(format!(
                "##### {} {} ({})\n{}",
                template.dir,
                template.path,
                template.expect,
                errors.collect::<String>()
            ));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    let found = |index: usize| needed.get(&index).copied().unwrap_or_default();
    let other: Vec<_> =
        DEVIATIONS.iter().enumerate().filter(|(index, deviation)| found(*index) != deviation.3).collect();
    let counts: Vec<_> = other.iter().map(|(index, deviation)| (deviation, found(*index))).collect();
    assert!(counts.is_empty(), "not as often as listed: {counts:#?}");
    println!("{checked} templates judged; {unjudged} of unknown validity only tried, {unjudged_valid} of them valid");
    assert_eq!(unjudged, 31, "templates of unknown validity");
    assert!(checked > 340, "only {checked} templates were checked");
    assert!(upgraded > 150, "only {upgraded} upgraded templates were validated");
    assert!(weakly_typed * 3 < upgraded, "{weakly_typed} of {upgraded} upgraded templates have values of wrong types");
}
