//! What of a spec QEMU cannot do here, found without starting anything.

use std::path::Path;

use super::arguments::{AGENT_PORT, VNC_PORT_BASE};
use super::firmware_file;
use super::machine_spec::QemuMachineSpec;
use super::network;
use super::overrides::Overrides;
use super::tpm;
use crate::error::Unsupported;
use crate::process::find_program;
use crate::qemu::spec::Accelerator;
use crate::spec::{Firmware, MachineSpec, NetworkMode};

/// Accelerators that QEMU knows on any host (`-accel help` and Packer's list).
const ACCELERATORS: [&str; 6] = ["kvm", "tcg", "xen", "hax", "hvf", "whpx"];

/// Longest VNC password: the protocol cuts off the rest.
const VNC_PASSWORD_BYTES: usize = 8;

/// Collects every complaint about a machine. One that is not for QEMU at all has no others.
pub(super) fn check(spec: &MachineSpec) -> Result<(), Vec<Unsupported>> {
    let spec = QemuMachineSpec::of(spec)?;
    let mut complaints = Vec::new();
    let mut complain = |setting: &'static str, problem: String, hint: Option<&str>| {
        complaints.push(Unsupported { setting, problem, hint: hint.map(ToOwned::to_owned) });
    };
    if find_program(&spec.qemu.binary).is_none() {
        let problem = format!("{} cannot be found or run", spec.qemu.binary);
        complain("qemu_binary", problem, Some(&package_hint(&spec.qemu.binary)));
    }
    if let Accelerator::Named(name) = &spec.qemu.accelerator
        && !ACCELERATORS.contains(&name.as_str())
    {
        complain("accelerator", format!("there is no accelerator {name}"), Some("leave accelerator unset"));
    }
    if spec.hardware.tpm.is_some() && find_program(tpm::PROGRAM).is_none() {
        complain("vtpm", format!("a TPM needs the program {}", tpm::PROGRAM), Some(tpm::HINT));
    }
    if spec.hardware.floppy.is_some() && spec.is_virt() {
        let problem = format!("the machine {} has no floppy drive", spec.board());
        complain("floppy_files", problem, Some("give the guest its files on a CD (cd_files) or over HTTP"));
    }
    if spec.qemu.secure_flash && !spec.has_smm() {
        let problem = format!("secure boot needs a machine with SMM, which {} has not", spec.board());
        complain("machine_type", problem, Some("set machine_type = \"q35\""));
    }
    if let NetworkMode::Bridge { bridge } = &spec.hardware.network.mode
        && let Some((problem, hint)) = network::problem_of_bridge(bridge)
    {
        complain("net_bridge", problem, Some(&hint));
    }
    if let Some(vnc) = &spec.hardware.vnc {
        if vnc.port_min < VNC_PORT_BASE || vnc.port_min > vnc.port_max {
            let problem = format!("the range {} to {} is not in {VNC_PORT_BASE} to 65535", vnc.port_min, vnc.port_max);
            complain("vnc_port_min", problem, None);
        }
        if vnc.password.as_ref().is_some_and(|password| password.len() > VNC_PASSWORD_BYTES) {
            complain("vnc_password", format!("it has more than {VNC_PASSWORD_BYTES} characters"), None);
        }
    }
    if let NetworkMode::User { forward: Some(forward) } = spec.hardware.network.mode
        && forward.host_min > forward.host_max
    {
        complain("host_port_min", format!("{} is above host_port_max", forward.host_min), None);
    }
    if let Some((problem, hint)) = firmware_file::problem(spec) {
        complain("firmware", problem, Some(hint));
    }
    for (setting, path) in paths(spec) {
        if path.to_str().is_none() {
            complain(setting, format!("{} is not UTF-8, which QEMU needs", path.display()), None);
        }
    }
    let overrides = Overrides::new(&spec.qemu.arguments);
    if overrides.has("-daemonize") {
        let problem = "-daemonize would take the machine out of sight".to_owned();
        complain("qemuargs", problem, Some("remove it; builds run in the background by themselves"));
    }
    let has_port = |value: &str| value.contains(AGENT_PORT);
    if spec.qemu.agent_socket.is_some() && overrides.switches().any(|(_, value)| value.is_some_and(has_port)) {
        let problem = format!("they have a port {AGENT_PORT} of their own, and the guest's agent speaks at one alone");
        complain("qemuargs", problem, Some("remove it: with communicator = \"guest-agent\" the machine has that port"));
    }
    if overrides.switches().any(|(_, value)| value.is_some_and(|value| value.contains('\0'))) {
        complain("qemuargs", "an argument has a NUL byte in it".to_owned(), None);
    }
    if complaints.is_empty() { Ok(()) } else { Err(complaints) }
}

