//! The VMX file of a VMware Workstation or Fusion machine.

use std::fmt::Write;

use crate::machine::{DiskController, Firmware, MachineDescription, NicModel};

/// Writes a VMX for a machine whose disks are in these files.
pub(crate) fn vmx(machine: &MachineDescription, disks: &[String]) -> String {
    let mut vmx = Vmx(String::new());
    vmx.set(".encoding", "UTF-8");
    vmx.set("config.version", "8");
    vmx.set("virtualHW.version", &machine.hardware_version.to_string());
    vmx.set("displayName", &machine.name);
    vmx.set("guestOS", machine.guest_os.words().workstation);
    vmx.set("numvcpus", &machine.cpus.to_string());
    // VMware insists on a multiple of 4.
    vmx.set("memsize", &machine.memory_mib.next_multiple_of(4).to_string());
    if let Some(annotation) = &machine.annotation {
        vmx.set("annotation", annotation);
    }
    match machine.firmware {
        Firmware::Bios => vmx.set("firmware", "bios"),
        Firmware::Uefi { secure_boot } => {
            vmx.set("firmware", "efi");
            vmx.set("uefi.secureBoot.enabled", truth(secure_boot));
        }
    }
    if machine.tpm {
        vmx.set("managedVM.autoAddVTPM", "software");
    }
    // Paravirtual devices and NVMe sit behind PCI Express root ports.
    vmx.set("pciBridge0.present", "TRUE");
    for bridge in 4..=7 {
        vmx.set(&format!("pciBridge{bridge}.present"), "TRUE");
        vmx.set(&format!("pciBridge{bridge}.virtualDev"), "pcieRootPort");
        vmx.set(&format!("pciBridge{bridge}.functions"), "8");
    }
    vmx.set("vmci0.present", "TRUE");
    vmx.set("hpet0.present", "TRUE");
    vmx.set("floppy0.present", "FALSE");
    vmx.set("nvram", &format!("{}.nvram", super::ovf_writer::plain_name(&machine.name)));
    vmx.disks(machine, disks);
    for (index, nic) in machine.nics.iter().enumerate() {
        let key = |field: &str| format!("ethernet{index}.{field}");
        vmx.set(&key("present"), "TRUE");
        vmx.set(&key("virtualDev"), nic_word(nic.model));
        vmx.set(&key("connectionType"), "nat");
        match nic.mac {
            Some(mac) => {
                vmx.set(&key("addressType"), "static");
                vmx.set(&key("address"), &mac.to_string());
            }
            None => vmx.set(&key("addressType"), "generated"),
        }
    }
    vmx.0
}

fn truth(value: bool) -> &'static str {
    if value { "TRUE" } else { "FALSE" }
}

fn nic_word(model: NicModel) -> &'static str {
    match model {
        NicModel::E1000e => "e1000e",
        NicModel::Vmxnet3 => "vmxnet3",
        NicModel::PcNet32 => "vlance",
        // VMware has no virtio.
        NicModel::E1000 | NicModel::Virtio => "e1000",
    }
}

/// The kind of bus, the device's model on it where it has several, and the slots of one controller.
fn bus(controller: DiskController) -> (&'static str, Option<&'static str>, u32) {
    match controller {
        DiskController::Ide => ("ide", None, 2),
        DiskController::Sata => ("sata", None, 30),
        DiskController::LsiLogic => ("scsi", Some("lsilogic"), 15),
        DiskController::LsiLogicSas => ("scsi", Some("lsisas1068"), 15),
        DiskController::BusLogic => ("scsi", Some("buslogic"), 15),
        DiskController::ParavirtualScsi => ("scsi", Some("pvscsi"), 15),
        DiskController::Nvme => ("nvme", None, 15),
    }
}

struct Vmx(String);

impl Vmx {
    fn set(&mut self, key: &str, value: &str) {
        let mut quoted = String::new();
        for c in value.chars() {
            match c {
                '"' | '|' => {
                    let _ = write!(quoted, "|{:02X}", u32::from(c));
                }
                c if c.is_ascii_control() => {
                    let _ = write!(quoted, "|{:02X}", u32::from(c));
                }
                c => quoted.push(c),
            }
        }
        let _ = writeln!(self.0, "{key} = \"{quoted}\"");
    }

    fn disks(&mut self, machine: &MachineDescription, disks: &[String]) {
        // Controller kind, its number on its bus, and disks so far.
        let mut controllers: Vec<(DiskController, usize, u32)> = Vec::new();
        for (index, file) in disks.iter().enumerate() {
            let kind = machine.disks.get(index).map(|disk| disk.controller).unwrap_or_default();
            let (name, model, slots) = bus(kind);
            let usable = controllers.iter().position(|(other, _, used)| *other == kind && *used < slots);
            let place = usable.unwrap_or_else(|| {
                let number = controllers.iter().filter(|(other, _, _)| bus(*other).0 == name).count();
                self.set(&format!("{name}{number}.present"), "TRUE");
                if let Some(model) = model {
                    self.set(&format!("{name}{number}.virtualDev"), model);
                }
                controllers.push((kind, number, 0));
                controllers.len() - 1
            });
            let (_, number, used) = &mut controllers[place];
            let slot = format!("{name}{number}:{}", kind.unit(*used));
            *used += 1;
            self.set(&format!("{slot}.present"), "TRUE");
            self.set(&format!("{slot}.fileName"), file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{MachineDisk, MachineNic};

    #[test]
    fn a_machine_becomes_quoted_lines() {
        let scsi = MachineDisk { controller: DiskController::ParavirtualScsi, file: None };
        let machine = MachineDescription {
            name: "a \"b\" | c".to_owned(),
            memory_mib: 1022,
            firmware: Firmware::Uefi { secure_boot: true },
            disks: vec![MachineDisk::default(), scsi.clone(), scsi],
            nics: vec![MachineNic { model: NicModel::Vmxnet3, ..MachineNic::default() }],
            ..MachineDescription::default()
        };
        let text = vmx(&machine, &["1.vmdk".to_owned(), "2.vmdk".to_owned(), "3.vmdk".to_owned()]);
        for line in [
            "displayName = \"a |22b|22 |7C c\"",
            "memsize = \"1024\"",
            "firmware = \"efi\"",
            "uefi.secureBoot.enabled = \"TRUE\"",
            "sata0:0.fileName = \"1.vmdk\"",
            "scsi0.virtualDev = \"pvscsi\"",
            "scsi0:1.fileName = \"3.vmdk\"",
            "ethernet0.virtualDev = \"vmxnet3\"",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
        assert_eq!(text.matches("scsi0.present").count(), 1);
    }
}
