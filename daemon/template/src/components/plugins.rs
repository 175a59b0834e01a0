//! Owns what a template can ask of plugins, and which plugins' components are built in.
//!
//! Versions are those of the plugins whose options and behaviour the built-in components follow (Packer's own releases,
//! November 2026). `daemon/builder` checks this table against its catalog.

use super::schema::ComponentType;
use super::version::Constraints;
use crate::diagnostics::source_map::Span;

/// A plugin whose components are here without it.
#[derive(Debug, Clone, Copy)]
pub struct BuiltInPlugin {
    /// Where templates get it from: host, namespace and name.
    pub source: &'static str,
    /// The version that the components follow.
    pub version: &'static str,
    /// Its components that are here.
    pub components: &'static [(ComponentType, &'static str)],
}

use ComponentType::{Builder, PostProcessor, Provisioner};

/// All plugins whose components are built in.
pub const BUILT_IN_PLUGINS: &[BuiltInPlugin] = &[
    BuiltInPlugin { source: "github.com/hashicorp/qemu", version: "1.1.5", components: &[(Builder, "qemu")] },
    BuiltInPlugin {
        source: "github.com/hashicorp/virtualbox",
        version: "1.1.6",
        components: &[(Builder, "virtualbox-iso"), (Builder, "virtualbox-ovf"), (Builder, "virtualbox-vm")],
    },
    BuiltInPlugin {
        source: "github.com/hashicorp/vmware",
        version: "2.1.1",
        components: &[(Builder, "vmware-iso"), (Builder, "vmware-vmx")],
    },
    BuiltInPlugin {
        source: "github.com/hashicorp/vagrant",
        version: "1.1.7",
        components: &[(PostProcessor, "vagrant"), (PostProcessor, "vagrant-cloud")],
    },
    BuiltInPlugin {
        source: "github.com/hashicorp/ansible",
        version: "1.1.7",
        components: &[(Provisioner, "ansible"), (Provisioner, "ansible-local")],
    },
    BuiltInPlugin {
        source: "github.com/hashicorp/puppet",
        version: "1.0.1",
        components: &[(Provisioner, "puppet-masterless"), (Provisioner, "puppet-server")],
    },
    BuiltInPlugin {
        source: "github.com/hashicorp/chef",
        version: "1.0.2",
        components: &[(Provisioner, "chef-solo"), (Provisioner, "chef-client")],
    },
];

/// Returns the built-in plugin of a source; letter case does not count.
#[must_use]
pub fn built_in_plugin(source: &str) -> Option<&'static BuiltInPlugin> {
    let source = source.trim().to_ascii_lowercase();
    BUILT_IN_PLUGINS.iter().find(|plugin| plugin.source == source)
}

impl BuiltInPlugin {
    /// Reports whether the version satisfies constraints such as `>= 1.0, < 2`; those that cannot be read are not satisfied.
    #[must_use]
    pub fn satisfies(&self, constraints: &str) -> bool {
        Constraints::parse(constraints).is_ok_and(|constraints| constraints.allow_version(self.version))
    }
}

/// An entry of `required_plugins`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginRequirement {
    /// The name the template gives it.
    pub name: String,
    /// Host, namespace and name.
    pub source: String,
    /// The constraint as written; of several files joined with commas.
    pub version: String,
    /// Where it stands first.
    pub span: Span,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints_hold_against_what_is_built_in() {
        let plugin = built_in_plugin("GitHub.com/hashicorp/qemu").unwrap();
        assert!(plugin.satisfies("~> 1") && plugin.satisfies(">= 1.0.9, < 2"));
        assert!(!plugin.satisfies("= 1.0.9") && !plugin.satisfies("nonsense"));
        assert!(built_in_plugin("github.com/hashicorp/amazon").is_none());
    }
}
