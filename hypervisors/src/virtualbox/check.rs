//! What of a spec VirtualBox cannot do, found without starting anything.

use std::path::Path;

use super::NAME;
use super::machine::is_nat;
use super::problem::Problem;
use super::spec::{Bus, VirtualBoxSpec};
use super::storage::places_of_disks;
use crate::error::Unsupported;
use crate::spec::{BackendSpec, MachineSpec, NetworkMode, Origin};

/// VirtualBox's part of the machine, unless the machine is for another hypervisor or goes on from saved state.
pub(super) fn part_of(spec: &MachineSpec) -> Result<&VirtualBoxSpec, Vec<Unsupported>> {
    let mut complaints = spec.foreign_to(NAME);
    if let Origin::SavedState(state) = &spec.origin
        && state.hypervisor == NAME
    {
        complaints.push(Unsupported {
            setting: "origin",
            problem: format!("this version cannot go on from the saved state {} with VirtualBox", state.path.display()),
            hint: Some("build again from the start".to_owned()),
        });
    }
    match &spec.backend {
        BackendSpec::VirtualBox(part) if complaints.is_empty() => Ok(part),
        _ => Err(complaints),
    }
}

/// Collects every complaint. A machine that is not for VirtualBox at all has no others.
pub(super) fn check(spec: &MachineSpec, installed: bool) -> Result<(), Vec<Unsupported>> {
    let part = part_of(spec)?;
    let mut complaints = Vec::new();
    let mut complain = |setting: &'static str, problem: String, hint: Option<&str>| {
        complaints.push(Unsupported { setting, problem, hint: hint.map(ToOwned::to_owned) });
    };
    if !installed {
        complain("type", "VBoxManage cannot be found or run".to_owned(), Problem::CannotRun.hint());
    }
    if spec.name.is_empty() || spec.name.contains(['/', '\0', '\n', '"']) {
        let problem = format!("{:?} cannot be a file's name, which VirtualBox makes of it", spec.name);
        complain("vm_name", problem, Some("use letters, digits, blanks, `-`, `_` and `.`"));
    }
    if spec.tpm.is_some() {
        let problem = "VirtualBox's machines get no TPM of this version's".to_owned();
        complain("vtpm", problem, Some("give it one with `vboxmanage`: modifyvm --tpm-type"));
    }
    if !is_nat(&spec.network.mode) {
        let problem = "VirtualBox's machines are on its NAT".to_owned();
        complain("net_bridge", problem, Some("use `vboxmanage` with modifyvm --nic2 for further networks"));
    }
    if let NetworkMode::User { forward: Some(forward) } = spec.network.mode
        && forward.host_min > forward.host_max
    {
        complain("host_port_min", format!("{} is above host_port_max", forward.host_min), None);
    }
    if let Some(hardware) = &part.hardware {
        let places = places_of_disks(spec.disks.len(), hardware.disk_bus, &part.drives).len();
        if places < spec.disks.len() {
            let problem =
                format!("{} disks do not fit: the controller has places for {places} of them", spec.disks.len());
            complain("disk_additional_size", problem, Some("attach them by hard_drive_interface = \"sata\""));
        }
        if hardware.disk_bus == Bus::Nvme && !hardware.efi {
            // VirtualBox's BIOS boots from no NVMe; the guest may all the same use such a disk beside another.
            tracing::debug!("a BIOS of VirtualBox does not boot from NVMe");
        }
    }
    for (setting, path) in paths(spec, part) {
        if path.to_str().is_none() {
            complain(setting, format!("{} is not UTF-8, which VirtualBox needs", path.display()), None);
        }
    }
    let words = part.commands.iter().chain(&part.after.commands).flatten().chain(&part.import);
    if words.into_iter().any(|word| word.contains('\0')) {
        complain("vboxmanage", "an argument has a NUL byte in it".to_owned(), None);
    }
    if complaints.is_empty() { Ok(()) } else { Err(complaints) }
}

fn paths<'a>(spec: &'a MachineSpec, part: &'a VirtualBoxSpec) -> Vec<(&'static str, &'a Path)> {
    let mut paths: Vec<(&'static str, &Path)> = vec![("output_directory", &spec.runtime_dir)];
    paths.extend(spec.disks.iter().map(|disk| ("output_directory", disk.path.as_path())));
    paths.extend(part.drives.iter().map(|drive| ("iso_url", drive.image.as_path())));
    paths.extend(spec.floppy.iter().map(|path| ("floppy_files", path.as_path())));
    if let Origin::Import { package } = &spec.origin {
        paths.push(("source_path", package));
    }
    paths
}
