//! The VMX file of a machine that is to be started: Packer's settings, the spec's hardware, and what this backend needs itself.

use std::path::Path;

use kiln_disk_formats::package::vmx::Vmx;

use super::draft::{Draft, VmxProblem};
use super::inspect;
use super::machine_spec::VmwareMachineSpec;
use super::own_disks::OwnDisks;
use super::slots::Slots;
use super::spec::{Bus, ParallelPort, SerialPort, UsbVersion, VmwareFirmware};
use crate::spec::NetworkMode;

/// The file in the machine's directory that its serial port is written to, for explaining failures.
pub(super) const SERIAL_FILE: &str = "kiln-serial.log";

/// VMware insists on a multiple of this, in MiB.
const MEMORY_STEP: u64 = 4;

/// Where the guest's screen is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Display<'a> {
    pub(super) address: std::net::SocketAddr,
    pub(super) password: Option<&'a str>,
}

/// The settings that Packer writes whatever the template says.
const ALWAYS: &[(&str, &str)] = &[
    ("config.version", "8"),
    ("virtualHW.productCompatibility", "hosted"),
    ("floppy0.present", "FALSE"),
    ("bios.bootOrder", "hdd,cdrom"),
    ("gui.fullScreenAtPowerOn", "FALSE"),
    ("gui.viewModeAtPowerOn", "windowed"),
    ("hgfs.linkRootShare", "TRUE"),
    ("hgfs.mapRootShare", "TRUE"),
    ("isolation.tools.hgfs.disable", "FALSE"),
    ("proxyApps.publishToHost", "FALSE"),
    ("replay.filename", ""),
    ("replay.supported", "FALSE"),
    ("checkpoint.vmState", ""),
    ("vmotion.checkpointFBSize", "65536000"),
    ("cleanShutdown", "TRUE"),
    ("powerType.powerOff", "soft"),
    ("powerType.powerOn", "soft"),
    ("powerType.reset", "soft"),
    ("powerType.suspend", "soft"),
    ("tools.syncTime", "TRUE"),
    ("tools.upgrade.policy", "upgradeAtPowerCycle"),
    ("pciBridge0.present", "TRUE"),
    ("pciBridge0.pciSlotNumber", "17"),
    ("vmci0.present", "TRUE"),
    ("vmci0.id", "1861462627"),
    ("vmci0.pciSlotNumber", "35"),
    ("hpet0.present", "TRUE"),
];

/// The file of a machine that is new.
pub(super) fn new_machine(spec: VmwareMachineSpec<'_>) -> Result<Vmx, VmxProblem> {
    let base = match &spec.vmware.template {
        Some(text) => of_template(text)?,
        None => usual(spec)?,
    };
    let Some(more) = &spec.vmware.disk_template else { return Ok(base) };
    let mut draft = Draft::of(base);
    for (key, value) in Vmx::from_bytes(more.as_bytes())?.iter() {
        draft.set(key, value);
    }
    draft.finish()
}

/// The file that a template gives; a number of processors that is left to VMware is not in it.
fn of_template(text: &str) -> Result<Vmx, VmxProblem> {
    const CPUS: &str = "numvcpus";
    let mut vmx = Vmx::from_bytes(text.as_bytes())?;
    if vmx.get(CPUS) == Some("") {
        vmx.remove(CPUS);
    }
    Ok(vmx)
}

/// The file that Packer writes.
fn usual(spec: VmwareMachineSpec<'_>) -> Result<Vmx, VmxProblem> {
    let mut draft = Draft::of(Vmx::new());
    let (hardware, vmware) = (spec.hardware, spec.vmware);
    for (key, value) in ALWAYS {
        draft.set(key, value);
    }
    // Paravirtual devices sit behind PCI Express root ports.
    for bridge in 4..=7 {
        draft.truth(format!("pciBridge{bridge}.present"), true);
        draft.set(format!("pciBridge{bridge}.virtualDev"), "pcieRootPort");
        draft.set(format!("pciBridge{bridge}.functions"), 8);
        draft.set(format!("pciBridge{bridge}.pciSlotNumber"), 17 + bridge);
    }
    draft.set("virtualHW.version", vmware.hardware_version);
    draft.set("guestOS", &vmware.guest_os);
    draft.set("memsize", hardware.memory_mib.next_multiple_of(MEMORY_STEP));
    let topology = &hardware.topology;
    if let Some(cpus) = topology.cpus {
        draft.set("numvcpus", cpus);
    }
    if let Some(cores) = topology.cores {
        draft.set("cpuid.coresPerSocket", cores);
    }
    draft.truth("vhv.enable", vmware.nested);
    match vmware.firmware {
        None => {}
        Some(VmwareFirmware::Bios) => draft.set("firmware", "bios"),
        Some(efi) => {
            draft.set("firmware", "efi");
            if efi == VmwareFirmware::EfiSecure {
                draft.truth("uefi.secureBoot.enabled", true);
            }
        }
    }
    draft.set("nvram", format!("{}.nvram", hardware.name));
    network(&mut draft, spec);
    sound_and_usb(&mut draft, spec);
    serial(&mut draft, &vmware.serial);
    parallel(&mut draft, &vmware.parallel);
    draft.finish()
}

