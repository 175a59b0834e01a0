//! What of a spec VMware cannot do here, found without starting anything.

use super::machine_file::connection;
use super::machine_spec::VmwareMachineSpec;
use super::networks::Networks;
use super::spec::Bus;
use super::vmrun::{PROGRAM, Vmrun};
use crate::error::Unsupported;
use crate::spec::{DiskFormat, Firmware, MachineSpec};

/// What to do where VMware's tools are missing.
pub(super) const INSTALL_HINT: &str = "install VMware Workstation 17.6 or newer, and see that its tools are in PATH";

/// Longest VNC password: the protocol cuts off the rest.
const VNC_PASSWORD_BYTES: usize = 8;

/// Collects every complaint about a machine. One that is not for VMware at all has no others.
pub(super) fn check(spec: &MachineSpec, vmrun: Option<&Vmrun>, networks: &Networks) -> Result<(), Vec<Unsupported>> {
    let spec = VmwareMachineSpec::of(spec)?;
    let mut complaints = Vec::new();
    let mut complain = |setting: &'static str, problem: String, hint: &str| {
        complaints.push(Unsupported { setting, problem, hint: Some(hint.to_owned()) });
    };
    if vmrun.is_none() {
        complain("hypervisor", format!("{PROGRAM} cannot be found or run"), INSTALL_HINT);
    }
    let hardware = spec.hardware;
    if let ("custom", Some(name)) = connection(&hardware.network.mode)
        && let Some(others) = networks.others_than(name)
    {
        let problem = format!("VMware has no network {name} here; there are: {}", others.join(", "));
        complain("network", problem, "name one of these, or nat, hostonly or bridged");
    }
    if hardware.firmware != Firmware::Default {
        let problem = "VMware has its own firmware, and takes no file".to_owned();
        complain("firmware", problem, "write bios, efi or efi-secure");
    }
    if hardware.tpm.is_some() {
        let problem = "a virtual TPM of VMware needs an encrypted machine, which its tools cannot make".to_owned();
        complain("vtpm", problem, "leave it out");
    }
    if hardware.topology.sockets.is_some() || hardware.topology.threads.is_some() {
        let problem = "VMware is told processors and cores of a socket, nothing else".to_owned();
        complain("sockets", problem, "set cpus and cores");
    }
    if hardware.disks.iter().any(|disk| disk.format != DiskFormat::Vmdk) {
        complain("disks", "VMware runs from VMDK images only".to_owned(), "convert it: kiln convert IN OUT.vmdk");
    }
    if let Some(bus) = hardware
        .cdroms
        .iter()
        .filter_map(|drive| drive.interface.as_deref())
        .find(|bus| Bus::parse(bus).is_none_or(|bus| bus == Bus::Nvme))
    {
        complain("cdrom_adapter_type", format!("there is no CD drive on {bus}"), "write ide, sata or scsi");
    }
    if let Some(vnc) = &hardware.vnc {
        if vnc.port_min > vnc.port_max {
            complain("vnc_port_min", format!("{} is above vnc_port_max", vnc.port_min), "widen the range");
        }
        if vnc.password.as_ref().is_some_and(|password| password.len() > VNC_PASSWORD_BYTES) {
            complain("vnc_password", format!("it has more than {VNC_PASSWORD_BYTES} characters"), "shorten it");
        }
        if vnc.bind.parse::<std::net::IpAddr>().is_err() {
            complain("vnc_bind_address", format!("{:?} is not an IP address", vnc.bind), "write one, as 127.0.0.1");
        }
    }
    if complaints.is_empty() { Ok(()) } else { Err(complaints) }
}
