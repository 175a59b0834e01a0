//! Disks, CD-ROM drives and flash memory as QEMU's `-drive` and `-device` values.

use super::value::{escape, text};
use crate::qemu::machine_spec::QemuMachineSpec;
use crate::qemu::spec::{CacheMode, DetectZeroes, QemuSpec};
use crate::spec::{CdromSpec, DiskInterface, DiskSpec, Firmware};

/// Disks and CD-ROM drives as switches' values.
#[derive(Default)]
pub(super) struct Drives {
    /// Values of `-drive`.
    pub(super) drives: Vec<String>,
    /// Values of `-device` that Packer makes too: a template's own `-device` replaces them.
    pub(super) devices: Vec<String>,
    /// Values of `-device` where Packer has only `-drive`: only a template's own `-drive` replaces them.
    pub(super) drive_devices: Vec<String>,
}

/// Controllers made so far.
#[derive(Default)]
struct Controllers {
    virtio_scsi: bool,
    own_virtio_scsi: bool,
    lsi: bool,
    /// Ports used on the AHCI controller; `None`: there is none yet.
    ahci_ports: Option<usize>,
}

/// All disks and CD-ROM drives, disks first.
pub(super) fn drives(spec: QemuMachineSpec<'_>, warnings: &mut Vec<String>) -> Drives {
    let mut all = Drives::default();
    let mut controllers = Controllers::default();
    for (index, disk) in spec.hardware.disks.iter().enumerate() {
        let options = disk_options(disk, spec.qemu, warnings);
        let file = escape(&text(&disk.path));
        if disk_device(spec, disk.interface, index, &mut controllers, &mut all) {
            all.drives.push(format!("if=none,file={file},id=drive{index},{options}"));
        } else {
            all.drives.push(format!("file={file},if={},{options}", disk.interface.as_str()));
        }
    }
    for (index, cdrom) in spec.hardware.cdroms.iter().enumerate() {
        cdrom_drive(spec, cdrom, index, &mut controllers, &mut all);
    }
    all
}

/// The firmware's flash memory.
pub(super) fn firmware(spec: QemuMachineSpec<'_>) -> Vec<String> {
    let code_format = if spec.qemu.firmware_is_qcow2 { "qcow2" } else { "raw" };
    match &spec.hardware.firmware {
        Firmware::Default | Firmware::Bios(_) => Vec::new(),
        Firmware::Flash(path) => {
            vec![format!("file={},if=pflash,format=raw,readonly=on", escape(&text(path)))]
        }
        Firmware::Efi { code, vars } => vec![
            format!("file={},if=pflash,unit=0,format={code_format},readonly=on", escape(&text(code))),
            format!("file={},if=pflash,unit=1,format=raw", escape(&text(vars))),
        ],
    }
}

/// How a disk is kept, with what the template leaves open decided.
pub(crate) struct Settled {
    pub(crate) cache: CacheMode,
    pub(crate) discard: bool,
    pub(crate) detect_zeroes: DetectZeroes,
}

impl Settled {
    pub(crate) fn of(disk: &DiskSpec, qemu: &QemuSpec, warnings: &mut Vec<String>) -> Self {
        let cache = qemu.disk_cache.unwrap_or(CacheMode::Unsafe);
        let discard = disk.discard.unwrap_or(true);
        let mut detect_zeroes =
            qemu.disk_detect_zeroes.unwrap_or(if discard { DetectZeroes::Unmap } else { DetectZeroes::On });
        if detect_zeroes == DetectZeroes::Unmap && !discard {
            let warning = "disk_detect_zeroes = \"unmap\" needs disk_discard = \"unmap\"; \"on\" is used".to_owned();
            // It holds for every disk, and is said once.
            if !warnings.contains(&warning) {
                warnings.push(warning);
            }
            detect_zeroes = DetectZeroes::On;
        }
        Self { cache, discard, detect_zeroes }
    }
}

fn disk_options(disk: &DiskSpec, qemu: &QemuSpec, warnings: &mut Vec<String>) -> String {
    let Settled { cache, discard, detect_zeroes } = Settled::of(disk, qemu, warnings);
    let discard = if discard { "unmap" } else { "ignore" };
    let mut options = format!("cache={},discard={discard},format={}", cache.as_str(), disk.format.as_str());
    if detect_zeroes != DetectZeroes::Off {
        options += &format!(",detect-zeroes={}", detect_zeroes.as_str());
    }
    options
}

