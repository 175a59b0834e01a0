//! Which builders, provisioners and post-processors this version has.

use kiln_template::{Catalog, ComponentType, Schema};

use crate::options::{builders, components};

static BUILDERS: [Schema; 3] = [builders::QEMU, builders::NULL, builders::FILE];

static PROVISIONERS: [Schema; 5] =
    [components::SHELL, components::SHELL_LOCAL, components::FILE, components::BREAKPOINT, components::SLEEP];

static POST_PROCESSORS: [Schema; 4] =
    [components::MANIFEST, components::CHECKSUM, components::EXPORT, components::SHELL_LOCAL_POST];

/// The components that are built in.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuiltIn;

impl BuiltIn {
    fn schemas(component: ComponentType) -> &'static [Schema] {
        match component {
            ComponentType::Builder => &BUILDERS,
            ComponentType::Provisioner => &PROVISIONERS,
            ComponentType::PostProcessor => &POST_PROCESSORS,
            _ => &[],
        }
    }
}

impl Catalog for BuiltIn {
    fn schema(&self, component: ComponentType, kind: &str) -> Option<&'static Schema> {
        Self::schemas(component).iter().find(|schema| schema.kind == kind)
    }

    fn kinds(&self, component: ComponentType) -> Vec<&'static str> {
        Self::schemas(component).iter().map(|schema| schema.kind).collect()
    }
}
