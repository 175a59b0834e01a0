//! Which builders, provisioners and post-processors this version knows.

use kiln_template::{Catalog, ComponentType, Schema};

use crate::options::{
    Definition, amazon, ansible, builders, chef, components, own, post_processors, puppet, scripts, upload, vagrant,
    virtualbox, vmware, windows,
};

static DEFINITIONS: &[&Definition] = &[
    #[cfg(test)]
    &crate::sources::fake::options::FAKE,
    &builders::QEMU,
    &builders::NULL,
    &builders::FILE,
    &virtualbox::ISO,
    &virtualbox::OVF,
    &virtualbox::VM,
    &vmware::ISO,
    &vmware::VMX,
    &scripts::SHELL,
    &scripts::SHELL_LOCAL,
    &components::FILE,
    &components::BREAKPOINT,
    &components::SLEEP,
    &components::HCP_SBOM,
    &own::REBOOT,
    &own::SBOM,
    &own::KILN_IMAGE,
    &scripts::VERIFY,
    &windows::POWERSHELL,
    &windows::WINDOWS_SHELL,
    &windows::WINDOWS_RESTART,
    &ansible::ANSIBLE,
    &ansible::ANSIBLE_LOCAL,
    &puppet::MASTERLESS,
    &puppet::SERVER,
    &chef::SOLO,
    &chef::CLIENT,
    &post_processors::MANIFEST,
    &post_processors::CHECKSUM,
    &post_processors::EXPORT,
    &post_processors::COMPRESS,
    &post_processors::ARTIFICE,
    &post_processors::PROVENANCE,
    &scripts::SHELL_LOCAL_POST,
    &vagrant::VAGRANT,
    &amazon::AMAZON_IMPORT,
    &upload::VAGRANT_CLOUD,
    &upload::VAGRANT_REGISTRY,
    &upload::HCP_VAGRANT_REGISTRY,
];

/// The components that are built in.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuiltIn;

/// Returns everything about every component.
pub(crate) fn definitions() -> impl Iterator<Item = &'static Definition> {
    DEFINITIONS.iter().copied()
}

/// Returns everything about a component, or nothing when there is no such component.
pub(crate) fn definition(component: ComponentType, kind: &str) -> Option<&'static Definition> {
    definitions().find(|definition| definition.component == component && definition.schema.kind == kind)
}

impl Catalog for BuiltIn {
    fn schema(&self, component: ComponentType, kind: &str) -> Option<&'static Schema> {
        definition(component, kind).map(|definition| &definition.schema)
    }

    fn kinds(&self, component: ComponentType) -> Vec<&'static str> {
        definitions()
            .filter(|definition| definition.component == component)
            .map(|definition| definition.schema.kind)
            .collect()
    }
}