fn paths(spec: QemuMachineSpec<'_>) -> Vec<(&'static str, &Path)> {
    let mut paths: Vec<(&'static str, &Path)> = vec![("output_directory", &spec.hardware.runtime_dir)];
    paths.extend(spec.hardware.disks.iter().map(|disk| ("output_directory", disk.path.as_path())));
    paths.extend(spec.hardware.cdroms.iter().map(|cdrom| ("iso_url", cdrom.path.as_path())));
    paths.extend(spec.hardware.floppy.iter().map(|path| ("floppy_files", path.as_path())));
    paths.extend(spec.qemu.boot_loader.iter().map(|path| ("firmware", path.as_path())));
    match &spec.hardware.firmware {
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
    use crate::qemu::spec::QemuSpec;
    use crate::qemu::testing::qemu;
    use crate::spec::{Origin, PortForward, SavedState, TpmVersion, VncSpec};

    fn settings(spec: &MachineSpec) -> Vec<&'static str> {
        check(spec).err().unwrap_or_default().iter().map(|one| one.setting).collect()
    }

    fn machine(binary: &str) -> MachineSpec {
        MachineSpec::new("x", "/tmp", QemuSpec { binary: binary.to_owned(), ..QemuSpec::default() })
    }

    #[test]
    fn one_port_is_enough_for_the_agent() {
        let mut spec = machine("/bin/true");
        let own = "virtserialport,chardev=qga0,name=org.qemu.guest_agent.0";
        qemu(&mut spec).arguments = vec![vec!["-device".to_owned(), own.to_owned()]];
        assert_eq!(settings(&spec), Vec::<&str>::new());
        qemu(&mut spec).agent_socket = Some("/run/agent".into());
        assert_eq!(settings(&spec), ["qemuargs"]);
    }

    #[test]
    fn complains_about_everything_at_once() {
        assert_eq!(settings(&machine("/bin/true")), Vec::<&str>::new());
        let mut spec = machine("qemu-system-none");
        let qemu = qemu(&mut spec);
        qemu.accelerator = Accelerator::Named("warp".to_owned());
        qemu.arguments = vec![vec!["-daemonize".to_owned()]];
        spec.vnc = Some(VncSpec {
            bind: "127.0.0.1".to_owned(),
            port_min: 80,
            port_max: 90,
            password: Some("123456789".to_owned()),
        });
        spec.network.mode =
            NetworkMode::User { forward: Some(PortForward { guest_port: 22, host_min: 4, host_max: 3 }) };
        assert_eq!(
            settings(&spec),
            ["qemu_binary", "accelerator", "vnc_port_min", "vnc_password", "host_port_min", "qemuargs"]
        );
    }

    #[test]
    fn a_tpm_needs_its_emulator() {
        let mut spec = machine("/bin/true");
        spec.tpm = Some(TpmVersion::V2);
        let missing = find_program(tpm::PROGRAM).is_none();
        assert_eq!(settings(&spec), if missing { vec!["vtpm"] } else { vec![] });
    }

    #[test]
    fn what_the_machine_lacks_is_told() {
        let mut spec = machine("/bin/true");
        spec.floppy = Some("/f".into());
        spec.network.mode = NetworkMode::Bridge { bridge: "kiln-absent0".to_owned() };
        qemu(&mut spec).secure_flash = true;
        let complaints = check(&spec).unwrap_err();
        assert_eq!(settings(&spec), ["machine_type", "net_bridge"], "PCs have floppies");
        assert!(complaints[1].problem.contains("kiln-absent0"), "{complaints:?}");
        qemu(&mut spec).machine_type = Some("q35".to_owned());
        spec.network.mode = NetworkMode::User { forward: None };
        assert_eq!(settings(&spec), Vec::<&str>::new());
        let directory = tempfile::tempdir().unwrap();
        let program = directory.path().join("qemu-system-aarch64");
        std::os::unix::fs::symlink("/bin/true", &program).unwrap();
        let qemu = qemu(&mut spec);
        (qemu.secure_flash, qemu.machine_type) = (false, None);
        qemu.binary = program.to_string_lossy().into_owned();
        assert_eq!(settings(&spec), ["floppy_files"]);
    }

    #[test]
    fn machines_start_new_only() {
        let saved = |hypervisor: &str| {
            Origin::SavedState(SavedState { hypervisor: hypervisor.to_owned(), path: "/s/state".into() })
        };
        for (origin, words) in [
            (Origin::Import { package: "/p/x.ovf".into() }, "the package /p/x.ovf"),
            (Origin::Clone { machine: "base".to_owned(), snapshot: None }, "not base"),
            (saved("qemu"), "this version cannot go on from the saved state /s/state"),
            (saved("virtualbox"), "/s/state was made by virtualbox, and qemu cannot"),
        ] {
            let spec = MachineSpec { origin, ..machine("/bin/true") };
            let complaints = check(&spec).unwrap_err();
            assert_eq!(complaints.len(), 1, "{complaints:?}");
            assert_eq!(complaints[0].setting, "origin");
            assert!(complaints[0].problem.contains(words), "{complaints:?}");
            assert!(complaints[0].hint.is_some());
        }
    }

    #[test]
    fn packages() {
        assert!(package_hint("/opt/qemu-system-aarch64").contains("qemu-system-arm"));
        assert!(package_hint("kvm").contains("qemu-system-x86"));
    }
}
