//! The guest's disks: made before the start, read for the export, removed or named for good after it.

use std::path::{Path, PathBuf};

use kiln_disk_formats::{Format, OpenPolicy, create_vdi};

use crate::blocking::blocking;
use crate::error::StepError;
use crate::export::GuestDisk;
use crate::plan::{NewMachinePlan, VirtualBoxOrigin, VirtualBoxPlan};

const MIB: u64 = 1 << 20;

/// The disks of a new machine, while it runs. They have hidden names until the build is over, unless the machine stays, or its
/// commands name a disk: then it must lie where Packer has it.
pub(super) fn all(plan: &VirtualBoxPlan) -> Vec<PathBuf> {
    let hidden = !plan.keep_registered && !commands_name_disks(plan);
    let place = |name: String| plan.output_directory.join(if hidden { format!(".{name}") } else { name });
    names(plan).into_iter().map(place).collect()
}

/// Packer's names: a single disk has the machine's, of more each has a number.
fn names(plan: &VirtualBoxPlan) -> Vec<String> {
    let VirtualBoxOrigin::Iso { machine, .. } = &plan.origin else { return Vec::new() };
    match machine.disks.len() {
        1 => vec![format!("{}.vdi", plan.vm_name)],
        count => (0..count).map(|number| format!("{}-{number}.vdi", plan.vm_name)).collect(),
    }
}

fn commands_name_disks(plan: &VirtualBoxPlan) -> bool {
    plan.commands.iter().chain(&plan.commands_after).flatten().any(|word| word.contains(".vdi"))
}

/// Names in the output directory of the files that the machine has.
pub(super) fn file_names(plan: &VirtualBoxPlan) -> Vec<String> {
    let nvram = is_uefi(plan).then(|| nvram_name(plan));
    names(plan).into_iter().flat_map(|name| [format!(".{name}"), name]).chain(nvram).collect()
}

fn is_uefi(plan: &VirtualBoxPlan) -> bool {
    matches!(&plan.origin, VirtualBoxOrigin::Iso { machine, .. } if machine.firmware == "efi")
}

fn nvram_name(plan: &VirtualBoxPlan) -> String {
    format!(".{}.nvram", plan.vm_name)
}

/// Where what a UEFI machine keeps between starts lies until it is exported by our own writers.
pub(super) fn nvram(plan: &VirtualBoxPlan) -> Option<PathBuf> {
    (is_uefi(plan) && exported_by_us(plan)).then(|| plan.output_directory.join(nvram_name(plan)))
}

/// Makes them, empty.
pub(super) async fn create(plan: &VirtualBoxPlan) -> Result<(), StepError> {
    let VirtualBoxOrigin::Iso { machine, .. } = &plan.origin else { return Ok(()) };
    let disks: Vec<(PathBuf, u64)> = all(plan).into_iter().zip(machine.disks.iter().copied()).collect();
    blocking("making the disks", move |_| {
        for (path, size) in disks {
            // Of an earlier try that failed.
            remove(&path)?;
            create_vdi(&path, size.saturating_mul(MIB))?;
        }
        Ok(())
    })
    .await
}

/// Whether our own writers export the machine: what they cannot know of it, VirtualBox exports.
pub(super) fn exported_by_us(plan: &VirtualBoxPlan) -> bool {
    let VirtualBoxOrigin::Iso { machine, .. } = &plan.origin else { return false };
    // What the template's own commands have changed in it is known to VirtualBox alone.
    let changed = !plan.commands.is_empty() || !plan.commands_after.is_empty();
    !plan.skip_export && plan.export_options.is_empty() && !machine.bundle_iso && !changed && is_described(machine)
}

/// Whether our own description of the machine holds all that the template asks for. VirtualBox exports no machine with NVMe at all: of that
/// one what has no words is lost.
fn is_described(machine: &NewMachinePlan) -> bool {
    let NewMachinePlan {
        chipset,
        clock,
        disk_interface,
        non_rotational,
        nic,
        audio,
        usb,
        mouse,
        keyboard,
        graphics,
        video_memory,
        accelerate_3d,
        efi_resolution,
        ..
    } = machine;
    let nics = ["82540EM", "82543GC", "82545EM", "Am79C970A", "Am79C973", "virtio"];
    let as_by_default = chipset == "piix3"
        && clock == "local"
        && *audio == ("ac97".to_owned(), "none".to_owned())
        && usb.is_none()
        && (mouse.as_str(), keyboard.as_str()) == ("ps2", "ps2")
        && graphics.is_none()
        && *video_memory == 4
        && !accelerate_3d
        && efi_resolution.is_none()
        && !non_rotational
        && nics.contains(&nic.as_str());
    disk_interface == "pcie" || (as_by_default && disk_interface != "virtio")
}

