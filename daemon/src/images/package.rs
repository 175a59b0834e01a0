//! What `image info` tells about the package that a disk is in.

use kiln_disk_formats::package::{self as library, Firmware};
use kiln_disk_formats::{Format, package_facts};
use kiln_protocol::{ImageSource, NetworkCard, PackageFacts, PackagedDisk, PackagedMachine, PlacedDisk};

use super::failure::Failures;
use super::machine::{bus_word, nic_word};
use super::source::{named_format, policy, split_path};

/// Most machines and disks that are told; no reader takes more disks.
const MAX_TOLD: usize = 256;
/// Most cards, disks and other parts of a machine that are told.
const MAX_PARTS: usize = 16;
/// Longest text of the descriptor that is told, in characters: the whole must fit in an event.
const MAX_TEXT: usize = 256;

/// Returns what the descriptor says; `None` for what is no package, and when one of its disks was chosen or its bytes are the disk.
pub(super) fn package(source: &ImageSource) -> Result<Option<library::PackageFacts>, Failures> {
    let (path, chosen) = split_path(&source.path);
    if chosen.is_some() || named_format(source.format.as_deref())? == Some(Format::Raw) {
        return Ok(None);
    }
    Ok(package_facts(path)?)
}

/// Reads the machine of a package, or of the one disk of it that was chosen; `None` for what is no package.
pub(super) fn packaged_machine(source: &ImageSource) -> Result<Option<library::PackagedMachine>, Failures> {
    if named_format(source.format.as_deref())? == Some(Format::Raw) {
        return Ok(None);
    }
    let (path, chosen) = split_path(&source.path);
    let Some(mut machine) = kiln_disk_formats::packaged_machine(path, &policy(source))? else { return Ok(None) };
    if let Some(chosen) = chosen {
        let index = machine.disks.iter().position(|name| name == chosen);
        machine.description.disks =
            index.map(|index| machine.description.disks.swap_remove(index)).into_iter().collect();
        // A file may be at two places, and is one disk.
        machine.disks = index.map(|_| chosen.to_owned()).into_iter().collect();
        for disk in &mut machine.description.disks {
            // Alone it is the first.
            disk.slot = None;
        }
    }
    Ok(Some(machine))
}

/// Returns a source for each disk; none when there is only one, which needs no choice.
pub(super) fn every_packaged_disk(source: &ImageSource, package: &library::PackageFacts) -> Vec<ImageSource> {
    let disks = &package.disks;
    // One source says what is wrong with more.
    if !(2..=MAX_TOLD).contains(&disks.len()) {
        return Vec::new();
    }
    let path =
        |disk: &library::PackagedDiskFacts| format!("{}:{}", source.path, disk.file.as_ref().unwrap_or(&disk.id));
    disks.iter().map(|disk| ImageSource { path: path(disk), ..source.clone() }).collect()
}

pub(super) fn on_the_wire(facts: library::PackageFacts) -> PackageFacts {
    let machine = |machine: library::PackagedMachine| PackagedMachine {
        name: machine.name.map(short),
        cpus: machine.cpus,
        memory: machine.memory,
        guest_os: machine.guest_os.map(short),
        firmware: machine.firmware.map(short),
        networks: machine.networks.into_iter().take(MAX_PARTS).map(short).collect(),
        secure_boot: machine.description.firmware == Firmware::Uefi { secure_boot: true },
        tpm: machine.description.tpm,
        cores_per_socket: machine.description.cores_per_socket,
        nested_virtualization: machine.description.nested_virtualization,
        disks: machine.description.disks.iter().zip(machine.disks).take(MAX_PARTS).map(placed).collect(),
        cards: machine.description.nics.into_iter().take(MAX_PARTS).map(card).collect(),
        nvram: machine.nvram.map(|(_, file)| short(file)),
        not_carried: machine.left_out.iter().take(MAX_PARTS).map(|what| one_line(what)).collect(),
    };
    let disk = |disk: library::PackagedDiskFacts| PackagedDisk {
        id: short(disk.id),
        filename: disk.file.map(short),
        virtual_size: disk.capacity,
    };
    PackageFacts {
        machines: facts.machines.into_iter().take(MAX_TOLD).map(machine).collect(),
        disks: facts.disks.into_iter().take(MAX_TOLD).map(disk).collect(),
    }
}

fn placed((disk, name): (&library::MachineDisk, String)) -> PlacedDisk {
    PlacedDisk {
        filename: short(name),
        bus: bus_word(disk.controller).to_owned(),
        controller: disk.slot.map(|slot| slot.controller),
        unit: disk.slot.map(|slot| slot.unit),
    }
}

fn card(nic: library::MachineNic) -> NetworkCard {
    NetworkCard {
        model: nic_word(nic.model).to_owned(),
        network: short(match nic.virtualbox_network {
            Some(name) => format!("{} ({name})", nic.network),
            None => nic.network,
        }),
        address: nic.mac.map(|mac| mac.to_string()),
    }
}

/// A descriptor's words as part of a line.
pub(super) fn one_line(text: &str) -> String {
    short(text.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn short(text: String) -> String {
    text.chars().take(MAX_TEXT).collect()
}