/// `base`, which lies in `directory`, with the spec's disks and media, the display, and the template's own entries.
pub(super) fn configured(
    base: Vmx,
    spec: VmwareMachineSpec<'_>,
    directory: &Path,
    display: Option<&Display<'_>>,
) -> Result<Vmx, VmxProblem> {
    let (hardware, vmware) = (spec.hardware, spec.vmware);
    let mut draft = Draft::of(base);
    // The file was copied or moved, and nobody is there to be asked.
    draft.truth("msg.autoAnswer", true);
    draft.set("uuid.action", "create");
    // A machine of its own has addresses of its own.
    draft.retain(|key| !(key.starts_with("ethernet") && key.contains(".generatedaddress")));
    disks_and_drives(&mut draft, spec, directory)?;
    if let Some(floppy) = &hardware.floppy {
        draft.truth("floppy0.present", true);
        draft.set("floppy0.fileType", "file");
        draft.set("floppy0.fileName", text(floppy)?);
    }
    let shown = vmware.display_name.as_deref().unwrap_or(&hardware.name);
    draft.set("displayName", shown);
    draft.set("extendedConfigFile", format!("{}.vmxf", hardware.name));
    if vmware.serial == SerialPort::Heard && !draft.vmx().is_true("serial0.present") && !sets(spec, "serial0.") {
        draft.truth("serial0.present", true);
        draft.set("serial0.fileType", "file");
        draft.set("serial0.fileName", SERIAL_FILE);
    }
    let own = OwnDisks::of(draft.vmx())?;
    draft.put_over(&vmware.data);
    // A disk of the original's may be taken out of a clone, but not one that was made for it.
    let made: Vec<&str> = hardware.disks.iter().filter_map(|disk| file_name(&disk.path, directory).to_str()).collect();
    own.check(draft.vmx(), |file| !made.contains(&file))?;
    if let Some(display) = display {
        draft.truth("RemoteDisplay.vnc.enabled", true);
        draft.set("RemoteDisplay.vnc.ip", display.address.ip());
        draft.set("RemoteDisplay.vnc.port", display.address.port());
        if let Some(password) = display.password {
            draft.set("RemoteDisplay.vnc.password", password);
        }
    }
    draft.finish()
}

/// Whether the template has entries of its own that begin so.
fn sets(spec: VmwareMachineSpec<'_>, beginning: &str) -> bool {
    spec.vmware.data.keys().any(|key| key.to_ascii_lowercase().starts_with(beginning))
}

/// How a network is called in a VMX file: its kind, and the virtual network of one that has a name.
pub(super) fn connection(mode: &NetworkMode) -> (&str, Option<&str>) {
    match mode {
        NetworkMode::User { .. } => ("nat", None),
        NetworkMode::Bridge { bridge } => match bridge.as_str() {
            "hostonly" | "bridged" | "nat" => (bridge, None),
            name => ("custom", Some(name)),
        },
    }
}

fn network(draft: &mut Draft, spec: VmwareMachineSpec<'_>) {
    let network = &spec.hardware.network;
    let (kind, vnet) = connection(&network.mode);
    for (key, value) in [
        ("present", "TRUE"),
        ("addressType", "generated"),
        ("bsdName", "en0"),
        ("displayName", "Ethernet"),
        ("linkStatePropagation.enable", "FALSE"),
        ("pciSlotNumber", "33"),
        ("wakeOnPcktRcv", "FALSE"),
        ("connectionType", kind),
        ("virtualDev", network.device.as_deref().unwrap_or("e1000")),
    ] {
        draft.set(format!("ethernet0.{key}"), value);
    }
    if let Some(vnet) = vnet {
        draft.set("ethernet0.vnet", vnet);
    }
}

fn sound_and_usb(draft: &mut Draft, spec: VmwareMachineSpec<'_>) {
    draft.truth("sound.present", spec.vmware.sound);
    if spec.vmware.sound {
        draft.truth("sound.startConnected", true);
        draft.set("sound.fileName", "-1");
        draft.truth("sound.autodetect", true);
    }
    let usb = spec.vmware.usb;
    draft.truth("usb.present", usb.is_some());
    draft.truth("ehci.present", usb.is_some());
    if matches!(usb, Some(UsbVersion::V31 | UsbVersion::V32)) {
        draft.truth("usb_xhci.present", true);
    }
}

