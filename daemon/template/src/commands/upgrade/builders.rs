//! Owns which builders there are: `hcl2_upgrade` refuses a type that nobody knows, as Packer does.

use crate::diagnostics::suggest::did_you_mean;
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::legacy::Template;

/// Builders that Packer once contained, by the plugin they belong to now.
const CONTAINED: &[&str] = &[
    "alicloud-ecs",
    "amazon-chroot",
    "amazon-ebs",
    "amazon-ebssurrogate",
    "amazon-ebsvolume",
    "amazon-instance",
    "azure-arm",
    "azure-chroot",
    "azure-dtl",
    "cloudstack",
    "digitalocean",
    "docker",
    "file",
    "googlecompute",
    "hcloud",
    "hyperone",
    "hyperv-iso",
    "hyperv-vmcx",
    "jdcloud",
    "linode",
    "lxc",
    "lxd",
    "ncloud",
    "null",
    "oneandone",
    "openstack",
    "oracle-classic",
    "oracle-oci",
    "osc-bsu",
    "osc-bsusurrogate",
    "osc-bsuvolume",
    "osc-chroot",
    "parallels-iso",
    "parallels-pvm",
    "profitbricks",
    "proxmox",
    "proxmox-clone",
    "proxmox-iso",
    "qemu",
    "scaleway",
    "tencentcloud-cvm",
    "triton",
    "ucloud-uhost",
    "vagrant",
    "virtualbox-iso",
    "virtualbox-ovf",
    "virtualbox-vm",
    "vmware-iso",
    "vmware-vmx",
    "vsphere-clone",
    "vsphere-iso",
    "yandex",
];

/// Builders of plugins that have never been a part of Packer.
const OF_PLUGINS: &[&str] = &[
    "arm",
    "arm-image",
    "cross",
    "exoscale",
    "huaweicloud-ecs",
    "ibmcloud-classic",
    "ibmcloud-vpc",
    "incus",
    "kamatera",
    "nutanix",
    "outscale-bsu",
    "outscale-bsusurrogate",
    "outscale-bsuvolume",
    "outscale-chroot",
    "oxide-instance",
    "parallels-ipsw",
    "parallels-macvm",
    "powervs",
    "sakuracloud",
    "tart-cli",
    "upcloud",
    "utm-iso",
    "utm-utm",
    "veertu-anka-vm-clone",
    "veertu-anka-vm-create",
    "volcengine-ecs",
    "vsphere-supervisor",
    "vultr",
    "xenserver-iso",
];

/// Names that older Packers had, and those that `fix` gives them.
const RENAMED: &[(&str, &str)] = &[("virtualbox", "virtualbox-iso"), ("vmware", "vmware-iso")];

/// Refuses every builder of a type that nobody knows.
pub(super) fn check(template: &Template, diagnostics: &mut Diagnostics) {
    let known = || CONTAINED.iter().chain(OF_PLUGINS).copied();
    for builder in template.builders.iter().filter(|builder| !known().any(|kind| kind == builder.kind)) {
        let hint = match RENAMED.iter().find(|(old, _)| *old == builder.kind) {
            Some((_, new)) => format!("run `kiln fix` on the template first: it is {new:?} now"),
            None => did_you_mean(&builder.kind, known())
                .unwrap_or_else(|| "write the name of a builder of Packer or of one of its plugins".to_owned()),
        };
        let detail = format!("unknown builder type: {:?}", builder.kind);
        diagnostics.push(Diagnostic::error("Unknown builder type", detail).at(builder.span).hint(hint));
    }
}
