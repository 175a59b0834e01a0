//! A machine's description as the settings of a VMX file.

use std::borrow::Cow;

use super::document::Vmx;
use super::keys;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::machine::{Firmware, MachineDescription, MachineNic, NicModel, NvramMaker};
use crate::package::file_names::{nvram_file, nvram_file_name};
use crate::package::places::Places;

impl Vmx {
    /// Describes a machine whose disks are in these files. Without an NVRAM of VMware's the machine begins with a new one.
    ///
    /// # Errors
    /// When a disk has no place, VMware has not what the machine needs, or a setting is none that a VMX can hold.
    pub fn of_machine(machine: &MachineDescription, disks: &[String]) -> Result<Self> {
        if machine.nics.iter().any(|nic| nic.model == NicModel::Virtio) {
            let error = Error::new(ErrorKind::InvalidInput, Operation::Describe, "VMware has no virtio network card");
            return Err(error.with_hint("choose vmxnet3, its own paravirtual card, or e1000"));
        }
        let places = Places::of(machine, disks.len())?;
        let mut vmx = Self::new();
        // What a machine has unless its settings say otherwise.
        vmx.put("vmci0.present", "TRUE");
        vmx.put("hpet0.present", "TRUE");
        for (key, value) in &machine.vmware_settings {
            vmx.set(key, value)?;
        }
        vmx.set("displayName", &machine.name)?;
        if let Some(annotation) = &machine.annotation {
            vmx.set("annotation", annotation)?;
        }
        vmx.set("guestOS", machine.guest_words.workstation.as_deref().unwrap_or(machine.guest_os.words().workstation))?;
        vmx.put("config.version", "8");
        vmx.put("virtualHW.version", &machine.hardware_version.to_string());
        vmx.put("numvcpus", &machine.cpus.to_string());
        if let Some(cores) = machine.cores_per_socket {
            vmx.put(keys::CORES_PER_SOCKET, &cores.to_string());
        }
        // VMware insists on a multiple of 4.
        vmx.put("memsize", &machine.memory_mib.next_multiple_of(4).to_string());
        if machine.nested_virtualization {
            vmx.put(keys::NESTED, "TRUE");
        }
        match machine.firmware {
            Firmware::Bios => vmx.put("firmware", "bios"),
            Firmware::Uefi { secure_boot } => {
                vmx.put("firmware", "efi");
                vmx.put(keys::SECURE_BOOT, truth(secure_boot));
            }
        }
        if machine.tpm {
            vmx.put(keys::TPM, "software");
        }
        // Paravirtual devices and NVMe sit behind PCI Express root ports.
        vmx.put("pciBridge0.present", "TRUE");
        for bridge in 4..=7 {
            vmx.put(&format!("pciBridge{bridge}.present"), "TRUE");
            vmx.put(&format!("pciBridge{bridge}.virtualDev"), "pcieRootPort");
            vmx.put(&format!("pciBridge{bridge}.functions"), "8");
        }
        vmx.put("floppy0.present", "FALSE");
        // Without one VMware names it after the VMX file, which nothing else is named after.
        if nvram(machine).is_some() {
            vmx.put("nvram", &nvram_file_name(machine));
        }
        vmx.put_disks(&places, disks);
        for (index, nic) in machine.nics.iter().enumerate() {
            vmx.put_nic(index, nic)?;
        }
        Ok(vmx)
    }

    fn put_disks(&mut self, places: &Places, disks: &[String]) {
        for (index, kind) in places.controllers.iter().enumerate() {
            let bus = format!("{}{}", kind.bus().0, places.number_on_bus(index));
            self.put(&format!("{bus}.present"), "TRUE");
            if let Some(model) = keys::scsi_word(*kind) {
                self.put(&format!("{bus}.virtualDev"), model);
            }
        }
        for ((controller, unit), file) in places.disks.iter().zip(disks) {
            let (bus, number) = (places.controllers[*controller].bus().0, places.number_on_bus(*controller));
            let slot = format!("{bus}{number}:{unit}");
            self.put(&format!("{slot}.present"), "TRUE");
            self.put(&format!("{slot}.fileName"), file);
        }
    }

    fn put_nic(&mut self, index: usize, nic: &MachineNic) -> Result<()> {
        let key = |field: &str| format!("ethernet{index}.{field}");
        self.put(&key("present"), "TRUE");
        self.put(&key("virtualDev"), keys::nic_word(nic.model));
        let connection = keys::connection_of(&nic.network);
        self.put(&key("connectionType"), connection.unwrap_or("nat"));
        if connection == Some(keys::CUSTOM) {
            self.set(&key("vnet"), &nic.network)?;
        }
        match nic.mac {
            Some(mac) => {
                self.put(&key("addressType"), "static");
                self.put(&key("address"), &mac.to_string());
            }
            None => self.put(&key("addressType"), "generated"),
        }
        Ok(())
    }
}