fn serial(draft: &mut Draft, port: &SerialPort) {
    let (kind, name, yields) = match port {
        SerialPort::None | SerialPort::Heard => return,
        SerialPort::File { path, yields } => ("file", Some(path), *yields),
        SerialPort::Device { path, yields } => ("device", Some(path), *yields),
        SerialPort::Pipe { path, yields, .. } => ("pipe", Some(path), *yields),
        SerialPort::Auto { yields } => ("device", None, *yields),
    };
    draft.truth("serial0.present", true);
    draft.set("serial0.fileType", kind);
    match name {
        Some(name) => draft.set("serial0.fileName", name),
        None => draft.truth("serial0.autodetect", true),
    }
    if let SerialPort::Pipe { end, app, .. } = port {
        draft.set("serial0.pipe.endPoint", end);
        draft.truth("serial0.tryNoRxLoss", *app);
    }
    draft.truth("serial0.yieldOnMsrRead", yields);
}

fn parallel(draft: &mut Draft, port: &ParallelPort) {
    let bidirectional = match port {
        ParallelPort::None => return,
        ParallelPort::File { path } => {
            draft.set("parallel0.fileType", "file");
            draft.set("parallel0.fileName", path);
            None
        }
        ParallelPort::Device { path, bidirectional } => {
            draft.set("parallel0.fileType", "device");
            draft.set("parallel0.fileName", path);
            Some(*bidirectional)
        }
        ParallelPort::Auto { bidirectional } => {
            draft.set("parallel0.fileType", "device");
            draft.truth("parallel0.autodetect", true);
            Some(*bidirectional)
        }
    };
    draft.truth("parallel0.present", true);
    if let Some(bidirectional) = bidirectional {
        draft.truth("parallel0.bidirectional", bidirectional);
    }
}

/// Disks in the order of the spec, then drives: the first beside the disks, further ones on the next controller, as Packer places them.
/// What a template has put in already stays where it is.
fn disks_and_drives(draft: &mut Draft, spec: VmwareMachineSpec<'_>, directory: &Path) -> Result<(), VmxProblem> {
    let adapter = spec.vmware.disk_adapter.as_str();
    let disk_bus = Bus::of_adapter(adapter);
    let mut slots = Slots::of(draft.vmx());
    let there = inspect::files(draft.vmx());
    let is_new = |path: &Path| !there.iter().any(|file| Path::new(file) == path);
    let mut disks = spec.hardware.disks.iter().filter(|disk| is_new(file_name(&disk.path, directory)));
    if let Some(disk) = disks.next() {
        let slot = slots.take(disk_bus, 0, 0).ok_or_else(|| VmxProblem::Full(disk_bus))?;
        attach_disk(draft, &slot.to_string(), &disk.path, directory)?;
        controller(draft, disk_bus, slot.controller, Some(adapter));
    }
    for (index, drive) in spec.hardware.cdroms.iter().enumerate().filter(|(_, drive)| is_new(&drive.path)) {
        let named = drive.interface.as_deref().and_then(Bus::parse);
        let bus = named.unwrap_or(match disk_bus {
            Bus::Sata | Bus::Nvme => Bus::Sata,
            Bus::Ide | Bus::Scsi => Bus::Ide,
        });
        let controller_number = u32::from(index > 0);
        let slot = slots.take(bus, controller_number, 0).ok_or_else(|| VmxProblem::Full(bus))?;
        draft.truth(format!("{slot}.present"), true);
        draft.set(format!("{slot}.fileName"), text(&drive.path)?);
        draft.set(format!("{slot}.deviceType"), "cdrom-image");
        controller(draft, bus, slot.controller, None);
    }
    for disk in disks {
        let slot = slots.take(disk_bus, 0, 0).ok_or_else(|| VmxProblem::Full(disk_bus))?;
        attach_disk(draft, &slot.to_string(), &disk.path, directory)?;
        controller(draft, disk_bus, slot.controller, Some(adapter));
    }
    Ok(())
}

fn attach_disk(draft: &mut Draft, slot: &str, path: &Path, directory: &Path) -> Result<(), VmxProblem> {
    draft.truth(format!("{slot}.present"), true);
    draft.set(format!("{slot}.fileName"), text(file_name(path, directory))?);
    draft.set(format!("{slot}.redo"), "");
    Ok(())
}

/// How a file is named in a VMX file in `directory`: what lies beside it so that the directory can be moved.
fn file_name<'a>(path: &'a Path, directory: &Path) -> &'a Path {
    path.strip_prefix(directory).unwrap_or(path)
}

/// Switches a controller on; `adapter` is the model that a SCSI one has if it is new.
fn controller(draft: &mut Draft, bus: Bus, number: u32, adapter: Option<&str>) {
    if bus == Bus::Ide || draft.vmx().is_true(&format!("{bus}{number}.present")) {
        return;
    }
    draft.truth(format!("{bus}{number}.present"), true);
    if bus == Bus::Scsi {
        let model = adapter.filter(|adapter| *adapter != "scsi" && Bus::of_adapter(adapter) == Bus::Scsi);
        draft.set(format!("scsi{number}.virtualDev"), model.unwrap_or("lsilogic"));
        if number == 0 {
            draft.set("scsi0.pciSlotNumber", 16);
        }
    }
}

/// A path as a VMX file holds it.
fn text(path: &Path) -> Result<&str, VmxProblem> {
    path.to_str().ok_or_else(|| VmxProblem::NotText(path.to_owned()))
}