/// Where, in the output directory, VirtualBox exports to; `None`: it does not.
pub(super) fn exported_by_virtualbox(plan: &VirtualBoxPlan) -> Option<PathBuf> {
    let exports = !plan.skip_export && !exported_by_us(plan);
    let directory = plan.output_directory.join(format!(".{}.export", plan.output_filename));
    exports.then(|| std::path::absolute(&directory).unwrap_or(directory))
}

/// The disks as they are to be read when the guest is off.
pub(super) fn readable(plan: &VirtualBoxPlan) -> Vec<GuestDisk> {
    if exported_by_virtualbox(plan).is_some() {
        return Vec::new();
    }
    let disk = |path| GuestDisk { path, format: Format::Vdi, policy: OpenPolicy::deny() };
    all(plan).into_iter().map(disk).collect()
}

/// Removes the disks of a machine that is gone; those of one that stays are part of the artifact. What an earlier try has removed is
/// left.
pub(super) fn finish(plan: &VirtualBoxPlan) -> Result<(), StepError> {
    nvram(plan).as_deref().map_or(Ok(()), remove)?;
    if plan.keep_registered {
        return Ok(());
    }
    all(plan).iter().try_for_each(|path| remove(path))
}

fn remove(path: &Path) -> Result<(), StepError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(StepError::new(format!("cannot remove {}", path.display())).with_source(error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packers_default() -> NewMachinePlan {
        NewMachinePlan {
            os_type: "Debian_64".to_owned(),
            chipset: "piix3".to_owned(),
            firmware: "efi".to_owned(),
            nested: Some(true),
            clock: "local".to_owned(),
            disks: vec![64, 64],
            disk_interface: "sata".to_owned(),
            iso_interface: "sata".to_owned(),
            ports: (30, 1),
            discard: true,
            non_rotational: false,
            nic: "virtio".to_owned(),
            audio: ("ac97".to_owned(), "none".to_owned()),
            usb: None,
            mouse: "ps2".to_owned(),
            keyboard: "ps2".to_owned(),
            graphics: None,
            video_memory: 4,
            accelerate_3d: false,
            efi_resolution: None,
            cpus: 2,
            memory: 512,
            bundle_iso: false,
        }
    }

    #[test]
    fn what_our_description_cannot_hold_is_exported_by_virtualbox_but_from_nvme() {
        let changes: [fn(&mut NewMachinePlan); 13] = [
            |machine| machine.disk_interface = "virtio".to_owned(),
            |machine| machine.chipset = "ich9".to_owned(),
            |machine| machine.clock = "UTC".to_owned(),
            |machine| machine.non_rotational = true,
            |machine| machine.nic = "usbnet".to_owned(),
            |machine| machine.audio.0 = "hda".to_owned(),
            |machine| machine.audio.1 = "pulse".to_owned(),
            |machine| machine.usb = Some("xhci".to_owned()),
            |machine| machine.mouse = "usbtablet".to_owned(),
            |machine| machine.keyboard = "usb".to_owned(),
            |machine| machine.graphics = Some("vmsvga".to_owned()),
            |machine| machine.video_memory = 33,
            |machine| machine.accelerate_3d = true,
        ];
        for interface in ["ide", "sata", "scsi", "pcie"] {
            let mut machine = packers_default();
            machine.disk_interface = interface.to_owned();
            assert!(is_described(&machine), "{interface}");
        }
        for (number, change) in changes.into_iter().enumerate() {
            let mut machine = packers_default();
            change(&mut machine);
            assert!(!is_described(&machine), "{number}");
            machine.disk_interface = "pcie".to_owned();
            assert!(is_described(&machine), "{number}: VirtualBox exports none with NVMe");
        }
    }
}
