//! Disks, CD-ROM drives and the floppy as domain XML.
//!
//! What is a PCI device of its own gets a place behind those that QEMU gives out: the template's own devices then lie where they lie without
//! libvirt, the network adapter among them.

use std::path::Path;

use super::xml::{Element, element};
use crate::qemu::arguments::Settled;
use crate::qemu::machine_spec::QemuMachineSpec;
use crate::spec::DiskFormat;

/// The first PCI slot of libvirt's devices; QEMU gives out its own from 2 on.
const FIRST_SLOT: u8 = 0x10;

/// The last one: behind it lie the built-in devices of q35.
const LAST_SLOT: u8 = 0x1c;

/// Ports of an AHCI controller.
const SATA_PORTS: u32 = 6;

/// The model of libvirt's SCSI adapters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scsi {
    Virtio,
    Lsi,
}

/// The places given out so far.
struct Places {
    slot: u8,
    /// Letters used of `hd`, `sd` and `vd`.
    letters: [u8; 3],
    /// SCSI adapters by model, the index being libvirt's, each with the number of disks on it.
    scsi: Vec<(Scsi, u32)>,
    /// Ports used on the AHCI controller.
    sata: u32,
    elements: Vec<Element>,
}

/// One drive.
struct Drive<'a> {
    device: &'static str,
    path: &'a Path,
    interface: &'a str,
    driver: Element,
    read_only: bool,
}

