//! Owns the changes that `fix` makes, one function each.

use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

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
pub(super) fn post_processors(template: &mut Map<String, Value>) -> Vec<&mut Map<String, Value>> {
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

pub(super) fn rename(template: &mut Map<String, Value>, kinds: &[&str], old: &str, new: &str) {
    for builder in builders(template, kinds) {
        if let Some(value) = builder.remove(old) {
            builder.insert(new.into(), value);
        }
    }
}

pub(super) fn rename_where(template: &mut Map<String, Value>, applies: fn(&str) -> bool, old: &str, new: &str) {
    for builder in builders(template, &[]).into_iter().filter(|builder| applies(kind(builder))) {
        if let Some(value) = builder.remove(old) {
            builder.insert(new.into(), value);
        }
    }
}

pub(super) fn remove(template: &mut Map<String, Value>, kinds: &[&str], name: &str) {
    for builder in builders(template, kinds) {
        builder.remove(name);
    }
}

/// Renames a builder's kind, and what provisioners override for it.
pub(super) fn rename_builder(template: &mut Map<String, Value>, old: &str, new: &str) {
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

pub(super) fn iso_md5(template: &mut Map<String, Value>) {
    for builder in builders(template, &[]) {
        if let Some(hash) = builder.remove("iso_md5") {
            builder.insert("iso_checksum".into(), hash);
            builder.insert("iso_checksum_type".into(), json!("md5"));
        }
    }
}

pub(super) fn create_time(template: &mut Map<String, Value>) {
    static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\{\{\s*\.CreateTime\s*\}\}").ok());
    let Some(pattern) = PATTERN.as_ref() else { return };
    for builder in builders(template, &[]) {
        for value in builder.values_mut() {
            each_text(value, &|text| *text = pattern.replace_all(text, "{{timestamp}}").into_owned());
        }
    }
}

pub(super) fn additions_attach(template: &mut Map<String, Value>) {
    for builder in builders(template, &["virtualbox", "virtualbox-iso"]) {
        if let Some(attach) = builder.remove("guest_additions_attach")
            && (attach == json!(true) || attach == json!("true"))
        {
            builder.insert("guest_additions_mode".into(), json!("attach"));
        }
    }
}

pub(super) fn vagrant_override(template: &mut Map<String, Value>) {
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

pub(super) fn parallels(template: &mut Map<String, Value>) {
    const KINDS: &[&str] = &["parallels-iso", "parallels-pvm"];
    remove(template, KINDS, "parallels_tools_host_path");
    rename(template, KINDS, "guest_os_distribution", "guest_os_type");
}

pub(super) fn manifest_filename(template: &mut Map<String, Value>) {
    for post_processor in post_processors(template).into_iter().filter(|item| kind(item) == "manifest") {
        if let Some(value) = post_processor.remove("filename") {
            post_processor.insert("output".into(), value);
        }
    }
}

pub(super) fn amazon_private_ip(template: &mut Map<String, Value>) {
    for builder in builders(template, &[]).into_iter().filter(|builder| kind(builder).starts_with("amazon-")) {
        if let Some(private) = builder.remove("ssh_private_ip") {
            let private = private == json!(true) || private == json!("true");
            builder.insert("ssh_interface".into(), json!(if private { "private_ip" } else { "public_ip" }));
        }
    }
}

pub(super) fn amazon_cidrs(template: &mut Map<String, Value>) {
    for builder in builders(template, &[]).into_iter().filter(|builder| kind(builder).starts_with("amazon-")) {
        if let Some(Value::String(cidr)) = builder.remove("temporary_security_group_source_cidr") {
            let list: Vec<&str> = cidr.split(',').map(str::trim).collect();
            builder.insert("temporary_security_group_source_cidrs".into(), json!(list));
        }
    }
}

pub(super) fn docker_email(template: &mut Map<String, Value>) {
    for builder in builders(template, &["docker"]) {
        builder.remove("login_email");
    }
    for post_processor in post_processors(template) {
        if kind(post_processor).starts_with("docker-") {
            post_processor.remove("login_email");
        }
    }
}

pub(super) fn docker_tags(template: &mut Map<String, Value>) {
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

pub(super) fn powershell_escapes(template: &mut Map<String, Value>) {
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

pub(super) fn hyperv_cpu(template: &mut Map<String, Value>) {
    const KINDS: &[&str] = &["hyperv-iso", "hyperv-vmcx"];
    rename(template, KINDS, "cpu", "cpus");
    rename(template, KINDS, "ram_size", "memory");
}

pub(super) fn clean_image_name(template: &mut Map<String, Value>) {
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

pub(super) fn qemu_disk_size(template: &mut Map<String, Value>) {
    for builder in builders(template, &["qemu"]) {
        if let Some(Value::Number(size)) = builder.get("disk_size") {
            let text = format!("{size}M");
            builder.insert("disk_size".into(), json!(text));
        }
    }
}

pub(super) fn galaxy_command(template: &mut Map<String, Value>) {
    for provisioner in objects(template, "provisioners").into_iter().filter(|item| kind(item) == "ansible-local") {
        if let Some(value) = provisioner.remove("galaxycommand") {
            provisioner.insert("galaxy_command".into(), value);
        }
    }
}

pub(super) fn comm_config(template: &mut Map<String, Value>) {
    const KINDS: &[&str] = &["virtualbox-iso", "virtualbox-ovf", "virtualbox-vm", "qemu"];
    rename(template, KINDS, "ssh_host_port_min", "host_port_min");
    rename(template, KINDS, "ssh_host_port_max", "host_port_max");
    rename(template, KINDS, "ssh_skip_nat_mapping", "skip_nat_mapping");
}

pub(super) fn qemu_host_port(template: &mut Map<String, Value>) {
    rename(template, &["qemu"], "ssh_host_port_min", "host_port_min");
    rename(template, &["qemu"], "ssh_host_port_max", "host_port_max");
}

pub(super) fn iso_checksum(template: &mut Map<String, Value>) {
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
