//! Owns `fix`: legacy JSON templates of older Packers brought up to date.

mod changes;

use serde_json::{Map, Value};
use thiserror::Error;

use crate::language::syntax::json;
use changes::*;

/// Why a template cannot be fixed.
#[derive(Debug, Error)]
pub enum FixError {
    /// It is not JSON.
    #[error("the template is not JSON: {0}")]
    Parse(#[from] serde_json::Error),
    /// Its root is not an object.
    #[error("the template is not a JSON object")]
    NotAnObject,
    /// It is larger than a template can be.
    #[error("the template is too large")]
    TooLarge,
}

/// One change that newer Packers need.
struct Fixer {
    name: &'static str,
    synopsis: &'static str,
    apply: fn(&mut Map<String, Value>),
}

/// Amazon's builders; the first knows no spot prices.
const AMAZON: &[&str] = &["amazon-chroot", "amazon-ebs", "amazon-ebssurrogate", "amazon-ebsvolume", "amazon-instance"];

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
        apply: virtualbox_rename,
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
        apply: |t| rename_if(t, &[], Value::is_string, "ssh_key_path", "ssh_private_key_file"),
    },
    Fixer {
        name: "sshdisableagent",
        synopsis: "renames ssh_disable_agent to ssh_disable_agent_forwarding",
        apply: |t| rename_if(t, &[], Value::is_boolean, "ssh_disable_agent", "ssh_disable_agent_forwarding"),
    },
    Fixer {
        name: "scaleway-access-key",
        synopsis: "renames access_key of scaleway to organization_id",
        apply: |t| rename_if(t, &["scaleway"], Value::is_string, "access_key", "organization_id"),
    },
    Fixer {
        name: "manifest-filename",
        synopsis: "renames filename of the manifest post-processor to output",
        apply: manifest_filename,
    },
    Fixer {
        name: "amazon-shutdown_behavior",
        synopsis: "renames shutdown_behaviour",
        apply: |t| rename(t, AMAZON, "shutdown_behaviour", "shutdown_behavior"),
    },
    Fixer {
        name: "amazon-enhanced-networking",
        synopsis: "renames enhanced_networking to ena_support",
        apply: |t| rename_if(t, AMAZON, Value::is_boolean, "enhanced_networking", "ena_support"),
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
        name: "vmware-compaction",
        synopsis: "adds skip_compaction and disk_type_id to vmware-iso on ESXi",
        apply: vmware_compaction,
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
        apply: |t| remove(t, &AMAZON[1..], "spot_price_auto_product"),
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
    Fixer { name: "ssh-wait-timeout", synopsis: "renames ssh_wait_timeout to ssh_timeout", apply: ssh_wait_timeout },
    Fixer {
        name: "vsphere-iso-net-disk",
        synopsis: "moves network and disk options of vsphere-iso into network_adapters and storage",
        apply: vsphere_adapters,
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
        name: "azure-exclude_from_latest",
        synopsis: "renames exlude_from_latest of Azure's shared_image_destination to exclude_from_latest",
        apply: azure_exclude,
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
/// When the text is not a JSON object, or has more words and signs than a template can have.
pub fn fix(text: &str) -> Result<String, FixError> {
    if json::limit(text).is_some() {
        return Err(FixError::TooLarge);
    }
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
        Value::Number(number) => out.push_str(&number.as_f64().map_or_else(|| number.to_string(), go_number)),
        other => out.push_str(&other.to_string()),
    }
}

/// Writes a number as Go's encoding/json writes a float64, which is what every number is to Packer.
fn go_number(number: f64) -> String {
    let size = number.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{number:e}");
        return if size < 1.0 { text } else { text.replace('e', "e+") };
    }
    number.to_string()
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

#[cfg(test)]
mod tests {
    use super::fix;

    fn fixed(list: &str, component: &str) -> serde_json::Value {
        let text = fix(&format!("{{\"{list}\": [{component}]}}")).unwrap();
        let template: serde_json::Value = serde_json::from_str(&text).unwrap();
        template[list][0].clone()
    }

    /// Recorded from Packer 1.6.6, except where `network_adapters` is no list, on which it crashes.
    #[test]
    fn of_an_old_and_a_new_name_the_right_one_holds() {
        let builders = [
            (r#"{"type":"null","ssh_timeout":"7m","ssh_wait_timeout":"9m"}"#, r#"{"type":"null","ssh_timeout":"7m"}"#),
            (r#"{"type":"null","ssh_timeout":null,"ssh_wait_timeout":9}"#, r#"{"type":"null","ssh_timeout":null}"#),
            (r#"{"type":"null","ssh_wait_timeout":9}"#, r#"{"type":"null","ssh_wait_timeout":9}"#),
            (
                r#"{"type":"null","ssh_private_key_file":"","ssh_key_path":"b"}"#,
                r#"{"type":"null","ssh_private_key_file":""}"#,
            ),
            (
                r#"{"type":"null","ssh_private_key_file":"a","ssh_key_path":5}"#,
                r#"{"type":"null","ssh_private_key_file":"a","ssh_key_path":5}"#,
            ),
            (
                r#"{"type":"null","ssh_disable_agent":true,"ssh_disable_agent_forwarding":false}"#,
                r#"{"type":"null","ssh_disable_agent_forwarding":false}"#,
            ),
            (
                r#"{"type":"virtualbox-iso","ssh_host_port_min":1,"host_port_min":2,"ssh_host_port_max":"x"}"#,
                r#"{"type":"virtualbox-iso","host_port_min":2,"host_port_max":"x"}"#,
            ),
            (
                r#"{"type":"virtualbox-vm","ssh_skip_nat_mapping":"x","skip_nat_mapping":false}"#,
                r#"{"type":"virtualbox-vm","skip_nat_mapping":false}"#,
            ),
            (r#"{"type":"qemu","ssh_host_port_min":1,"host_port_min":2}"#, r#"{"type":"qemu","host_port_min":1}"#),
            (
                r#"{"type":"scaleway","access_key":"a","organization_id":"o"}"#,
                r#"{"type":"scaleway","organization_id":"o"}"#,
            ),
            (
                r#"{"type":"vsphere-iso","network":"n","networkCard":"e"}"#,
                r#"{"type":"vsphere-iso","network_adapters":[{"network":"n","network_card":"e"}]}"#,
            ),
            (
                r#"{"type":"vsphere-iso","networkCard":"e","network_card":"x"}"#,
                r#"{"type":"vsphere-iso","network_adapters":[{"network_card":"x"}]}"#,
            ),
            (
                r#"{"type":"vsphere-iso","network":"n","network_adapters":[{"network":"m"}]}"#,
                r#"{"type":"vsphere-iso","network_adapters":[{"network":"n"},{"network":"m"}]}"#,
            ),
            (
                r#"{"type":"vsphere-iso","network":"n","network_adapters":{"network":"m"}}"#,
                r#"{"type":"vsphere-iso","network_adapters":[{"network":"n"},{"network":"m"}]}"#,
            ),
            (
                r#"{"type":"vsphere-iso","networkCard":"e","network_adapters":"odd"}"#,
                r#"{"type":"vsphere-iso","networkCard":"e","network_adapters":"odd"}"#,
            ),
            (
                r#"{"type":"vsphere-clone","network":"n","networkCard":"e"}"#,
                r#"{"type":"vsphere-clone","network":"n","networkCard":"e"}"#,
            ),
        ];
        for (given, wanted) in builders {
            let wanted: serde_json::Value = serde_json::from_str(wanted).unwrap();
            assert_eq!(fixed("builders", given), wanted, "{given}");
        }
        let galaxy = r#"{"type":"ansible-local","galaxycommand":5,"galaxy_command":"b"}"#;
        assert_eq!(fixed("provisioners", galaxy)["galaxy_command"], "b");
        assert!(fixed("provisioners", galaxy).get("galaxycommand").is_none());
    }

    /// What Go's `json.Marshal` makes of what `json.Unmarshal` made of each.
    #[test]
    fn numbers_as_go_writes_them() {
        let cases = [
            ("5900", "5900"),
            ("5900.0", "5900"),
            ("1e3", "1000"),
            ("0.5", "0.5"),
            ("-0.0", "-0"),
            ("1e20", "100000000000000000000"),
            ("1e21", "1e+21"),
            ("12345678901234567890", "12345678901234567000"),
            ("9007199254740993", "9007199254740992"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("-1.5e-9", "-1.5e-9"),
        ];
        for (written, expected) in cases {
            let fixed = fix(&format!("{{\"a\": {written}}}")).unwrap();
            assert_eq!(fixed, format!("{{\n  \"a\": {expected}\n}}\n"), "{written}");
        }
    }

    /// Recorded from Packer 1.6.6, except what is no boolean, on which it gives up or crashes.
    #[test]
    fn the_interface_of_amazon() {
        for (before, after) in [
            (r#""ssh_private_ip":true"#, r#""ssh_interface":"private_ip""#),
            (r#""ssh_private_ip":"F""#, r#""ssh_interface":"public_ip""#),
            (r#""ssh_private_ip":"1""#, r#""ssh_interface":"private_ip""#),
        ] {
            let builder = |options: &str| format!(r#"{{"type":"amazon-ebs",{options}}}"#);
            let after: serde_json::Value = serde_json::from_str(&builder(after)).unwrap();
            assert_eq!(fixed("builders", &builder(before)), after, "{before}");
        }
        for same in [
            r#"{"type":"amazon-ebs","ssh_interface":"session_manager","ssh_private_ip":true}"#,
            r#"{"type":"amazon-ebs","ssh_interface":null,"ssh_private_ip":"false"}"#,
            r#"{"type":"amazon-ebs","ssh_private_ip":"{{user `private`}}"}"#,
            r#"{"type":"amazon-ebs","ssh_private_ip":1}"#,
            r#"{"type":"amazon-ebs","ssh_private_ip":null}"#,
            r#"{"type":"amazon","ssh_private_ip":true}"#,
        ] {
            let expected: serde_json::Value = serde_json::from_str(same).unwrap();
            assert_eq!(fixed("builders", same), expected, "{same}");
        }
    }
}
