//! What `image info` tells about the package that a disk is in.

use kiln_disk_formats::{Format, package as library, package_facts};
use kiln_protocol::{ImageSource, PackageFacts, PackagedDisk, PackagedMachine};

use super::failure::Failures;
use super::source::{named_format, split_path};

/// Most machines and disks that are told; no reader takes more disks.
const MAX_TOLD: usize = 256;
/// Most cards of a machine that are told.
const MAX_NETWORKS: usize = 16;
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
        networks: machine.networks.into_iter().take(MAX_NETWORKS).map(short).collect(),
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

fn short(text: String) -> String {
    text.chars().take(MAX_TEXT).collect()
}
