//! From the words for a machine to its description.

use std::fs::File;
use std::io::Read as _;

use kiln_disk_formats::choice;
use kiln_disk_formats::package::{
    DiskController, Firmware, GuestOs, MachineDescription, MachineDisk, MachineNic, NicModel, ProductInfo,
    VendorGuestWords,
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

/// The machine that nothing says anything of. Its name is empty, and becomes that of its package.
pub(super) fn plain() -> MachineDescription {
    MachineDescription { name: String::new(), ..MachineDescription::default() }
}

/// Describes the machine with this many disks: what was read from a package, as far as the options say nothing else.
pub(super) fn machine(
    options: &MachineOptions,
    read: MachineDescription,
    disks: usize,
) -> Result<MachineDescription, Failures> {
    let mut failures = Vec::new();
    let mut machine = read;
    machine.name = options.name.clone().unwrap_or(machine.name);
    if let Some(cpus) = options.cpus {
        (machine.cpus, machine.cores_per_socket) = (cpus, None);
    }
    machine.memory_mib = options.memory_mib.unwrap_or(machine.memory_mib);
    machine.hardware_version = options.hardware_version.unwrap_or(machine.hardware_version);
    machine.tpm |= options.tpm;
    machine.annotation = options.annotation.clone().or(machine.annotation);
    let mut efi = options.secure_boot;
    if let Some(word) = &options.firmware {
        efi = keep(&mut failures, choice("firmware", word, &FIRMWARES)).unwrap_or(efi);
        if !efi && options.secure_boot {
            let failure = Failure::new("--secure-boot needs EFI, but --firmware says BIOS");
            failures.push(failure.hint("leave --firmware out, or say `--firmware efi`"));
        }
    }
    if options.firmware.is_some() || options.secure_boot {
        let firmware = if efi { Firmware::Uefi { secure_boot: options.secure_boot } } else { Firmware::Bios };
        // What one firmware keeps is nothing to another.
        let is_other = (firmware == Firmware::Bios) != (machine.firmware == Firmware::Bios);
        machine.nvram = machine.nvram.filter(|_| !is_other);
        machine.firmware = firmware;
    }
    if let Some(word) = &options.guest_os {
        machine.guest_os = keep(&mut failures, guest_os(word)).unwrap_or_default();
        machine.guest_words = VendorGuestWords::default();
    }
    if !options.nics.is_empty() {
        machine.nics.clear();
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
    let bus = |index: usize| buses.get(index).or(buses.first()).copied();
    let disk = |index: usize| {
        let read = machine.disks.get(index).cloned().unwrap_or_default();
        bus(index).map_or(read, |controller| MachineDisk { controller, ..MachineDisk::default() })
    };
    machine.disks = (0..disks).map(disk).collect();
    if options.product.is_some() || options.vendor.is_some() || options.product_version.is_some() {
        let read = machine.product.unwrap_or_default();
        machine.product = Some(ProductInfo {
            product: options.product.clone().unwrap_or(read.product.clone()),
            vendor: options.vendor.clone().or(read.vendor.clone()),
            version: options.product_version.clone().or(read.version.clone()),
            ..read
        });
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

/// Returns the word that `--bus` takes for a controller.
pub(super) fn bus_word(controller: DiskController) -> &'static str {
    BUSES.iter().find(|(_, known)| *known == controller).map_or("?", |(word, _)| *word)
}

/// Returns the word that `--nic` takes for a card.
pub(super) fn nic_word(model: NicModel) -> &'static str {
    NICS.iter().find(|(_, known)| *known == model).map_or("?", |(word, _)| *word)
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
    use kiln_disk_formats::package::{Nvram, NvramMaker};

    use super::*;

    #[test]
    fn words_become_a_machine() {
        let options: MachineOptions = serde_json::from_str(
            r#"{"name":"web","cpus":2,"memory_mib":1024,"secure_boot":true,"guest_os":"Debian-64","nics":["virtio:lan","e1000"],
                "buses":["nvme"],"vendor":"ACME"}"#,
        )
        .unwrap();
        let machine = machine(&options, plain(), 2).unwrap();
        assert_eq!(machine.firmware, Firmware::Uefi { secure_boot: true });
        assert_eq!((machine.nics[0].model, &*machine.nics[0].network), (NicModel::Virtio, "lan"));
        assert_eq!(machine.nics[1].network, "nat");
        assert_eq!(machine.guest_os, GuestOs::Debian64);
        assert!(machine.disks.iter().all(|disk| disk.controller == DiskController::Nvme) && machine.disks.len() == 2);
        assert_eq!(machine.product.unwrap().vendor.as_deref(), Some("ACME"));
    }

    #[test]
    fn options_win_over_what_was_read() {
        let disk = |controller| MachineDisk { controller, ..MachineDisk::default() };
        let read = MachineDescription {
            name: "read".to_owned(),
            cpus: 4,
            cores_per_socket: Some(2),
            memory_mib: 4096,
            firmware: Firmware::Uefi { secure_boot: true },
            guest_os: GuestOs::Debian12,
            nvram: Some(Nvram { maker: NvramMaker::VMware, bytes: vec![1].into(), file: None }),
            disks: vec![disk(DiskController::Nvme), disk(DiskController::Ide)],
            nics: vec![MachineNic::default()],
            product: Some(ProductInfo { product: "P".to_owned(), ..ProductInfo::default() }),
            ..MachineDescription::default()
        };
        let of = |options: &str| machine(&serde_json::from_str(options).unwrap(), read.clone(), 3).unwrap();
        let expected = MachineDescription {
            disks: vec![disk(DiskController::Nvme), disk(DiskController::Ide), MachineDisk::default()],
            ..read.clone()
        };
        assert_eq!(of("{}"), expected);
        let changed = of(
            r#"{"name":"new","cpus":1,"firmware":"bios","guest_os":"ubuntu-64","nics":["virtio"],"buses":["scsi"],"vendor":"V"}"#,
        );
        assert_eq!((&*changed.name, changed.cpus, changed.cores_per_socket), ("new", 1, None));
        assert_eq!((changed.memory_mib, changed.firmware, changed.nvram), (4096, Firmware::Bios, None));
        assert_eq!(
            (changed.guest_os, changed.nics[0].model, changed.nics.len()),
            (GuestOs::Ubuntu64, NicModel::Virtio, 1)
        );
        assert!(changed.disks.iter().all(|one| *one == disk(DiskController::LsiLogic)) && changed.disks.len() == 3);
        let product = changed.product.unwrap();
        assert_eq!((&*product.product, product.vendor.as_deref()), ("P", Some("V")));
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
        let failures = machine(&options, plain(), 1).unwrap_err().list;
        assert_eq!(failures.len(), 7, "{failures:#?}");
        assert_eq!(failures[0].hint.as_deref(), Some("did you mean \"bios\"?"));
        assert_eq!(failures[1].hint.as_deref(), Some("did you mean \"debian-64\"?"));
    }
}
