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

/// Renames an option, whose value replaces what the new name has.
pub(super) fn rename(template: &mut Map<String, Value>, kinds: &[&str], old: &str, new: &str) {
    for builder in builders(template, kinds) {
        if let Some(value) = builder.remove(old) {
            builder.insert(new.into(), value);
        }
    }
}

/// Renames an option whose value has the type that Packer expects; any other is left for the person to see. Where the new
/// name is there already, it holds and the old one goes.
pub(super) fn rename_if(
    template: &mut Map<String, Value>,
    kinds: &[&str],
    applies: fn(&Value) -> bool,
    old: &str,
    new: &str,
) {
    for builder in builders(template, kinds) {
        if builder.get(old).is_some_and(applies)
            && let Some(value) = builder.remove(old)
        {
            builder.entry(new).or_insert(value);
        }
    }
}

pub(super) fn remove(template: &mut Map<String, Value>, kinds: &[&str], name: &str) {
    for builder in builders(template, kinds) {
        builder.remove(name);
    }
}

/// Renames a builder's kind.
pub(super) fn rename_builder(template: &mut Map<String, Value>, old: &str, new: &str) {
    for builder in builders(template, &[old]) {
        builder.insert("type".into(), json!(new));
    }
}

/// Renames the builder virtualbox, and what provisioners override for it.
pub(super) fn virtualbox_rename(template: &mut Map<String, Value>) {
    rename_builder(template, "virtualbox", "virtualbox-iso");
    for provisioner in objects(template, "provisioners") {
        if let Some(overrides) = provisioner.get_mut("override").and_then(Value::as_object_mut)
            && let Some(value) = overrides.remove("virtualbox")
        {
            overrides.insert("virtualbox-iso".into(), value);
        }
    }
}

pub(super) fn iso_md5(template: &mut Map<String, Value>) {
    for builder in builders(template, &[]) {
        if builder.get("iso_md5").is_some_and(Value::is_string)
            && let Some(hash) = builder.remove("iso_md5")
        {
            builder.insert("iso_checksum".into(), hash);
            builder.insert("iso_checksum_type".into(), json!("md5"));
        }
    }
}

pub(super) fn create_time(template: &mut Map<String, Value>) {
    static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(r"\{\{\s*\.CreateTime\s*\}\}").ok());
    let Some(pattern) = PATTERN.as_ref() else { return };
    for builder in builders(template, &[]) {
        for name in ["ami_name", "bundle_prefix", "snapshot_name"] {
            if let Some(Value::String(text)) = builder.get_mut(name) {
                *text = pattern.replace_all(text, "{{timestamp}}").into_owned();
            }
        }
    }
}

