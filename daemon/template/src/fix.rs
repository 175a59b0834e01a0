//! Owns `fix`: legacy JSON templates of older Packers brought up to date.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};
use thiserror::Error;

/// Why a template cannot be fixed.
#[derive(Debug, Error)]
pub enum FixError {
    /// It is not JSON.
    #[error("the template is not JSON: {0}")]
    Parse(#[from] serde_json::Error),
    /// Its root is not an object.
    #[error("the template is not a JSON object")]
    NotAnObject,
}

/// One change that newer Packers need.
struct Fixer {
    name: &'static str,
    synopsis: &'static str,
    apply: fn(&mut Map<String, Value>),
}

/// All fixers in the order in which they are applied.
const FIXERS: &[Fixer] = &[
    Fixer { name: "iso-md5", synopsis: "replaces iso_md5 by iso_checksum", apply: iso_md5 },
    Fixer { name: "createtime", synopsis: "replaces {{.CreateTime}} by {{timestamp}}", apply: create_time },
    Fixer {
        name: "virtualbox-gaattach",
        synopsis: "replaces guest_additions_attach by guest_additions_mode",
        apply: additions_attach,
    },
    Fixer {
        name: "pp-vagrant-override",
        synopsis: "moves overrides of the vagrant post-processor into override",
        apply: vagrant_override,
    },
    Fixer {
        name: "virtualbox-rename",
        synopsis: "renames the builder virtualbox to virtualbox-iso",
        apply: |t| rename_builder(t, "virtualbox", "virtualbox-iso"),
    },
    Fixer {
        name: "vmware-rename",
        synopsis: "renames the builder vmware to vmware-iso",
        apply: |t| rename_builder(t, "vmware", "vmware-iso"),
    },
    Fixer {
        name: "parallels-headless",
        synopsis: "removes headless from parallels builders",
        apply: |t| remove(t, &["parallels-iso", "parallels-pvm"], "headless"),
    },
    Fixer {
        name: "parallels-deprecations",
        synopsis: "removes parallels_tools_host_path, renames guest_os_distribution",
        apply: parallels,
    },
    Fixer {
        name: "sshkeypath",
        synopsis: "renames ssh_key_path to ssh_private_key_file",
        apply: |t| rename(t, &[], "ssh_key_path", "ssh_private_key_file"),
    },
    Fixer {
        name: "sshdisableagent",
        synopsis: "renames ssh_disable_agent to ssh_disable_agent_forwarding",
        apply: |t| rename(t, &[], "ssh_disable_agent", "ssh_disable_agent_forwarding"),
    },
    Fixer {
        name: "scaleway-access-key",
        synopsis: "renames access_key of scaleway to organization_id",
        apply: |t| rename(t, &["scaleway"], "api_access_key", "organization_id"),
    },
    Fixer {
        name: "manifest-filename",
        synopsis: "renames filename of the manifest post-processor to output",
        apply: manifest_filename,
    },
    Fixer {
        name: "amazon-shutdown_behavior",
        synopsis: "renames shutdown_behaviour",
        apply: |t| rename_where(t, |kind| kind.starts_with("amazon-"), "shutdown_behaviour", "shutdown_behavior"),
    },
    Fixer {
        name: "amazon-enhanced-networking",
        synopsis: "renames enhanced_networking to ena_support",
        apply: |t| rename_where(t, |kind| kind.starts_with("amazon-"), "enhanced_networking", "ena_support"),
    },
    Fixer { name: "amazon-private-ip", synopsis: "replaces ssh_private_ip by ssh_interface", apply: amazon_private_ip },
    Fixer {
        name: "amazon-temp-sec-cidrs",
        synopsis: "replaces temporary_security_group_source_cidr by a list",
        apply: amazon_cidrs,
    },
    Fixer { name: "docker-email", synopsis: "removes login_email of docker post-processors", apply: docker_email },
    Fixer {
        name: "docker-tag-tags",
        synopsis: "replaces tag of the docker-tag post-processor by tags",
        apply: docker_tags,
    },
    Fixer {
        name: "powershell-escapes",
        synopsis: "removes PowerShell escapes from variables and passwords",
        apply: powershell_escapes,
    },
    Fixer {
        name: "hyperv-deprecations",
        synopsis: "removes vhd_temp_path",
        apply: |t| remove(t, &["hyperv-iso"], "vhd_temp_path"),
    },
    Fixer {
        name: "hyperv-vmxc-typo",
        synopsis: "renames clone_from_vmxc_path to clone_from_vmcx_path",
        apply: |t| rename(t, &["hyperv-vmcx"], "clone_from_vmxc_path", "clone_from_vmcx_path"),
    },
    Fixer { name: "hyperv-cpu-and-ram", synopsis: "renames cpu to cpus and ram_size to memory", apply: hyperv_cpu },
    Fixer {
        name: "clean-image-name",
        synopsis: "replaces clean_ami_name and clean_image_name by clean_resource_name",
        apply: clean_image_name,
    },
    Fixer {
        name: "spot-price-auto-product",
        synopsis: "removes spot_price_auto_product",
        apply: |t| remove(t, &[], "spot_price_auto_product"),
    },
    Fixer {
        name: "qemu-disk-size",
        synopsis: "replaces a number of MB in disk_size by a text with unit",
        apply: qemu_disk_size,
    },
    Fixer { name: "galaxy-command", synopsis: "renames galaxycommand of ansible-local", apply: galaxy_command },
    Fixer {
        name: "comm-config",
        synopsis: "renames ssh_host_port_min, ssh_host_port_max and ssh_skip_nat_mapping",
        apply: comm_config,
    },
    Fixer {
        name: "ssh-wait-timeout",
        synopsis: "renames ssh_wait_timeout to ssh_timeout",
        apply: |t| rename(t, &[], "ssh_wait_timeout", "ssh_timeout"),
    },
    Fixer {
        name: "iso-checksum-type-and-url",
        synopsis: "puts iso_checksum_type and iso_checksum_url into iso_checksum",
        apply: iso_checksum,
    },
    Fixer {
        name: "qemu-host-port",
        synopsis: "renames ssh_host_port_min and ssh_host_port_max of qemu",
        apply: qemu_host_port,
    },
    Fixer {
        name: "proxmox-type",
        synopsis: "renames the builder proxmox to proxmox-iso",
        apply: |t| rename_builder(t, "proxmox", "proxmox-iso"),
    },
];

/// Names and synopses of all fixers, for the help text.
pub fn fixers() -> impl Iterator<Item = (&'static str, &'static str)> {
    FIXERS.iter().map(|fixer| (fixer.name, fixer.synopsis))
}

/// Brings a legacy JSON template up to date; the answer has sorted keys and two blanks of indentation.
///
/// # Errors
/// When the text is not a JSON object.
pub fn fix(text: &str) -> Result<String, FixError> {
    let mut template = match serde_json::from_str(text)? {
        Value::Object(template) => template,
        _ => return Err(FixError::NotAnObject),
    };
    for fixer in FIXERS {
        (fixer.apply)(&mut template);
    }
    let mut out = String::new();
    write(&Value::Object(template), 0, &mut out);
    out.push('\n');
    Ok(out)
}

/// Writes JSON as Packer does: sorted keys, `&` escaped as Go does, `<` and `>` not.
fn write(value: &Value, level: usize, out: &mut String) {
    let line = |level: usize, out: &mut String| {
        out.push('\n');
        out.push_str(&"  ".repeat(level));
    };
    match value {
        Value::Array(items) if !items.is_empty() => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(level + 1, out);
                write(item, level + 1, out);
            }
            line(level, out);
            out.push(']');
        }
        Value::Object(entries) if !entries.is_empty() => {
            let mut sorted: Vec<_> = entries.iter().collect();
            sorted.sort_by_key(|(key, _)| key.as_str());
            out.push('{');
            for (index, (key, item)) in sorted.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                line(level + 1, out);
                out.push_str(&quoted(key));
                out.push_str(": ");
                write(item, level + 1, out);
            }
            line(level, out);
            out.push('}');
        }
        Value::String(text) => out.push_str(&quoted(text)),
        other => out.push_str(&other.to_string()),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 || matches!(c, '&' | '\u{2028}' | '\u{2029}') => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