/// Makes the device for a disk that `-drive if=` cannot make by itself, after its controller; tells whether it did.
fn disk_device(
    spec: QemuMachineSpec<'_>,
    interface: DiskInterface,
    index: usize,
    controllers: &mut Controllers,
    all: &mut Drives,
) -> bool {
    match interface {
        DiskInterface::VirtioScsi => {
            controllers.virtio_scsi(&mut all.devices);
            all.devices.push(format!("scsi-hd,bus=scsi0.0,drive=drive{index}"));
        }
        // It has no adapter of its own; this is the one that guests have drivers for.
        DiskInterface::Scsi if spec.is_virt() => {
            controllers.own_virtio_scsi(&mut all.drive_devices);
            all.drive_devices.push(format!("scsi-hd,bus=scsi1.0,drive=drive{index}"));
        }
        // `if=sata` does not exist: Packer accepts the word and QEMU then refuses it.
        DiskInterface::Sata => {
            let port = controllers.ahci_port(&mut all.drive_devices);
            all.drive_devices.push(format!("ide-hd,bus=ahci0.{port},drive=drive{index}"));
        }
        // PCs lost `if=scsi` in QEMU 3; machines with SCSI of their own still have it.
        DiskInterface::Scsi if spec.is_pc() => {
            controllers.lsi(&mut all.drive_devices);
            all.drive_devices.push(format!("scsi-hd,bus=lsi0.0,drive=drive{index}"));
        }
        DiskInterface::Scsi | DiskInterface::Ide | DiskInterface::Virtio | DiskInterface::Sd => return false,
    }
    true
}

/// Left to guess, QEMU would follow whatever an image of a stranger says it is. Only Apple's format has to be guessed.
pub(crate) fn is_dmg(cdrom: &CdromSpec) -> bool {
    cdrom.path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("dmg"))
}

fn cdrom_drive(
    spec: QemuMachineSpec<'_>,
    cdrom: &CdromSpec,
    index: usize,
    controllers: &mut Controllers,
    all: &mut Drives,
) {
    // What a server has is put in when QEMU runs: everybody on this host can read a command line.
    let is_empty = cdrom.url().is_some();
    let file = if is_empty { String::new() } else { format!("file={},", escape(&text(&cdrom.path))) };
    let format = if is_empty || is_dmg(cdrom) { "" } else { ",format=raw" };
    let none = format!("{file}if=none,id=cdrom{index},media=cdrom{format}");
    match cdrom.interface.as_deref() {
        // QEMU would make a disk of it there, which installers do not take for a CD.
        None | Some("" | "scsi") if spec.is_virt() => {
            controllers.own_virtio_scsi(&mut all.drive_devices);
            all.drive_devices.push(format!("scsi-cd,bus=scsi1.0,drive=cdrom{index}"));
            all.drives.push(none);
        }
        None | Some("") if is_empty => all.drives.push(format!("id=cdrom{index},media=cdrom")),
        None | Some("") => all.drives.push(format!("{file}media=cdrom{format}")),
        Some("virtio-scsi") => {
            controllers.virtio_scsi(&mut all.devices);
            all.devices.push(format!("scsi-cd,bus=scsi0.0,drive=cdrom{index}"));
            all.drives.push(none);
        }
        Some("sata") => {
            let port = controllers.ahci_port(&mut all.drive_devices);
            all.drive_devices.push(format!("ide-cd,bus=ahci0.{port},drive=cdrom{index}"));
            all.drives.push(none);
        }
        Some("scsi") if spec.is_pc() => {
            controllers.lsi(&mut all.drive_devices);
            all.drive_devices.push(format!("scsi-cd,bus=lsi0.0,drive=cdrom{index}"));
            all.drives.push(none);
        }
        Some(interface) => {
            // Packer counts from 0 even if a disk has that place already.
            let taken = spec.hardware.disks.iter().filter(|disk| disk.interface.as_str() == interface).count();
            let place = taken + index;
            all.drives.push(format!("{file}if={interface},index={place},id=cdrom{index},media=cdrom{format}"));
        }
    }
}

impl Controllers {
    fn virtio_scsi(&mut self, devices: &mut Vec<String>) {
        if !std::mem::replace(&mut self.virtio_scsi, true) {
            devices.push("virtio-scsi-pci,id=scsi0".to_owned());
        }
    }

    /// The controller of drives that Packer makes without one, which a template's own devices do not replace.
    fn own_virtio_scsi(&mut self, devices: &mut Vec<String>) {
        if !std::mem::replace(&mut self.own_virtio_scsi, true) {
            devices.push("virtio-scsi-pci,id=scsi1".to_owned());
        }
    }

    fn lsi(&mut self, devices: &mut Vec<String>) {
        if !std::mem::replace(&mut self.lsi, true) {
            devices.push("lsi53c895a,id=lsi0".to_owned());
        }
    }

    /// The next free port of the AHCI controller, which has six.
    fn ahci_port(&mut self, devices: &mut Vec<String>) -> usize {
        if self.ahci_ports.is_none() {
            devices.push("ich9-ahci,id=ahci0".to_owned());
        }
        let port = self.ahci_ports.unwrap_or(0);
        self.ahci_ports = Some(port + 1);
        port
    }
}