pub(super) fn additions_attach(template: &mut Map<String, Value>) {
    // The builder is renamed only after this.
    for builder in builders(template, &["virtualbox"]) {
        if let Some(&Value::Bool(attach)) = builder.get("guest_additions_attach") {
            builder.remove("guest_additions_attach");
            builder.insert("guest_additions_mode".into(), json!(if attach { "attach" } else { "upload" }));
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
        if post_processor.get("filename").is_some_and(Value::is_string)
            && let Some(value) = post_processor.remove("filename")
        {
            post_processor.insert("output".into(), value);
        }
    }
}

pub(super) fn amazon_private_ip(template: &mut Map<String, Value>) {
    for builder in builders(template, &[]).into_iter().filter(|builder| kind(builder).starts_with("amazon-")) {
        // Who has written the new name already means that.
        if builder.contains_key("ssh_interface") {
            continue;
        }
        let private = match builder.get("ssh_private_ip") {
            Some(Value::Bool(private)) => *private,
            Some(Value::String(text)) => match text.as_str() {
                "1" | "t" | "T" | "true" | "True" | "TRUE" => true,
                "0" | "f" | "F" | "false" | "False" | "FALSE" => false,
                _ => continue,
            },
            _ => continue,
        };
        builder.remove("ssh_private_ip");
        builder.insert("ssh_interface".into(), json!(if private { "private_ip" } else { "public_ip" }));
    }
}

pub(super) fn amazon_cidrs(template: &mut Map<String, Value>) {
    for builder in builders(template, &[]).into_iter().filter(|builder| kind(builder).starts_with("amazon-")) {
        if let Some(Value::String(cidr)) = builder.get("temporary_security_group_source_cidr").cloned() {
            builder.remove("temporary_security_group_source_cidr");
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
        post_processor.remove("login_email");
    }
}

pub(super) fn docker_tags(template: &mut Map<String, Value>) {
    for post_processor in post_processors(template).into_iter().filter(|item| kind(item) == "docker-tag") {
        let mut tags: Vec<Value> = match post_processor.remove("tag") {
            Some(Value::Array(tags)) => tags,
            Some(Value::String(list)) => list.split(',').map(|tag| json!(tag.trim())).collect(),
            _ => Vec::new(),
        };
        match post_processor.remove("tags") {
            Some(Value::Array(more)) => tags.extend(more),
            Some(single @ Value::String(_)) => tags.push(single),
            _ => {}
        }
        let mut seen = Vec::new();
        tags.retain(|tag| {
            let new = !seen.contains(tag);
            seen.push(tag.clone());
            new
        });
        post_processor.insert("tags".into(), Value::Array(tags));
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
            if let Some(value) = provisioner.get_mut(name)
                && (name != "environment_vars" || value.is_array())
            {
                each_text(value, &plain);
            }
        }
    }
}

/// On ESXi only thin disks can be compacted.
pub(super) fn vmware_compaction(template: &mut Map<String, Value>) {
    for builder in builders(template, &["vmware-iso"]) {
        let is = |name: &str, text: &str| builder.get(name).and_then(Value::as_str) == Some(text);
        let disk_type_is_text = builder.get("disk_type_id").is_none_or(Value::is_string);
        if is("remote_type", "esx5") && !is("disk_type_id", "thin") && disk_type_is_text {
            builder.entry("disk_type_id").or_insert(json!("zeroedthick"));
            builder.insert("skip_compaction".into(), json!(true));
        }
    }
}

pub(super) fn vsphere_adapters(template: &mut Map<String, Value>) {
    const MOVES: &[(&str, &[(&str, &str)])] = &[
        (
            "network_adapters",
            // Of two names for one option the second holds.
            &[("network", "network"), ("networkCard", "network_card"), ("network_card", "network_card")],
        ),
        (
            "storage",
            &[
                ("disk_size", "disk_size"),
                ("disk_thin_provisioned", "disk_thin_provisioned"),
                ("disk_eagerly_scrub", "disk_eagerly_scrub"),
            ],
        ),
    ];
    for builder in builders(template, &["vsphere-iso"]) {
        for (list, names) in MOVES {
            // What is no block is left, with its neighbours, for the person to see.
            if builder.get(*list).is_some_and(|known| !known.is_array() && !known.is_object()) {
                continue;
            }
            let moved: Map<String, Value> =
                names.iter().filter_map(|(old, new)| Some(((*new).to_owned(), builder.remove(*old)?))).collect();
            if moved.is_empty() {
                continue;
            }
            let mut blocks = vec![Value::Object(moved)];
            match builder.remove(*list) {
                Some(Value::Array(known)) => blocks.extend(known),
                Some(known) => blocks.push(known),
                None => {}
            }
            builder.insert((*list).into(), Value::Array(blocks));
        }
    }
}

pub(super) fn azure_exclude(template: &mut Map<String, Value>) {
    for builder in builders(template, &["azure-chroot"]) {
        if let Some(destination) = builder.get_mut("shared_image_destination").and_then(Value::as_object_mut)
            && let Some(value) = destination.remove("exlude_from_latest")
        {
            destination.insert("exclude_from_latest".into(), value);
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
            if let Value::String(text) = value {
                *text = text
                    .replace("clean_ami_name", "clean_resource_name")
                    .replace("clean_image_name", "clean_resource_name");
            }
        }
    }
}

pub(super) fn qemu_disk_size(template: &mut Map<String, Value>) {
    for builder in builders(template, &["qemu"]) {
        if let Some(Value::Number(size)) = builder.get("disk_size") {
            let text = format!("{}M", size.as_f64().unwrap_or_default().trunc());
            builder.insert("disk_size".into(), json!(text));
        }
    }
}

pub(super) fn galaxy_command(template: &mut Map<String, Value>) {
    for provisioner in objects(template, "provisioners").into_iter().filter(|item| kind(item) == "ansible-local") {
        let is_known = provisioner.contains_key("galaxy_command");
        if (is_known || provisioner.get("galaxycommand").is_some_and(Value::is_string))
            && let Some(value) = provisioner.remove("galaxycommand")
        {
            provisioner.entry("galaxy_command").or_insert(value);
        }
    }
}

pub(super) fn comm_config(template: &mut Map<String, Value>) {
    const KINDS: &[&str] = &["virtualbox-iso", "virtualbox-ovf", "virtualbox-vm"];
    rename_if(template, KINDS, |_| true, "ssh_host_port_min", "host_port_min");
    rename_if(template, KINDS, |_| true, "ssh_host_port_max", "host_port_max");
    for builder in builders(template, KINDS).into_iter().filter(|builder| builder.contains_key("skip_nat_mapping")) {
        builder.remove("ssh_skip_nat_mapping");
    }
    rename_if(template, KINDS, Value::is_boolean, "ssh_skip_nat_mapping", "skip_nat_mapping");
}

pub(super) fn ssh_wait_timeout(template: &mut Map<String, Value>) {
    for builder in builders(template, &[]).into_iter().filter(|builder| builder.contains_key("ssh_timeout")) {
        builder.remove("ssh_wait_timeout");
    }
    rename_if(template, &[], Value::is_string, "ssh_wait_timeout", "ssh_timeout");
}

/// Here the old options win, as in Packer.
pub(super) fn qemu_host_port(template: &mut Map<String, Value>) {
    rename(template, &["qemu"], "ssh_host_port_min", "host_port_min");
    rename(template, &["qemu"], "ssh_host_port_max", "host_port_max");
}

pub(super) fn iso_checksum(template: &mut Map<String, Value>) {
    for builder in builders(template, &[]) {
        let text = |value: Option<Value>| {
            value.and_then(|value| value.as_str().map(str::to_owned)).filter(|text| !text.is_empty())
        };
        let kind = text(builder.remove("iso_checksum_type"));
        let url = text(builder.remove("iso_checksum_url"));
        let has_checksum = builder.contains_key("iso_checksum");
        let checksum = text(builder.get("iso_checksum").cloned());
        let new = match (kind.as_deref(), url, checksum) {
            (_, Some(url), _) => format!("file:{url}"),
            // Packer writes "none:" and the checksum, which it then refuses.
            (Some("none"), ..) if has_checksum => "none".to_owned(),
            (Some(kind), None, Some(checksum)) => format!("{kind}:{checksum}"),
            _ => continue,
        };
        builder.insert("iso_checksum".into(), json!(new));
    }
}
