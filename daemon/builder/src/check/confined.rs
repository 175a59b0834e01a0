//! Owns what a job may not do that is confined to its guests: run programs of this machine, and give hypervisors options as it likes.
//!
//! It is a rule of the machine's administrator (polkit's action `org.kiln.Kiln1.build-unconfined`), and no wall: a job has the rights of its
//! user, who may have a shell as well.

use std::collections::BTreeMap;

use kiln_template::{ComponentType, Diagnostic, Diagnostics, EvaluatedBuild, Generated};

/// Is `1` in the environment of a worker whose job is confined.
pub const KILN_CONFINED: &str = "KILN_CONFINED";

/// Components that run a program of this machine which the template names or brings along.
const PROGRAMS: &[(ComponentType, &str)] = &[
    (ComponentType::Provisioner, "shell-local"),
    (ComponentType::Provisioner, "ansible"),
    (ComponentType::PostProcessor, "shell-local"),
];

/// Options of builders with which a hypervisor, or its program, does anything.
const OPTIONS: &[(&str, &[&str])] = &[
    ("qemu", &["qemuargs", "qemu_binary", "qemu_img_args", "net_bridge"]),
    ("virtualbox-iso", &["vboxmanage", "vboxmanage_post"]),
    ("virtualbox-ovf", &["vboxmanage", "vboxmanage_post", "import_flags"]),
    ("virtualbox-vm", &["vboxmanage", "vboxmanage_post"]),
    ("vmware-iso", &["vmx_data", "vmx_data_post", "network"]),
    ("vmware-vmx", &["vmx_data", "vmx_data_post"]),
];

/// Whether the job of this environment is confined.
pub(super) fn is_asked_for(environment: &BTreeMap<String, String>) -> bool {
    environment.get(KILN_CONFINED).is_some_and(|value| value == "1")
}

/// Complains about everything that leaves the guest.
pub(super) fn check(build: &EvaluatedBuild, diagnostics: &mut Diagnostics) {
    let provisioners = build.provisioners.iter().chain(&build.cleanup_provisioner).map(|part| &part.component);
    let post_processors = build.post_processors.iter().flatten().map(|part| &part.component);
    let parts = provisioners.map(|part| (ComponentType::Provisioner, part));
    for (kind, part) in parts.chain(post_processors.map(|part| (ComponentType::PostProcessor, part))) {
        if PROGRAMS.contains(&(kind, &*part.kind)) {
            let detail = format!("The {} {:?} runs programs of this machine.", kind.noun(), part.kind);
            diagnostics.push(forbidden(detail).at(part.span));
        }
    }
    let (options, _) = build.source.decode_partly(&Generated::plan());
    for name in OPTIONS.iter().filter(|(kind, _)| *kind == build.source_type).flat_map(|(_, names)| *names) {
        if options.is_set(name) {
            let detail = format!("{name} makes the hypervisor of {:?} do anything on this machine.", build.name);
            diagnostics.push(forbidden(detail).at(options.span_of(name)));
        }
    }
}

fn forbidden(detail: String) -> Diagnostic {
    // The client knows it by these words (client/src/commands/display.rs).
    Diagnostic::error("Not confined to the guest", detail)
        .hint("Root lets you for good with `usermod -aG kiln-builders USER`, which cron and CI need; at a terminal `kiln build`, without -detach and -json, asks for an administrator's password. `kilnd --user` builds it with your own rights. polkit decides (org.kiln.Kiln1.build-unconfined)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::definition;

    #[test]
    fn what_is_forbidden_is_there() {
        for (component, kind) in PROGRAMS {
            assert!(definition(*component, kind).is_some(), "{kind}");
        }
        for (kind, options) in OPTIONS {
            let schema = &definition(ComponentType::Builder, kind).unwrap().schema;
            for name in *options {
                assert!(schema.spec(name).is_some(), "{kind}: {name}");
            }
        }
    }
}
