//! From the words for a machine to its description.

use std::fs::File;
use std::io::Read as _;

use kiln_disk_formats::choice;
use kiln_disk_formats::package::{
    DiskController, Firmware, GuestOs, MachineDescription, MachineDisk, MachineNic, NicModel, ProductInfo,
};
use kiln_protocol::MachineOptions;

use super::failure::{Failure, Failures};

/// Longest licence text, in bytes.
const MAX_EULA_BYTES: u64 = 1 << 20;

const FIRMWARES: [(&str, bool); 3] = [("bios", false), ("efi", true), ("uefi", true)];

const BUSES: [(&str, DiskController); 9] = [
    ("ide", DiskController::Ide),
    ("sata", DiskController::Sata),
    ("scsi", DiskController::LsiLogic),
    ("lsilogic", DiskController::LsiLogic),
    ("sas", DiskController::LsiLogicSas),
    ("lsisas1068", DiskController::LsiLogicSas),
    ("buslogic", DiskController::BusLogic),
    ("pvscsi", DiskController::ParavirtualScsi),
    ("nvme", DiskController::Nvme),
];

const NICS: [(&str, NicModel); 6] = [
    ("e1000", NicModel::E1000),
    ("e1000e", NicModel::E1000e),
    ("vmxnet3", NicModel::Vmxnet3),
    ("pcnet", NicModel::PcNet32),
    ("pcnet32", NicModel::PcNet32),
    ("virtio", NicModel::Virtio),
];

/// Describes the machine with this many disks. A name that was not given is empty.
pub(super) fn machine(options: &MachineOptions, disks: usize) -> Result<MachineDescription, Failures> {
    let mut failures = Vec::new();
    let mut machine =
        MachineDescription { name: options.name.clone().unwrap_or_default(), ..MachineDescription::default() };
    machine.cpus = options.cpus.unwrap_or(machine.cpus);
    machine.memory_mib = options.memory_mib.unwrap_or(machine.memory_mib);
    machine.hardware_version = options.hardware_version.unwrap_or(machine.hardware_version);
    machine.tpm = options.tpm;
    machine.annotation.clone_from(&options.annotation);
    let mut efi = options.secure_boot;
    if let Some(word) = &options.firmware {
        efi = keep(&mut failures, choice("firmware", word, &FIRMWARES)).unwrap_or(efi);
        if !efi && options.secure_boot {
            let failure = Failure::new("--secure-boot needs EFI, but --firmware says BIOS");
            failures.push(failure.hint("leave --firmware out, or say `--firmware efi`"));
        }
    }
    machine.firmware = if efi { Firmware::Uefi { secure_boot: options.secure_boot } } else { Firmware::Bios };
    if let Some(word) = &options.guest_os {
        machine.guest_os = keep(&mut failures, guest_os(word)).unwrap_or_default();
    }
    for word in &options.nics {
        let (model, network) = word.split_once(':').unwrap_or((word, ""));
        let model = keep(&mut failures, choice("network card", model, &NICS)).unwrap_or_default();
        let network = if network.is_empty() { MachineNic::default().network } else { network.to_owned() };
        machine.nics.push(MachineNic { model, network, ..MachineNic::default() });
    }
    let buses: Vec<_> =
        options.buses.iter().filter_map(|word| keep(&mut failures, choice("bus", word, &BUSES))).collect();
    if options.buses.len() > 1 && options.buses.len() != disks {
        let counts = format!("{} buses were given for {disks} disks", options.buses.len());
        failures.push(Failure::new(counts).hint("give one for all disks, or one for each"));
    }
    let bus = |index: usize| buses.get(index).or(buses.first()).copied().unwrap_or_default();
    machine.disks = (0..disks).map(|index| MachineDisk { controller: bus(index), file: None }).collect();
    if options.product.is_some() || options.vendor.is_some() || options.product_version.is_some() {
        let product = options.product.clone().unwrap_or_default();
        let (vendor, version) = (options.vendor.clone(), options.product_version.clone());
        machine.product = Some(ProductInfo { product, vendor, version, ..ProductInfo::default() });
    }
    if let Some(path) = &options.eula {
        machine.eula = keep(&mut failures, read_eula(path));
    }
    Failures::check(failures)?;
    Ok(machine)
}

/// Reads our name of a guest system, or a vendor's.
fn guest_os(word: &str) -> Result<GuestOs, Failure> {
    let known = GuestOs::ALL.map(GuestOs::name);
    GuestOs::from_name(word).ok_or_else(|| Failure::unknown("the guest OS", word, &known))
}

fn keep<T, E: Into<Failure>>(failures: &mut Vec<Failure>, result: Result<T, E>) -> Option<T> {
    result.map_err(|failure| failures.push(failure.into())).ok()
}

fn read_eula(path: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(MAX_EULA_BYTES + 1).read_to_string(&mut text));
    match read {
        Err(error) => Err(Failure::new(format!("cannot read the licence text {path}: {error}"))),
        Ok(bytes) if bytes as u64 > MAX_EULA_BYTES => {
            Err(Failure::new(format!("the licence text {path} is longer than {MAX_EULA_BYTES} bytes")))
        }
        Ok(_) => Ok(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_a_machine() {
        let options: MachineOptions = serde_json::from_str(
            r#"{"name":"web","cpus":2,"memory_mib":1024,"secure_boot":true,"guest_os":"Debian-64","nics":["virtio:lan","e1000"],
                "buses":["nvme"],"vendor":"ACME"}"#,
        )
        .unwrap();
        let machine = machine(&options, 2).unwrap();
        assert_eq!(machine.firmware, Firmware::Uefi { secure_boot: true });
        assert_eq!((machine.nics[0].model, &*machine.nics[0].network), (NicModel::Virtio, "lan"));
        assert_eq!(machine.nics[1].network, "nat");
        assert_eq!(machine.guest_os, GuestOs::Debian64);
        assert!(machine.disks.iter().all(|disk| disk.controller == DiskController::Nvme) && machine.disks.len() == 2);
        assert_eq!(machine.product.unwrap().vendor.as_deref(), Some("ACME"));
    }

    #[test]
    fn guests_have_the_librarys_names_and_the_vendors() {
        assert_eq!(guest_os("windows9srv-64").unwrap(), GuestOs::WindowsServer);
        assert_eq!(guest_os("RHEL9-64").unwrap(), GuestOs::RedHat9);
    }

    #[test]
    fn all_mistakes_are_told_at_once() {
        let options: MachineOptions = serde_json::from_str(
            r#"{"firmware":"bois","guest_os":"debain64","nics":["e100"],"buses":["a","b"],"eula":"/nonexistent"}"#,
        )
        .unwrap();
        let failures = machine(&options, 1).unwrap_err().list;
        assert_eq!(failures.len(), 7, "{failures:#?}");
        assert_eq!(failures[0].hint.as_deref(), Some("did you mean \"bios\"?"));
        assert_eq!(failures[1].hint.as_deref(), Some("did you mean \"debian-64\"?"));
    }
}
