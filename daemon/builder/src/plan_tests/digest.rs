//! A digest is the same for the same plan, and another when anything that acts is changed, secrets among it.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::process::Command;

use kiln_template::{ComponentType, OptionKind, Redactor};

use super::component::{Body, body, build_of, planned, plans, running, some_value, source, template};
use crate::options::Definition;
use crate::plan::BuildPlan;
use crate::plan_key::PlanKey;

fn key() -> PlanKey {
    PlanKey::new(b"a key of tests")
}

fn digest(plan: &BuildPlan) -> String {
    plan.digest(&key()).unwrap().to_string()
}

/// Options of sources that change nothing that Kiln does.
const WITHOUT_EFFECT: &[&str] = &[
    "http_interface",
    "run_once",
    "ssh_keypair_name",
    "ssh_private_key",
    "ssh_public_key",
    // Of the other communicators.
    "guest_agent_timeout",
    "winrm_host",
    "winrm_insecure",
    "winrm_no_proxy",
    "winrm_password",
    "winrm_port",
    "winrm_timeout",
    "winrm_use_ntlm",
    "winrm_use_ssl",
    "winrm_username",
];

/// Options with which the others act.
const BASE: &str = "iso_url = \"x\"\niso_checksum = \"none\"\nssh_username = \"u\"\nhttp_content = { a = \"b\" }
floppy_files = [\"f\"]\ncd_files = [\"f\"]\nssh_bastion_host = \"b\"\nssh_proxy_host = \"p\"\nvtpm = true
ssh_agent_auth = true\ntarget = \"t\"\nfirmware = \"bios\"\nvnc_bind_address = \"::1\"
usb = true";

/// Values that act where any other would not.
const VALUES: &[(&str, &str)] = &[
    ("communicator", "\"none\""),
    ("disk_size", "\"1G\""),
    ("disk_additional_size", "[\"1G\"]"),
    ("ssh_file_transfer_method", "\"sftp\""),
    ("ssh_proxy_type", "\"http\""),
    ("ssh_agent_auth", "false"),
    ("vtpm", "false"),
    ("http_network_protocol", "\"tcp4\""),
    // Old names of others, which have values of their own here.
    ("ssh_wait_timeout", "\"18s\""),
    ("ssh_host_port_min", "12346"),
    ("ssh_host_port_max", "12346"),
];

/// The same, of one family of builders.
const OWN_VALUES: &[(&str, &str, &str)] = &[
    ("virtualbox", "disk_size", "12345"),
    ("virtualbox", "disk_additional_size", "[17]"),
    ("virtualbox", "guest_additions_mode", "\"attach\""),
    ("virtualbox", "import_opts", "\"keepallmacs\""),
    ("virtualbox", "usb", "false"),
    ("virtualbox", "ssh_skip_nat_mapping", "true"),
    ("virtualbox", "skip_nat_mapping", "true"),
    ("virtualbox", "acpi_shutdown", "true"),
    ("virtualbox", "guest_additions_interface", "\"sata\""),
    ("vmware", "disk_size", "12345"),
    ("vmware", "disk_additional_size", "[17]"),
    ("vmware", "usb", "false"),
];

/// Options of single builders that change nothing that Kiln does: of other systems, of what is refused, and of what Packer knows for
/// packages alone.
const OF_NO_USE: &[(&str, &str)] = &[
    // Makes no key.
    ("null", "ssh_clear_authorized_keys"),
    // Always done.
    ("virtualbox", "ssh_clear_authorized_keys"),
    ("vmware", "fusion_app_path"),
    ("vmware", "network_name"),
    ("vmware", "remote_type"),
    ("vmware-vmx", "guest_os_type"),
    ("vmware-vmx", "version"),
];

/// Options of this builder that change nothing that Kiln does.
pub(super) fn of_no_use(kind: &str) -> Vec<&'static str> {
    let own = OF_NO_USE.iter().filter(|(of, _)| kind.starts_with(of)).map(|(_, name)| *name);
    own.chain(WITHOUT_EFFECT.iter().copied()).collect()
}

