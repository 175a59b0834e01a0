//! What of a spec QEMU cannot do here, found without starting anything.

use std::path::Path;

use super::arguments::{Overrides, VNC_PORT_BASE};
use super::tpm;
use crate::process::find_program;
use crate::{Accelerator, Firmware, MachineSpec, NetworkMode, Unsupported};

/// Accelerators that QEMU knows on any host (`-accel help` and Packer's list).
const ACCELERATORS: [&str; 6] = ["kvm", "tcg", "xen", "hax", "hvf", "whpx"];

/// Longest VNC password: the protocol cuts off the rest.
const VNC_PASSWORD_BYTES: usize = 8;

/// Collects every complaint.
pub(super) fn check(spec: &MachineSpec) -> Result<(), Vec<Unsupported>> {
    let mut complaints = Vec::new();
    let mut complain = |setting: &'static str, problem: String, hint: Option<&str>| {
        complaints.push(Unsupported { setting, problem, hint: hint.map(ToOwned::to_owned) });
    };
    if find_program(&spec.binary).is_none() {
        let problem = format!("{} cannot be found or run", spec.binary);
        complain("qemu_binary", problem, Some(&package_hint(&spec.binary)));
    }
    if let Accelerator::Named(name) = &spec.accelerator
        && !ACCELERATORS.contains(&name.as_str())
    {
        complain("accelerator", format!("there is no accelerator {name}"), Some("leave accelerator unset"));
    }
    if spec.tpm.is_some() && find_program(tpm::PROGRAM).is_none() {
        complain("vtpm", format!("a TPM needs the program {}", tpm::PROGRAM), Some(tpm::HINT));
    }
    if let Some(vnc) = &spec.vnc {
        if vnc.port_min < VNC_PORT_BASE || vnc.port_min > vnc.port_max {
            let problem = format!("the range {} to {} is not in {VNC_PORT_BASE} to 65535", vnc.port_min, vnc.port_max);
            complain("vnc_port_min", problem, None);
        }
        if vnc.password.as_ref().is_some_and(|password| password.len() > VNC_PASSWORD_BYTES) {
            complain("vnc_password", format!("it has more than {VNC_PASSWORD_BYTES} characters"), None);
        }
    }
    if let NetworkMode::User { forward: Some(forward) } = spec.network.mode
        && forward.host_min > forward.host_max
    {
        complain("host_port_min", format!("{} is above host_port_max", forward.host_min), None);
    }
    for (setting, path) in paths(spec) {
        if path.to_str().is_none() {
            complain(setting, format!("{} is not UTF-8, which QEMU needs", path.display()), None);
        }
    }
    let overrides = Overrides::new(&spec.extra_arguments);
    if overrides.has("-daemonize") {
        let problem = "-daemonize would take the machine out of sight".to_owned();
        complain("qemuargs", problem, Some("remove it; builds run in the background by themselves"));
    }
    if overrides.switches().any(|(_, value)| value.is_some_and(|value| value.contains('\0'))) {
        complain("qemuargs", "an argument has a NUL byte in it".to_owned(), None);
    }
    if complaints.is_empty() { Ok(()) } else { Err(complaints) }
}

fn paths(spec: &MachineSpec) -> Vec<(&'static str, &Path)> {
    let mut paths: Vec<(&'static str, &Path)> = vec![("output_directory", &spec.runtime_dir)];
    paths.extend(spec.disks.iter().map(|disk| ("output_directory", disk.path.as_path())));
    paths.extend(spec.cdroms.iter().map(|cdrom| ("iso_url", cdrom.path.as_path())));
    paths.extend(spec.floppy.iter().map(|path| ("floppy_files", path.as_path())));
    match &spec.firmware {
        Firmware::Default => {}
        Firmware::Bios(path) | Firmware::Flash(path) => paths.push(("firmware", path)),
        Firmware::Efi { code, vars } => {
            paths.extend([("efi_firmware_code", code.as_path()), ("efi_firmware_vars", vars.as_path())]);
        }
    }
    paths
}

/// Which Debian package has a QEMU program.
pub(super) fn package_hint(program: &str) -> String {
    let name = program.rsplit('/').next().unwrap_or(program);
    let package = match name.strip_prefix("qemu-system-") {
        Some("x86_64" | "i386") => "qemu-system-x86",
        Some("aarch64" | "arm") => "qemu-system-arm",
        Some(_) => "qemu-system-misc",
        None => "qemu-system-x86",
    };
    format!("install the package {package}, or set qemu_binary to the program's path")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{TpmSpec, VncSpec};

    fn settings(spec: &MachineSpec) -> Vec<&'static str> {
        check(spec).err().unwrap_or_default().iter().map(|one| one.setting).collect()
    }

    #[test]
    fn complains_about_everything_at_once() {
        let mut spec = MachineSpec::new("x", "/tmp");
        spec.binary = "/bin/true".to_owned();
        assert_eq!(settings(&spec), Vec::<&str>::new());
        spec.binary = "qemu-system-none".to_owned();
        spec.accelerator = Accelerator::Named("warp".to_owned());
        spec.vnc = Some(VncSpec {
            bind: "127.0.0.1".to_owned(),
            port_min: 80,
            port_max: 90,
            password: Some("123456789".to_owned()),
        });
        spec.network.mode =
            NetworkMode::User { forward: Some(crate::PortForward { guest_port: 22, host_min: 4, host_max: 3 }) };
        spec.extra_arguments = vec![vec!["-daemonize".to_owned()]];
        assert_eq!(
            settings(&spec),
            ["qemu_binary", "accelerator", "vnc_port_min", "vnc_password", "host_port_min", "qemuargs"]
        );
    }

    #[test]
    fn a_tpm_needs_its_emulator() {
        let mut spec = MachineSpec::new("x", "/tmp");
        spec.binary = "/bin/true".to_owned();
        spec.tpm = Some(TpmSpec { device: "tpm-tis".to_owned(), version_1_2: false });
        let missing = find_program(tpm::PROGRAM).is_none();
        assert_eq!(settings(&spec), if missing { vec!["vtpm"] } else { vec![] });
    }

    #[test]
    fn packages() {
        assert!(package_hint("/opt/qemu-system-aarch64").contains("qemu-system-arm"));
        assert!(package_hint("kvm").contains("qemu-system-x86"));
    }
}
