//! What only VirtualBox has of a machine: its words, switches and commands. The hardware every backend has is in
//! [`MachineSpec`](crate::MachineSpec).

use std::path::PathBuf;
use std::time::Duration;

/// VirtualBox's part of a machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualBoxSpec {
    /// Where the machine's own directory is made; `None`: in the runtime directory. Packages are unpacked in it, so it has to have
    /// room for their disks.
    pub work_dir: Option<PathBuf>,
    /// The machine is to stay where VirtualBox keeps its user's machines: it is registered there, and one that is imported moved there
    /// when it [retires](crate::Machine::retire). One of others stays as the build leaves it.
    pub in_default_folder: bool,
    /// The hardware of a machine that is made new; `None`: what is imported or cloned keeps its own.
    pub hardware: Option<Hardware>,
    /// What is attached to the machine beside the disks of the spec.
    pub drives: Vec<Drive>,
    /// The remote display; `None`: as it is.
    pub remote_display: Option<RemoteDisplay>,
    /// The serial port writes into a file, which [`Machine::serial_tail`](crate::Machine::serial_tail) reads.
    pub serial: bool,
    /// Least time between two groups of keys.
    pub key_group_interval: Duration,
    /// Further arguments of the import of a package.
    pub import: Vec<String>,
    /// Commands of the template before the machine starts, without the program.
    pub commands: Vec<Vec<String>>,
    /// What is done when the guest is off.
    pub after: AfterStop,
}

impl Default for VirtualBoxSpec {
    fn default() -> Self {
        Self {
            work_dir: None,
            in_default_folder: false,
            hardware: Some(Hardware::default()),
            drives: Vec::new(),
            remote_display: None,
            serial: false,
            key_group_interval: Duration::from_millis(100),
            import: Vec::new(),
            commands: Vec::new(),
            after: AfterStop::default(),
        }
    }
}

/// Words of VirtualBox for the hardware of a new machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hardware {
    /// VirtualBox's name of the guest's system, of those that `VBoxManage list ostypes` lists.
    pub os_type: String,
    /// `piix3`, `ich9`, ….
    pub chipset: String,
    /// UEFI instead of a BIOS.
    pub efi: bool,
    /// UEFI's screen, `WIDTHxHEIGHT`.
    pub efi_resolution: Option<String>,
    /// The guest may run machines of its own; `None`: as VirtualBox has it.
    pub nested: Option<bool>,
    /// The hardware clock counts UTC, else the host's local time.
    pub clock_utc: bool,
    /// `ac97`, `hda`, `sb16`, `none`.
    pub audio_controller: String,
    /// The host's audio driver; `none`: silence.
    pub audio_driver: String,
    /// The controller for USB devices; `None`: no USB.
    pub usb: Option<String>,
    /// `ps2`, `usb`, `usbtablet`, `usbmultitouch`.
    pub mouse: String,
    /// `ps2`, `usb`.
    pub keyboard: String,
    /// `vboxvga`, `vboxsvga`, `vmsvga`, …; `None`: what VirtualBox recommends for the guest's system.
    pub graphics: Option<String>,
    /// Memory of the graphics card, in MiB.
    pub video_memory: u32,
    /// 3D acceleration.
    pub accelerate_3d: bool,
    /// How the disks are attached.
    pub disk_bus: Bus,
    /// Ports of the SATA controller.
    pub sata_ports: u32,
    /// Ports of the NVMe controller.
    pub nvme_ports: u32,
    /// Disks look like SSDs.
    pub non_rotational: bool,
}

impl Default for Hardware {
    /// Packer's defaults.
    fn default() -> Self {
        Self {
            os_type: "Other".to_owned(),
            chipset: "piix3".to_owned(),
            efi: false,
            efi_resolution: None,
            nested: None,
            clock_utc: false,
            audio_controller: "ac97".to_owned(),
            audio_driver: "none".to_owned(),
            usb: None,
            mouse: "ps2".to_owned(),
            keyboard: "ps2".to_owned(),
            graphics: None,
            video_memory: 4,
            accelerate_3d: false,
            disk_bus: Bus::Ide,
            sata_ports: 1,
            nvme_ports: 1,
            non_rotational: false,
        }
    }
}

/// A kind of storage controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bus {
    /// IDE.
    Ide,
    /// SATA.
    Sata,
    /// SCSI on an LSI Logic adapter.
    Scsi,
    /// NVMe.
    Nvme,
    /// virtio-scsi.
    Virtio,
}

impl Bus {
    /// The kind that templates call `word`.
    pub fn parse(word: &str) -> Option<Self> {
        match word {
            "ide" => Some(Self::Ide),
            "sata" => Some(Self::Sata),
            "scsi" => Some(Self::Scsi),
            "pcie" => Some(Self::Nvme),
            "virtio" => Some(Self::Virtio),
            _ => None,
        }
    }
}

/// A drive with a disc in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drive {
    /// The disc's image.
    pub image: PathBuf,
    /// How the drive is attached.
    pub bus: Bus,
    /// What the disc is, which says where Packer attaches it.
    pub role: DiscRole,
    /// It stays when the others are taken out.
    pub stays: bool,
}

/// What a disc is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DiscRole {
    /// The installer.
    Installer,
    /// The guest additions.
    GuestAdditions,
    /// The CD with seed files.
    Seed,
}

/// The remote display, for people who watch by RDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemoteDisplay {
    /// Listening address.
    pub bind: String,
    /// Lowest and highest port.
    pub ports: (u16, u16),
    /// The template asks for it: where nothing serves it, the machine is refused. Else that is a warning.
    pub asked_for: bool,
}

/// What is done with a machine whose guest is off.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AfterStop {
    /// Floppy and discs are taken out.
    pub remove_media: bool,
    /// Commands of the template, without the program.
    pub commands: Vec<Vec<String>>,
    /// Where a copy of what the firmware keeps between starts is put, when there is any.
    pub nvram: Option<PathBuf>,
    /// A snapshot is taken.
    pub snapshot: Option<TakeSnapshot>,
    /// The machine is noted, so that others than VirtualBox can export it.
    pub notes: Option<Notes>,
    /// VirtualBox exports the machine; with `notes` only where these tell that others cannot.
    pub export: Option<Export>,
}

/// Files in which a machine is noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notes {
    /// Its settings, as VirtualBox has them.
    pub settings: PathBuf,
    /// The disk images, as VirtualBox lists them; or, behind [`LEFT`](Self::LEFT), why the export is left to VirtualBox.
    pub media: PathBuf,
}

impl Notes {
    /// How a note begins that says why VirtualBox has exported the machine.
    pub const LEFT: &str = "left to VirtualBox: ";
}

/// A snapshot to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeSnapshot {
    /// Its name.
    pub name: String,
    /// One of that name goes first.
    pub replace: bool,
}

/// An export by VirtualBox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Export {
    /// The directory it is made in; must not exist. What is in it belongs to the caller afterwards.
    pub directory: PathBuf,
    /// Name of the `.ovf` or `.ova`.
    pub file_name: String,
    /// Further arguments.
    pub options: Vec<String>,
}
