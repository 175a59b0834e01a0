//! Owns the packer block of an upgraded template: which version and plugins it needs.

use std::collections::BTreeSet;

use super::calls::quoted;
use super::notes;
use crate::legacy::Template;

/// Plugins that Packer once contained: a component belongs to the plugin its kind begins with.
const KNOWN: &[&str] =
    &["amazon", "ansible", "azure", "docker", "googlecompute", "qemu", "vagrant", "virtualbox", "vmware", "vsphere"];

/// Returns the packer block; nothing when nothing is needed.
pub(super) fn packer_block(template: &Template, annotated: bool) -> String {
    let builders = template.builders.iter().map(|item| item.kind.as_str());
    let provisioners = template.provisioners.iter().chain(&template.cleanup).map(|item| item.kind.as_str());
    let post_processors = template.post_processors.iter().flatten().map(|item| item.kind.as_str());
    let plugin_of = |kind: &str| {
        KNOWN.iter().find(|name| kind.strip_prefix(**name).is_some_and(|rest| rest.is_empty() || rest.starts_with('-')))
    };
    let plugins: BTreeSet<&str> =
        builders.chain(provisioners).chain(post_processors).filter_map(plugin_of).copied().collect();
    if template.min_version.is_none() && plugins.is_empty() {
        return String::new();
    }
    let mut out = String::from(if annotated { notes::PACKER } else { "" });
    out.push_str("packer {\n");
    if let Some(version) = &template.min_version {
        out.push_str(&format!("required_version = {}\n", quoted(&format!(">= {version}"))));
    }
    if !plugins.is_empty() {
        out.push_str("required_plugins {\n");
        for name in plugins {
            let source = format!("github.com/hashicorp/{name}");
            out.push_str(&format!("{name} = {{\nsource = \"{source}\"\nversion = \"~> 1\"\n}}\n"));
        }
        out.push_str("}\n");
    }
    out.push_str("}\n");
    out
}