/// All of them, disks first, with the adapters they need; or what cannot be done.
pub(super) fn drives(
    spec: QemuMachineSpec<'_>,
    floppy: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<Vec<Element>, String> {
    let mut places = Places { slot: FIRST_SLOT, letters: [0; 3], scsi: Vec::new(), sata: 0, elements: Vec::new() };
    for disk in &spec.hardware.disks {
        let Settled { cache, discard, detect_zeroes } = Settled::of(disk, spec.qemu, warnings);
        let driver = driver(disk.format)
            .with("cache", cache.as_str())
            .with("discard", if discard { "unmap" } else { "ignore" })
            .with("detect_zeroes", detect_zeroes.as_str());
        let interface = disk.interface.as_str();
        places.add(spec, Drive { device: "disk", path: &disk.path, interface, driver, read_only: false })?;
    }
    for cdrom in &spec.hardware.cdroms {
        let interface = cdrom.interface.as_deref().filter(|name| !name.is_empty()).unwrap_or(default_cdrom(spec));
        // virtio-blk knows no CDs: QEMU makes a disk of it, too.
        let device = if interface == "virtio" { "disk" } else { "cdrom" };
        let driver = driver(DiskFormat::Raw);
        places.add(spec, Drive { device, path: &cdrom.path, interface, driver, read_only: true })?;
    }
    if let Some(path) = floppy {
        places.elements.push(
            element("disk")
                .with("type", "file")
                .with("device", "floppy")
                .child(driver(DiskFormat::Raw))
                .child(element("source").with("file", &absolute(path)?))
                .child(element("target").with("dev", "fda").with("bus", "fdc")),
        );
    }
    Ok(places.elements)
}

fn driver(format: DiskFormat) -> Element {
    element("driver").with("name", "qemu").with("type", format.as_str())
}

/// libvirt takes no other paths.
pub(super) fn absolute(path: &Path) -> Result<String, String> {
    let absolute = std::path::absolute(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(absolute.to_string_lossy().into_owned())
}

/// Where QEMU puts a CD that says nothing.
fn default_cdrom(spec: QemuMachineSpec<'_>) -> &'static str {
    if spec.is_virt() { "scsi" } else { "ide" }
}

impl Places {
    fn add(&mut self, spec: QemuMachineSpec<'_>, drive: Drive<'_>) -> Result<(), String> {
        let mut disk = element("disk").with("type", "file").with("device", drive.device).child(drive.driver);
        disk = disk.child(element("source").with("file", &absolute(drive.path)?));
        let (bus, prefix) = match drive.interface {
            // The drives of q35 are on its AHCI controller, whatever they are called.
            "ide" if spec.has_smm() => ("sata", 1),
            "ide" => ("ide", 0),
            "sata" => ("sata", 1),
            "scsi" | "virtio-scsi" => ("scsi", 1),
            "virtio" => ("virtio", 2),
            "sd" => ("sd", 1),
            other => (other, 1),
        };
        disk = disk.child(element("target").with("dev", &self.name(prefix)?).with("bus", bus));
        if drive.read_only {
            disk = disk.child(element("readonly"));
        }
        match drive.interface {
            "virtio" => disk = disk.child(self.pci()?),
            // As QEMU does without libvirt: the adapter that a PC once had, and one with drivers elsewhere.
            "scsi" if spec.is_pc() => disk = disk.child(self.on_scsi(Scsi::Lsi)?),
            "scsi" | "virtio-scsi" => disk = disk.child(self.on_scsi(Scsi::Virtio)?),
            _ if bus == "sata" => disk = disk.child(self.on_sata(spec)?),
            _ => {}
        }
        self.elements.push(disk);
        Ok(())
    }

    /// The next name of a disk, which libvirt wants and the guest does not see.
    fn name(&mut self, prefix: usize) -> Result<String, String> {
        let letter = self.letters[prefix];
        self.letters[prefix] += 1;
        match letter {
            0..26 => Ok(format!("{}d{}", ["h", "s", "v"][prefix], char::from(b'a' + letter))),
            _ => Err("more than 26 drives of a kind".to_owned()),
        }
    }

    fn pci(&mut self) -> Result<Element, String> {
        let slot = self.slot;
        self.slot += 1;
        match slot {
            FIRST_SLOT..=LAST_SLOT => Ok(element("address")
                .with("type", "pci")
                .with("domain", "0x0000")
                .with("bus", "0x00")
                .with("slot", &format!("{slot:#04x}"))
                .with("function", "0x0")),
            _ => Err(format!("more than {} virtio disks and adapters", LAST_SLOT - FIRST_SLOT + 1)),
        }
    }

    fn on_scsi(&mut self, model: Scsi) -> Result<Element, String> {
        if !self.scsi.iter().any(|(known, _)| *known == model) {
            let index = self.scsi.len();
            self.scsi.push((model, 0));
            let name = if model == Scsi::Virtio { "virtio-scsi" } else { "lsilogic" };
            let address = self.pci()?;
            self.elements.push(controller("scsi", index).with("model", name).child(address));
        }
        let place = self.scsi.iter_mut().enumerate().find(|(_, (known, _))| *known == model);
        let (index, (_, used)) = place.ok_or_else(|| "there is no SCSI adapter".to_owned())?;
        let unit = *used;
        *used += 1;
        // lsilogic has seven targets beside itself; on virtio-scsi any number will do.
        let (target, unit) = if model == Scsi::Lsi { (unit, 0) } else { (0, unit) };
        Ok(on_adapter(index, target, unit))
    }

    fn on_sata(&mut self, spec: QemuMachineSpec<'_>) -> Result<Element, String> {
        let port = self.sata;
        self.sata += 1;
        if port >= SATA_PORTS {
            return Err(format!("more than {SATA_PORTS} SATA drives"));
        }
        // q35 has one of its own.
        if port == 0 && !spec.has_smm() {
            let address = self.pci()?;
            self.elements.push(controller("sata", 0).child(address));
        }
        Ok(on_adapter(0, 0, port))
    }
}

fn controller(kind: &str, index: usize) -> Element {
    element("controller").with("type", kind).with("index", &index.to_string())
}

/// A place on an adapter. Left out, libvirt would read it from the disk's name.
fn on_adapter(index: usize, target: u32, unit: u32) -> Element {
    element("address")
        .with("type", "drive")
        .with("controller", &index.to_string())
        .with("bus", "0")
        .with("target", &target.to_string())
        .with("unit", &unit.to_string())
}
