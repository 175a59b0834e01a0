//! Owns what is said about components that are not here: those of other platforms' plugins, and typos.

use super::schema::{Catalog, ComponentType, Schema};
use crate::diagnostics::source_map::Span;
use crate::diagnostics::suggest::did_you_mean;
use crate::diagnostics::{Diagnostic, Diagnostics};

/// Beginnings of component names, and the platform or tool whose plugin has them.
const PLATFORMS: &[(&str, &str)] = &[
    ("alicloud-", "Alibaba Cloud"),
    ("amazon-", "Amazon EC2"),
    ("anka", "Anka"),
    ("arm", "the ARM image builder"),
    ("azure-", "Microsoft Azure"),
    ("chef-", "Chef"),
    ("cloudstack", "Apache CloudStack"),
    ("comment", "the comment plugin"),
    ("converge", "Converge"),
    ("cross", "the cross plugin"),
    ("digitalocean", "DigitalOcean"),
    ("docker", "Docker"),
    ("exoscale-", "Exoscale"),
    ("external", "the external plugin"),
    ("git-", "the git plugin"),
    ("googlecompute", "Google Compute Engine"),
    ("goss", "goss"),
    ("hcloud", "Hetzner Cloud"),
    ("hcp-", "HCP Packer"),
    ("hyperone", "HyperOne"),
    ("hyperv-", "Hyper-V"),
    ("ibmcloud", "IBM Cloud"),
    ("inspec", "InSpec"),
    ("jdcloud", "JD Cloud"),
    ("kamatera", "Kamatera"),
    ("linode", "Linode"),
    ("libvirt", "libvirt"),
    ("lxc", "LXC"),
    ("lxd", "LXD"),
    ("ncloud", "Naver Cloud"),
    ("nutanix", "Nutanix"),
    ("oneandone", "1&1"),
    ("openstack", "OpenStack"),
    ("oracle-", "Oracle Cloud"),
    ("osc-", "Outscale"),
    ("parallels-", "Parallels Desktop"),
    ("podman", "Podman"),
    ("profitbricks", "ProfitBricks"),
    ("proxmox", "Proxmox VE"),
    ("salt-", "Salt"),
    ("scaleway", "Scaleway"),
    ("tart", "Tart"),
    ("tencentcloud-", "Tencent Cloud"),
    ("triton", "Triton"),
    ("ucloud-", "UCloud"),
    ("upcloud", "UpCloud"),
    ("utm-", "UTM"),
    ("vsphere", "VMware vSphere"),
    ("vultr", "Vultr"),
    ("windows-update", "Windows updates"),
    ("yandex", "Yandex Cloud"),
];

/// Reports whether a component has the name of one of a platform's or tool's plugin.
pub(crate) fn is_of_a_platform(kind: &str) -> bool {
    PLATFORMS.iter().any(|(prefix, _)| kind.starts_with(prefix))
}

/// Explains a component that does not exist here; `known` are those that do.
pub(crate) fn unknown_component(component: ComponentType, kind: &str, known: &[&'static str]) -> Diagnostic {
    let noun = component.noun();
    let summary = format!("Unknown {noun} {kind:?}");
    let mut known: Vec<&str> = known.to_vec();
    known.sort_unstable();
    let available = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
    let suggestion = did_you_mean(kind, known.iter().copied());
    let platform = PLATFORMS.iter().find(|(prefix, _)| kind.starts_with(prefix)).map(|(_, platform)| platform);
    match (suggestion, platform) {
        (Some(suggestion), _) => {
            Diagnostic::error(summary, format!("There is no {noun} of this kind. Available: {available}."))
                .hint(suggestion)
        }
        (None, Some(platform)) => {
            let detail = format!(
                "This {noun} belongs to the plugin for {platform}. Kiln builds on this machine and runs no plugins. \
                 Available: {available}."
            );
            let diagnostic = Diagnostic::error(summary, detail);
            if component == ComponentType::Builder {
                diagnostic
                    .hint("select the local builds of the template with -only, or leave this one out with -except")
            } else {
                diagnostic
            }
        }
        (None, None) => {
            let detail = format!("Kiln has no {noun} of this kind and runs no plugins. Available: {available}.");
            Diagnostic::error(summary, detail)
        }
    }
}

/// Looks a component up, or explains why there is none.
pub(crate) fn schema_of(
    catalog: &dyn Catalog,
    component: ComponentType,
    kind: &str,
    span: Span,
    diagnostics: &mut Diagnostics,
) -> Option<&'static Schema> {
    let schema = catalog.schema(component, kind);
    if schema.is_none() {
        diagnostics.push(unknown_component(component, kind, &catalog.kinds(component)).at(span));
    }
    schema
}