/// Returns the NVRAM that VMware can read: its own, or what of another maker's travels.
pub(super) fn nvram(machine: &MachineDescription) -> Option<Cow<'_, [u8]>> {
    nvram_file(machine, NvramMaker::VMware).map(|file| file.bytes)
}

fn truth(value: bool) -> &'static str {
    if value { "TRUE" } else { "FALSE" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{DiskController, DiskSlot, MachineDisk, Nvram};

    fn lines(machine: &MachineDescription, disks: &[&str]) -> Vec<String> {
        let disks: Vec<String> = disks.iter().map(|&disk| disk.to_owned()).collect();
        Vmx::of_machine(machine, &disks).unwrap().to_string().lines().map(str::to_owned).collect()
    }

    #[test]
    fn a_machine_becomes_quoted_lines() {
        let scsi = MachineDisk { controller: DiskController::ParavirtualScsi, ..MachineDisk::default() };
        let machine = MachineDescription {
            name: "a \"b\" | c".to_owned(),
            memory_mib: 1022,
            cores_per_socket: Some(2),
            nested_virtualization: true,
            firmware: Firmware::Uefi { secure_boot: true },
            disks: vec![MachineDisk::default(), scsi.clone(), scsi],
            nics: vec![
                MachineNic { model: NicModel::Vmxnet3, ..MachineNic::default() },
                MachineNic { network: "VMnet3".to_owned(), ..MachineNic::default() },
                MachineNic { network: "Bridged".to_owned(), ..MachineNic::default() },
            ],
            vmware_settings: vec![("guestinfo.a".to_owned(), "b".to_owned())],
            ..MachineDescription::default()
        };
        let lines = lines(&machine, &["1.vmdk", "2.vmdk", "3.vmdk"]);
        for line in [
            "displayName = \"a |22b|22 |7C c\"",
            "memsize = \"1024\"",
            "cpuid.coresPerSocket = \"2\"",
            "vhv.enable = \"TRUE\"",
            "firmware = \"efi\"",
            "uefi.secureBoot.enabled = \"TRUE\"",
            "sata0:0.fileName = \"1.vmdk\"",
            "scsi0.virtualDev = \"pvscsi\"",
            "scsi0:1.fileName = \"3.vmdk\"",
            "ethernet0.virtualDev = \"vmxnet3\"",
            "ethernet0.connectionType = \"nat\"",
            "ethernet1.connectionType = \"custom\"",
            "ethernet1.vnet = \"VMnet3\"",
            "ethernet2.connectionType = \"bridged\"",
            "guestinfo.a = \"b\"",
        ] {
            assert!(lines.iter().any(|found| found == line), "{line} in\n{lines:#?}");
        }
        assert_eq!(lines.iter().filter(|line| line.starts_with("scsi0.present")).count(), 1);
        let mut sorted = lines.clone();
        sorted.sort_by_key(|line| line.to_ascii_lowercase());
        assert_eq!(lines, sorted);
    }

    #[test]
    fn what_vmware_lacks_or_cannot_place_is_refused() {
        let virtio = MachineNic { model: NicModel::Virtio, ..MachineNic::default() };
        let machine = MachineDescription { nics: vec![virtio], ..MachineDescription::default() };
        assert!(Vmx::of_machine(&machine, &[]).unwrap_err().hint().unwrap().contains("vmxnet3"));
        let slot = Some(DiskSlot { controller: 0, unit: 30 });
        let disks = vec![MachineDisk { slot, ..MachineDisk::default() }];
        let machine = MachineDescription { disks, ..MachineDescription::default() };
        assert!(Vmx::of_machine(&machine, &["a.vmdk".to_owned()]).is_err());
    }

    #[test]
    fn only_an_nvram_that_is_written_is_named() {
        let names_one = |machine: &MachineDescription| lines(machine, &[]).iter().any(|line| line.starts_with("nvram"));
        let mut machine = MachineDescription::default();
        assert!(!names_one(&machine));
        for (maker, is_named) in [(NvramMaker::VirtualBox, false), (NvramMaker::VMware, true)] {
            machine.nvram = Some(Nvram { maker, bytes: vec![1].into(), file: None });
            assert_eq!(names_one(&machine), is_named, "{maker}");
        }
    }

    #[test]
    fn the_makers_own_word_for_the_guest_is_kept() {
        let mut machine = MachineDescription::default();
        machine.guest_words.workstation = Some("windows7-64".to_owned());
        assert!(lines(&machine, &[]).contains(&"guestOS = \"windows7-64\"".to_owned()));
    }
}