fn objects<'a>(template: &'a mut Map<String, Value>, key: &str) -> Vec<&'a mut Map<String, Value>> {
    let items = template.get_mut(key).and_then(Value::as_array_mut);
    items.into_iter().flatten().filter_map(Value::as_object_mut).collect()
}

fn kind(component: &Map<String, Value>) -> &str {
    component.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// Returns the builders of these kinds; of all kinds when none is named.
fn builders<'a>(template: &'a mut Map<String, Value>, kinds: &[&str]) -> Vec<&'a mut Map<String, Value>> {
    let mut found = objects(template, "builders");
    found.retain(|builder| kinds.is_empty() || kinds.contains(&kind(builder)));
    found
}

/// Returns all post-processors, also those in sequences.
fn post_processors(template: &mut Map<String, Value>) -> Vec<&mut Map<String, Value>> {
    let items = template.get_mut("post-processors").and_then(Value::as_array_mut);
    let mut found = Vec::new();
    for item in items.into_iter().flatten() {
        match item {
            Value::Object(single) => found.push(single),
            Value::Array(chain) => found.extend(chain.iter_mut().filter_map(Value::as_object_mut)),
            _ => {}
        }
    }
    found
}

/// Calls `change` with every text of a value.
fn each_text(value: &mut Value, change: &dyn Fn(&mut String)) {
    match value {
        Value::String(text) => change(text),
        Value::Array(items) => items.iter_mut().for_each(|item| each_text(item, change)),
        Value::Object(entries) => entries.values_mut().for_each(|item| each_text(item, change)),
        _ => {}
    }
}

