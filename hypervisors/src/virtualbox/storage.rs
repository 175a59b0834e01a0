//! Controllers, and where disks and discs are on them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::call::{Call, on};
use super::facts::Slot;
use super::spec::{Bus, DiscRole, Drive, Hardware};
use crate::spec::MachineSpec;

/// Places of an IDE controller, in the order in which further disks take those that are free.
pub(super) const IDE_PLACES: [(u32, u32); 4] = [(0, 0), (0, 1), (1, 0), (1, 1)];

/// Name of the floppy's controller.
pub(super) const FLOPPY: &str = "Floppy";

impl Bus {
    /// The controller's name, which is Packer's.
    pub(super) fn controller(self) -> &'static str {
        match self {
            Self::Ide => "IDE",
            Self::Sata => "SATA",
            Self::Scsi => "SCSI",
            Self::Nvme => "NVMe",
            Self::Virtio => "VirtioSCSI",
        }
    }

    /// The kinds of controllers that are on it, in the words in which VirtualBox tells of them.
    pub(super) fn kinds(self) -> &'static [&'static str] {
        match self {
            Self::Ide => &["PIIX3", "PIIX4", "ICH6"],
            Self::Sata => &["IntelAhci"],
            Self::Scsi => &["LsiLogic", "BusLogic"],
            Self::Nvme => &["NVMe"],
            Self::Virtio => &["VirtioSCSI"],
        }
    }

    /// The words that make it.
    fn kind(self) -> &'static [&'static str] {
        match self {
            Self::Ide => &["--add", "ide"],
            Self::Sata => &["--add", "sata"],
            Self::Scsi => &["--add", "scsi", "--controller", "LSILogic"],
            Self::Nvme => &["--add", "pcie", "--controller", "NVMe"],
            Self::Virtio => &["--add", "VirtIO", "--controller", "VirtIO"],
        }
    }

    /// Where a disc is; Packer's places, so that guests find them under the same names.
    fn place_of_disc(self, role: DiscRole) -> (u32, u32) {
        match (self, role) {
            (Self::Ide, DiscRole::Installer) => (0, 1),
            (Self::Ide, DiscRole::GuestAdditions) => (1, 0),
            (Self::Ide, DiscRole::Seed) => (1, 1),
            (_, DiscRole::Installer) => (13, 0),
            (_, DiscRole::GuestAdditions) => (14, 0),
            (_, DiscRole::Seed) => (15, 0),
        }
    }
}

/// Something in its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) bus: Bus,
    pub(super) port: u32,
    pub(super) device: u32,
}

impl Place {
    /// Where `drive` is.
    pub(super) fn of(drive: &Drive) -> Self {
        let (port, device) = drive.bus.place_of_disc(drive.role);
        Self { bus: drive.bus, port, device }
    }
}

/// Where the disks are: one after the other, around the discs. Fewer places than disks: there is no room for the rest.
pub(super) fn places_of_disks(count: usize, bus: Bus, drives: &[Drive]) -> Vec<Place> {
    let taken: Vec<Place> = drives.iter().map(Place::of).filter(|place| place.bus == bus).collect();
    let candidates: Vec<(u32, u32)> = match bus {
        Bus::Ide => IDE_PLACES.to_vec(),
        Bus::Sata => (0..30).map(|port| (port, 0)).collect(),
        Bus::Scsi => (0..16).filter(|&port| port != 7).map(|port| (port, 0)).collect(),
        Bus::Nvme | Bus::Virtio => (0..255).map(|port| (port, 0)).collect(),
    };
    let places = candidates.into_iter().map(|(port, device)| Place { bus, port, device });
    places.filter(|place| !taken.contains(place)).take(count).collect()
}

/// Makes the controllers that the spec needs. IDE is always there.
pub(super) fn controllers(spec: &MachineSpec, hardware: &Hardware, uuid: &str) -> Vec<Call> {
    let drives = drives(spec);
    let disks = places_of_disks(spec.disks.len(), hardware.disk_bus, drives);
    let mut highest: BTreeMap<Bus, u32> = BTreeMap::from([(Bus::Ide, 0)]);
    for place in disks.into_iter().chain(drives.iter().map(Place::of)) {
        let port = highest.entry(place.bus).or_default();
        *port = (*port).max(place.port);
    }
    let controller = |(bus, port): (Bus, u32)| {
        let words = ["storagectl", uuid, "--name", bus.controller()].into_iter().chain(bus.kind().iter().copied());
        let mut call: Call = words.map(ToOwned::to_owned).collect();
        // As many ports as the template says, but those that are used.
        let ports = match bus {
            Bus::Sata => Some(hardware.sata_ports.max(port + 1)),
            Bus::Nvme => Some(hardware.nvme_ports.max(port + 1)),
            // It has one by itself.
            Bus::Virtio if port > 0 => Some(port + 1),
            _ => None,
        };
        if let Some(ports) = ports {
            call.extend(["--portcount".to_owned(), ports.to_string()]);
        }
        call
    };
    highest.into_iter().map(controller).collect()
}