#[test]
fn every_option_of_a_source_that_acts_changes_the_digest() {
    let mut tried = 0;
    for definition in running().filter(|definition| definition.component == ComponentType::Builder) {
        let known = |name: &str| definition.schema.spec(name).is_some();
        let base: Body = body(BASE).into_iter().filter(|(name, _)| known(name)).collect();
        let plain = build_of(source(definition, &base));
        let mut seen = HashSet::from([digest(&plain)]);
        for spec in definition.schema.specs() {
            if matches!(spec.kind, OptionKind::Block(_)) || spec.name.starts_with("packer_") {
                continue;
            }
            let kind = definition.schema.kind;
            let own = OWN_VALUES.iter().find(|(of, name, _)| kind.starts_with(of) && *name == spec.name);
            let special = VALUES.iter().find(|(name, _)| *name == spec.name);
            let mut options = base.clone();
            let value = own.map(|(_, _, value)| *value).or_else(|| special.map(|(_, value)| *value));
            options.insert(spec.name, value.map_or_else(|| some_value(spec), ToOwned::to_owned));
            let changed = build_of(source(definition, &options));
            let place = format!("{}.{}", definition.schema.kind, spec.name);
            // The null builder makes no key.
            let no_key = definition.schema.kind == "null" && spec.name.starts_with("temporary_key");
            let no_key =
                no_key || (definition.schema.kind == "virtualbox-vm" && spec.name.starts_with("temporary_key"));
            // Only VirtualBox takes keys in groups.
            let no_groups = spec.name == "boot_keygroup_interval" && !definition.schema.kind.starts_with("virtualbox");
            let of_no_use = OF_NO_USE.iter().any(|(of, name)| kind.starts_with(of) && *name == spec.name);
            let acts = !WITHOUT_EFFECT.contains(&spec.name) && !no_key && !no_groups && !of_no_use;
            assert_eq!(changed != plain, acts, "{place} acts: {acts}");
            assert_eq!(digest(&changed) != digest(&plain), acts, "{place} changes the digest: {acts}");
            // The old name does the same as the new one.
            if acts && spec.name != "ssh_skip_nat_mapping" {
                assert!(seen.insert(digest(&changed)), "{place} has the digest of another change");
            }
            tried += 1;
        }
    }
    assert!(tried > 120, "{tried}");
}

#[test]
fn every_option_of_provisioners_and_post_processors_changes_the_digest() {
    let mut tried = 0;
    for definition in running().filter(|definition| definition.component != ComponentType::Builder) {
        let plain = sound(definition, &Body::new());
        for spec in definition.schema.specs() {
            let value = if spec.name == "valid_exit_codes" { "[3]".to_owned() } else { some_value(spec) };
            let changed = sound(definition, &Body::from([(spec.name, value)]));
            let place = format!("{}.{}", definition.schema.kind, spec.name);
            assert_ne!(digest(&changed), digest(&plain), "{place}");
            tried += 1;
        }
    }
    assert!(tried > 60, "{tried}");
}

/// A build whose one provisioner or post-processor has these options, whatever is wrong with them.
fn sound(definition: &Definition, options: &Body) -> BuildPlan {
    let component = super::component::component(definition, options);
    let mut plan = build_of(crate::plan::SourcePlan::Unbuilt);
    plan.provisioners.push(crate::plan::ProvisionerPlan {
        kind: component.kind.clone(),
        name: None,
        options: crate::check::options_plan(&component),
        pause_before: std::time::Duration::ZERO,
        timeout: None,
        max_retries: 0,
        continue_on_error: false,
    });
    plan
}

const WHOLE: &str = r#"
variable "secret" {
  default   = "swordfish-1"
  sensitive = true
}
source "null" "x" {
  ssh_host     = "h"
  ssh_username = "u"
  ssh_password = "first-password"
}
build {
  name    = "b"
  sources = ["null.x"]
  provisioner "shell" {
    inline           = ["echo ${build.ID}"]
    environment_vars = ["TOKEN=${var.secret}"]
    max_retries      = 1
  }
  provisioner "sleep" {
    duration = "1s"
  }
  error-cleanup-provisioner "shell" {
    inline = ["echo rescue"]
  }
  post-processors {
    post-processor "checksum" {
      keep_input_artifact = true
    }
    post-processor "manifest" {}
  }
}
"#;

#[test]
fn the_same_template_has_the_same_digest_however_it_is_laid_out() {
    let plain = plans(WHOLE, &[]);
    assert_eq!(plans(WHOLE, &[]), plain);
    let laid_out = format!("# a comment\n\n{}", WHOLE.replace("  ", "\t"));
    assert_eq!(plans(&laid_out, &[]), plain);
    // What is a default may be said.
    let said = WHOLE.replace("duration = \"1s\"", "duration = \"1s\"\n pause_before = \"0s\"");
    let said = said.replace("\"manifest\" {}", "\"manifest\" {\n output = \"packer-manifest.json\"\n }");
    assert_eq!(digest(&plans(&said, &[])[0]), digest(&plain[0]));
    assert_ne!(plain[0].digest(&PlanKey::new(b"another")).unwrap().to_string(), digest(&plain[0]));
    assert_eq!(digest(&plain[0]).len(), 64);
}