fn rename(template: &mut Map<String, Value>, kinds: &[&str], old: &str, new: &str) {
    for builder in builders(template, kinds) {
        if let Some(value) = builder.remove(old) {
            builder.insert(new.into(), value);
        }
    }
}

fn rename_where(template: &mut Map<String, Value>, applies: fn(&str) -> bool, old: &str, new: &str) {
    for builder in builders(template, &[]).into_iter().filter(|builder| applies(kind(builder))) {
        if let Some(value) = builder.remove(old) {
            builder.insert(new.into(), value);
        }
    }
}

fn remove(template: &mut Map<String, Value>, kinds: &[&str], name: &str) {
    for builder in builders(template, kinds) {
        builder.remove(name);
    }
}

/// Renames a builder's kind, and what provisioners override for it.
fn rename_builder(template: &mut Map<String, Value>, old: &str, new: &str) {
    for builder in builders(template, &[old]) {
        builder.insert("type".into(), json!(new));
    }
    for provisioner in objects(template, "provisioners") {
        if let Some(overrides) = provisioner.get_mut("override").and_then(Value::as_object_mut)
            && let Some(value) = overrides.remove(old)
        {
            overrides.insert(new.into(), value);
        }
    }
}

fn iso_md5(template: &mut Map<String, Value>) {
    for builder in builders(template, &[]) {
        if let Some(hash) = builder.remove("iso_md5") {
            builder.insert("iso_checksum".into(), hash);
            builder.insert("iso_checksum_type".into(), json!("md5"));
        }
    }
}

fn create_time(template: &mut Map<String, Value>) {
    static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\{\{\s*\.CreateTime\s*\}\}").ok());
    let Some(pattern) = PATTERN.as_ref() else { return };
    for builder in builders(template, &[]) {
        for value in builder.values_mut() {
            each_text(value, &|text| *text = pattern.replace_all(text, "{{timestamp}}").into_owned());
        }
    }
}

fn additions_attach(template: &mut Map<String, Value>) {
    for builder in builders(template, &["virtualbox", "virtualbox-iso"]) {
        if let Some(attach) = builder.remove("guest_additions_attach")
            && (attach == json!(true) || attach == json!("true"))
        {
            builder.insert("guest_additions_mode".into(), json!("attach"));
        }
    }
}

fn vagrant_override(template: &mut Map<String, Value>) {
    for post_processor in post_processors(template).into_iter().filter(|item| kind(item) == "vagrant") {
        let mut overrides = Map::new();
        for name in ["aws", "digitalocean", "virtualbox", "vmware"] {
            if let Some(value) = post_processor.remove(name) {
                overrides.insert(name.into(), value);
            }
        }
        if !overrides.is_empty() {
            post_processor.insert("override".into(), Value::Object(overrides));
        }
    }
}

fn parallels(template: &mut Map<String, Value>) {
    const KINDS: &[&str] = &["parallels-iso", "parallels-pvm"];
    remove(template, KINDS, "parallels_tools_host_path");
    rename(template, KINDS, "guest_os_distribution", "guest_os_type");
}

fn manifest_filename(template: &mut Map<String, Value>) {
    for post_processor in post_processors(template).into_iter().filter(|item| kind(item) == "manifest") {
        if let Some(value) = post_processor.remove("filename") {
            post_processor.insert("output".into(), value);
        }
    }
}

fn amazon_private_ip(template: &mut Map<String, Value>) {
    for builder in builders(template, &[]).into_iter().filter(|builder| kind(builder).starts_with("amazon-")) {
        if let Some(private) = builder.remove("ssh_private_ip") {
            let private = private == json!(true) || private == json!("true");
            builder.insert("ssh_interface".into(), json!(if private { "private_ip" } else { "public_ip" }));
        }
    }
}