/// Attaches the disks of a new machine. Each gets a UUID of its own, for VirtualBox knows images by it and two that are
/// equal have the same.
pub(super) fn attach_disks(spec: &MachineSpec, hardware: &Hardware, uuid: &str) -> Vec<Call> {
    let places = places_of_disks(spec.disks.len(), hardware.disk_bus, drives(spec));
    let attach = |(disk, place): (&crate::spec::DiskSpec, Place)| {
        let mut call = attach(uuid, place, "hdd", &disk.path);
        call.extend(["--nonrotational".to_owned(), on(hardware.non_rotational).to_owned()]);
        call.extend(["--discard".to_owned(), on(disk.discard == Some(true)).to_owned()]);
        call.extend(["--setuuid".to_owned(), uuid::Uuid::new_v4().to_string()]);
        call
    };
    spec.disks.iter().zip(places).map(attach).collect()
}

/// Puts the discs into drives. An image is named without links, for VirtualBox knows it by its path.
pub(super) fn attach_discs(drives: &[Drive], uuid: &str) -> Vec<Call> {
    drives.iter().map(|drive| attach(uuid, Place::of(drive), "dvddrive", &without_links(&drive.image))).collect()
}

/// Takes the discs out, but those that stay.
pub(super) fn remove_discs(drives: &[Drive], uuid: &str) -> Vec<Call> {
    let gone = drives.iter().filter(|drive| !drive.stays);
    gone.map(|drive| attach(uuid, Place::of(drive), "dvddrive", Path::new("none"))).collect()
}

/// Makes a floppy drive with `image` in it.
pub(super) fn attach_floppy(image: &Path, uuid: &str) -> Vec<Call> {
    let slot = Slot { controller: FLOPPY.to_owned(), port: 0, device: 0 };
    vec![add_floppy_controller(uuid), insert_floppy(uuid, &slot, &without_links(image).display().to_string())]
}

/// Makes the controller of the floppy drive.
pub(super) fn add_floppy_controller(uuid: &str) -> Call {
    words(["storagectl", uuid, "--name", FLOPPY, "--add", "floppy"])
}

/// Puts a medium into a floppy drive, and makes that.
pub(super) fn insert_floppy(uuid: &str, slot: &Slot, medium: &str) -> Call {
    attach_at(uuid, slot, "fdd", medium)
}

/// Puts a medium into a drive for discs, and makes that.
pub(super) fn insert_disc(uuid: &str, slot: &Slot, medium: &str) -> Call {
    attach_at(uuid, slot, "dvddrive", medium)
}

/// Removes the floppy drive with what is in it.
pub(super) fn remove_floppy(uuid: &str) -> Call {
    words(["storagectl", uuid, "--name", FLOPPY, "--remove"])
}

fn attach(uuid: &str, place: Place, kind: &str, medium: &Path) -> Call {
    let slot = Slot { controller: place.bus.controller().to_owned(), port: place.port, device: place.device };
    attach_at(uuid, &slot, kind, &medium.display().to_string())
}

fn attach_at(uuid: &str, slot: &Slot, kind: &str, medium: &str) -> Call {
    let (port, device) = (slot.port.to_string(), slot.device.to_string());
    let mut call = words(["storageattach", uuid, "--storagectl", &slot.controller]);
    call.extend(words(["--port", &port, "--device", &device, "--type", kind, "--medium", medium]));
    call
}

fn words<const N: usize>(words: [&str; N]) -> Call {
    words.map(ToOwned::to_owned).to_vec()
}

/// VirtualBox knows an image by its path.
pub(super) fn without_links(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// The discs of a machine for VirtualBox.
fn drives(spec: &MachineSpec) -> &[Drive] {
    match &spec.backend {
        crate::spec::BackendSpec::VirtualBox(part) => &part.drives,
        _ => &[],
    }
}