#[test]
fn every_change_of_the_rest_of_a_build_changes_the_digest() {
    let changes = [
        ("name    = \"b\"", "name    = \"c\""),
        ("\"null\" \"x\"", "\"null\" \"x2\""),
        ("h\"\n", "h2\"\n"),
        ("first-password", "other-password"),
        ("build.ID", "build.Host"),
        ("swordfish-1", "swordfish-2"),
        ("max_retries      = 1", "max_retries      = 2"),
        ("max_retries      = 1", "timeout = \"5s\""),
        ("max_retries      = 1", "pause_before = \"5s\""),
        ("max_retries      = 1", "continue_on_error = true"),
        ("duration = \"1s\"", "duration = \"2s\""),
        ("echo rescue", "echo help"),
        ("  provisioner \"sleep\" {\n    duration = \"1s\"\n  }\n", ""),
        ("keep_input_artifact = true", "keep_input_artifact = false"),
        ("keep_input_artifact = true", ""),
        ("\"manifest\" {}", "\"manifest\" {\n strip_path = true\n }"),
        ("    post-processor \"manifest\" {}\n", ""),
        ("  post-processors {", "  post-processors {\n post-processor \"manifest\" {}\n }\n post-processors {"),
    ];
    let mut seen = BTreeSet::from([digest(&plans(WHOLE, &[])[0])]);
    for (from, to) in changes {
        let mut text = WHOLE.replace(from, to);
        assert_ne!(text, WHOLE, "{from}");
        text = text.replace("null.x\"", if to.contains("x2") { "null.x2\"" } else { "null.x\"" });
        assert!(seen.insert(digest(&plans(&text, &[])[0])), "{from} -> {to}");
    }
    assert!(seen.insert(digest(&plans(WHOLE, &["secret=swordfish-3"])[0])), "a variable");
}

#[test]
fn no_secret_is_in_the_text_of_a_plan() {
    let checked = planned(WHOLE, &[]);
    let plan = &checked.planned[0].plan;
    for text in [plan.shown(&checked.redactor).unwrap(), format!("{plan:?}"), serde_json::to_string(plan).unwrap()] {
        assert!(!text.contains("swordfish") && !text.contains("first-password"), "{text}");
    }
    let url = "source \"qemu\" \"x\" {\n iso_url = \"http://me:p4ssword-of-mine@h/x.iso\"\n iso_checksum = \"none\"\n \
               ssh_username = \"u\"\n vnc_password = \"12345678\"\n}\nbuild {\n sources = [\"qemu.x\"]\n}\n";
    let checked = planned(url, &[]);
    let shown = checked.planned[0].plan.shown(&checked.redactor).unwrap();
    assert!(!shown.contains("p4ssword") && !shown.contains("12345678") && shown.contains("x.iso"), "{shown}");
    assert_eq!(checked.planned[0].plan.shown(&Redactor::default()).unwrap().matches("12345678").count(), 0);
}

/// Where the other process finds the key's directory.
const STATE: &str = "KILN_TEST_DIGEST_STATE";

#[test]
fn two_processes_come_to_the_same_digest() {
    let state = tempfile::tempdir().unwrap();
    let ours = plans(WHOLE, &[])[0].digest(&PlanKey::load(state.path()).unwrap()).unwrap().to_string();
    let theirs = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "plan_tests::digest::prints_the_digest_for_another_process", "--nocapture"])
        .env(STATE, state.path())
        .output()
        .unwrap();
    let theirs = String::from_utf8(theirs.stdout).unwrap();
    assert!(theirs.contains(&format!("digest {ours}\n")), "{ours} is not in {theirs}");
}

#[test]
fn prints_the_digest_for_another_process() {
    let Some(state) = std::env::var_os(STATE) else { return };
    let digest = plans(WHOLE, &[])[0].digest(&PlanKey::load(Path::new(&state)).unwrap()).unwrap();
    println!("digest {digest}");
}

#[test]
fn a_template_for_each_component_is_well_formed() {
    for definition in running() {
        assert!(template(definition, &Body::new()).contains(definition.schema.kind));
    }
}