fn amazon_cidrs(template: &mut Map<String, Value>) {
    for builder in builders(template, &[]).into_iter().filter(|builder| kind(builder).starts_with("amazon-")) {
        if let Some(Value::String(cidr)) = builder.remove("temporary_security_group_source_cidr") {
            let list: Vec<&str> = cidr.split(',').map(str::trim).collect();
            builder.insert("temporary_security_group_source_cidrs".into(), json!(list));
        }
    }
}

fn docker_email(template: &mut Map<String, Value>) {
    for builder in builders(template, &["docker"]) {
        builder.remove("login_email");
    }
    for post_processor in post_processors(template) {
        if kind(post_processor).starts_with("docker-") {
            post_processor.remove("login_email");
        }
    }
}

fn docker_tags(template: &mut Map<String, Value>) {
    for post_processor in post_processors(template).into_iter().filter(|item| kind(item) == "docker-tag") {
        let mut tags: Vec<Value> = match post_processor.remove("tags") {
            Some(Value::Array(tags)) => tags,
            Some(single @ Value::String(_)) => vec![single],
            _ => Vec::new(),
        };
        match post_processor.remove("tag") {
            Some(Value::Array(more)) => tags.extend(more),
            Some(Value::String(list)) => tags.extend(list.split(',').map(|tag| json!(tag.trim()))),
            _ => {}
        }
        tags.dedup();
        if !tags.is_empty() {
            post_processor.insert("tags".into(), Value::Array(tags));
        }
    }
}

fn powershell_escapes(template: &mut Map<String, Value>) {
    let plain = |text: &mut String| {
        for (escaped, sign) in [("`$", "$"), ("`\"", "\""), ("``", "`"), ("`'", "'")] {
            *text = text.replace(escaped, sign);
        }
    };
    for provisioner in objects(template, "provisioners").into_iter().filter(|item| kind(item) == "powershell") {
        for name in ["elevated_user", "elevated_password", "environment_vars"] {
            if let Some(value) = provisioner.get_mut(name) {
                each_text(value, &plain);
            }
        }
    }
}

fn hyperv_cpu(template: &mut Map<String, Value>) {
    const KINDS: &[&str] = &["hyperv-iso", "hyperv-vmcx"];
    rename(template, KINDS, "cpu", "cpus");
    rename(template, KINDS, "ram_size", "memory");
}

fn clean_image_name(template: &mut Map<String, Value>) {
    for builder in builders(template, &[]) {
        for value in builder.values_mut() {
            each_text(value, &|text| {
                *text = text
                    .replace("clean_ami_name", "clean_resource_name")
                    .replace("clean_image_name", "clean_resource_name");
            });
        }
    }
}

fn qemu_disk_size(template: &mut Map<String, Value>) {
    for builder in builders(template, &["qemu"]) {
        if let Some(Value::Number(size)) = builder.get("disk_size") {
            let text = format!("{size}M");
            builder.insert("disk_size".into(), json!(text));
        }
    }
}

fn galaxy_command(template: &mut Map<String, Value>) {
    for provisioner in objects(template, "provisioners").into_iter().filter(|item| kind(item) == "ansible-local") {
        if let Some(value) = provisioner.remove("galaxycommand") {
            provisioner.insert("galaxy_command".into(), value);
        }
    }
}

fn comm_config(template: &mut Map<String, Value>) {
    const KINDS: &[&str] = &["virtualbox-iso", "virtualbox-ovf", "virtualbox-vm", "qemu"];
    rename(template, KINDS, "ssh_host_port_min", "host_port_min");
    rename(template, KINDS, "ssh_host_port_max", "host_port_max");
    rename(template, KINDS, "ssh_skip_nat_mapping", "skip_nat_mapping");
}

fn qemu_host_port(template: &mut Map<String, Value>) {
    rename(template, &["qemu"], "ssh_host_port_min", "host_port_min");
    rename(template, &["qemu"], "ssh_host_port_max", "host_port_max");
}

fn iso_checksum(template: &mut Map<String, Value>) {
    for builder in builders(template, &[]) {
        let text = |value: Option<Value>| value.and_then(|value| value.as_str().map(str::to_owned));
        let kind = text(builder.remove("iso_checksum_type"));
        let url = text(builder.remove("iso_checksum_url"));
        let checksum = builder.get("iso_checksum").and_then(Value::as_str).map(str::to_owned);
        let new = match (kind.as_deref(), url, checksum) {
            (Some("none"), _, Some(_)) => "none".to_owned(),
            (_, Some(url), _) => format!("file:{url}"),
            (Some(kind), None, Some(checksum)) => format!("{kind}:{checksum}"),
            _ => continue,
        };
        builder.insert("iso_checksum".into(), json!(new));
    }
}
