//! From the plan to the description of a machine.

use std::path::{Path, PathBuf};

use kiln_disk_formats::package::{
    DiskController, Firmware as PackageFirmware, GuestOs, MachineDescription, MachineDisk, MachineNic, NicModel,
    VendorGuestWords,
};
use kiln_hypervisors::virtualbox::VirtualBoxSpec;
use kiln_hypervisors::virtualbox::spec::{
    AfterStop, Bus, DiscRole, Drive, Export, Hardware, RemoteDisplay, TakeSnapshot,
};
use kiln_hypervisors::{
    DiskFormat, DiskInterface, DiskSpec, MachineSpec, NetworkMode, NetworkSpec, Origin, PortForward, Topology,
};

use super::{disks, notes};
use crate::backends::Backends;
use crate::error::StepError;
use crate::machine_build::{Media, Render};
use crate::plan::{AdditionsMode, NewMachinePlan, VirtualBoxOrigin, VirtualBoxPlan};
use crate::plan_reader::PlanReader;

/// The hypervisor that runs the machines of these builders.
pub(super) const HYPERVISOR: &str = "virtualbox";

/// Complains about what this host lacks for the machine, and about a machine that cannot be. Nothing is started.
pub(super) fn check_host(plan: &VirtualBoxPlan, reader: &mut PlanReader<'_>, backends: &Backends) {
    let Ok(hypervisor) = backends.hypervisor(HYPERVISOR) else { return };
    for problem in hypervisor.check(&draft(plan)).err().into_iter().flatten() {
        reader.not_here(problem.setting, "This machine cannot be run here", problem.problem, problem.hint);
    }
}

/// The machine before anything is fetched or made for it, with its commands as the template has them.
pub(super) fn draft(plan: &VirtualBoxPlan) -> MachineSpec {
    let nowhere = PathBuf::from(".");
    let media = Media {
        image: None,
        floppy: None,
        cd: plan.cd.as_ref().map(|_| nowhere.clone()),
        tools: (plan.additions.mode == AdditionsMode::Attach).then(|| nowhere.clone()),
        work: nowhere.clone(),
        sockets: nowhere,
    };
    spec(plan, &media, plan.commands.clone(), Vec::new())
}

/// Renders commands right before the machine starts.
pub(super) fn commands(commands: &[Vec<String>], render: &Render<'_>) -> Result<Vec<Vec<String>>, StepError> {
    commands.iter().map(|command| command.iter().map(|word| render(word)).collect()).collect()
}

/// The machine the plan describes, with its commands as they are to be run.
pub(super) fn spec(
    plan: &VirtualBoxPlan,
    media: &Media,
    before: Vec<Vec<String>>,
    after: Vec<Vec<String>>,
) -> MachineSpec {
    let (notes, nvram) = disks::exported_by_us(plan).then(|| notes::wanted(plan)).unzip();
    let mut part = VirtualBoxSpec {
        work_dir: Some(media.work.clone()),
        in_default_folder: plan.keep_registered,
        hardware: None,
        drives: Vec::new(),
        remote_display: Some(RemoteDisplay {
            bind: plan.vrdp.bind.clone(),
            ports: plan.vrdp.ports,
            asked_for: plan.vrdp.asked_for,
        }),
        key_group_interval: plan.key_group_interval,
        commands: before,
        after: AfterStop {
            remove_media: true,
            commands: after,
            nvram,
            notes,
            snapshot: None,
            export: disks::exported_by_virtualbox(plan).map(|directory| Export {
                directory,
                file_name: format!("{}.{}", plan.output_filename, plan.format),
                options: plan.export_options.clone(),
            }),
        },
        ..VirtualBoxSpec::default()
    };
    let additions = Bus::parse(&plan.additions.interface).unwrap_or(Bus::Ide);
    let mut seed = additions;
    let mut origin = Origin::New;
    let mut installer = None;
    match &plan.origin {
        VirtualBoxOrigin::Iso { machine, .. } => {
            seed = Bus::parse(&machine.iso_interface).unwrap_or(Bus::Ide);
            installer = media.image.clone().map(|image| (image, seed, machine.bundle_iso));
            part.hardware = Some(hardware(machine));
        }
        VirtualBoxOrigin::Ovf { flags, .. } => {
            origin = Origin::Import { package: media.image.clone().unwrap_or_default() };
            part.import.clone_from(flags);
        }
        VirtualBoxOrigin::Vm { attach, target, replace } => {
            origin = Origin::Existing { machine: plan.vm_name.clone(), snapshot: attach.clone() };
            part.after.snapshot = target.clone().map(|name| TakeSnapshot { name, replace: *replace });
        }
    }
    if let Some((image, bus, stays)) = installer {
        part.drives.push(Drive { image, bus, role: DiscRole::Installer, stays });
    }
    if plan.additions.mode == AdditionsMode::Attach
        && let Some(image) = media.tools.clone()
    {
        part.drives.push(Drive { image, bus: additions, role: DiscRole::GuestAdditions, stays: false });
    }
    if let Some(image) = media.cd.clone() {
        part.drives.push(Drive { image, bus: seed, role: DiscRole::Seed, stays: false });
    }
    let mut spec = MachineSpec::new(&plan.vm_name, &media.sockets, part);
    spec.origin = origin;
    spec.floppy.clone_from(&media.floppy);
    spec.network = network(plan);
    spec.window = !plan.headless;
    if let VirtualBoxOrigin::Iso { machine, .. } = &plan.origin {
        spec.topology = Topology { cpus: Some(machine.cpus), ..Topology::default() };
        spec.memory_mib = machine.memory;
        let interface = DiskInterface::parse(&machine.disk_interface).unwrap_or(DiskInterface::Ide);
        let disk =
            |path: PathBuf| DiskSpec { path, format: DiskFormat::Vdi, interface, discard: Some(machine.discard) };
        spec.disks = disks::all(plan).into_iter().map(|path| disk(absolute(&path))).collect();
    }
    spec
}

/// VirtualBox's services have a working directory of their own.
fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn hardware(machine: &NewMachinePlan) -> Hardware {
    Hardware {
        os_type: machine.os_type.clone(),
        chipset: machine.chipset.clone(),
        efi: machine.firmware == "efi",
        efi_resolution: machine.efi_resolution.clone(),
        nested: machine.nested,
        clock_utc: machine.clock == "UTC",
        audio_controller: machine.audio.0.clone(),
        audio_driver: machine.audio.1.clone(),
        usb: machine.usb.clone(),
        mouse: machine.mouse.clone(),
        keyboard: machine.keyboard.clone(),
        graphics: machine.graphics.clone(),
        video_memory: machine.video_memory,
        accelerate_3d: machine.accelerate_3d,
        disk_bus: Bus::parse(&machine.disk_interface).unwrap_or(Bus::Ide),
        sata_ports: machine.ports.0,
        nvme_ports: machine.ports.1,
        non_rotational: machine.non_rotational,
    }
}

/// The machine's way to the network.
pub(super) fn network(plan: &VirtualBoxPlan) -> NetworkSpec {
    let device = match &plan.origin {
        VirtualBoxOrigin::Iso { machine, .. } => Some(machine.nic.clone()),
        _ => None,
    };
    let (host_min, host_max) = plan.host_ports;
    let guest_port = plan.communicator.guest_port().filter(|_| !plan.skip_nat_mapping);
    let forward = guest_port.map(|guest_port| PortForward { guest_port, host_min, host_max });
    NetworkSpec { device, mode: NetworkMode::User { forward } }
}

/// The machine as packages describe it; as the template does, until it is noted. Of one that is not made new only its name is known before.
pub(super) fn describe(plan: &VirtualBoxPlan) -> MachineDescription {
    if let Some(noted) = notes::description(plan) {
        return noted;
    }
    let named = MachineDescription { name: plan.vm_name.clone(), ..MachineDescription::default() };
    let VirtualBoxOrigin::Iso { machine, .. } = &plan.origin else { return named };
    let controller = match machine.disk_interface.as_str() {
        "ide" => DiskController::Ide,
        "scsi" => DiskController::LsiLogic,
        "pcie" => DiskController::Nvme,
        // "sata"; one on VirtIO is exported by VirtualBox.
        _ => DiskController::Sata,
    };
    MachineDescription {
        cpus: machine.cpus,
        memory_mib: machine.memory,
        firmware: match machine.firmware.as_str() {
            "efi" => PackageFirmware::Uefi { secure_boot: false },
            _ => PackageFirmware::Bios,
        },
        guest_os: guest_os(&machine.os_type),
        guest_words: VendorGuestWords { virtualbox: Some(machine.os_type.clone()), ..VendorGuestWords::default() },
        nested_virtualization: machine.nested == Some(true),
        disks: machine.disks.iter().map(|_| MachineDisk { controller, ..MachineDisk::default() }).collect(),
        nics: vec![MachineNic {
            model: match machine.nic.as_str() {
                "virtio" => NicModel::Virtio,
                nic if nic.starts_with("Am79") => NicModel::PcNet32,
                _ => NicModel::E1000,
            },
            ..MachineNic::default()
        }],
        ..named
    }
}

/// The package's word for VirtualBox's name of a guest's system: that one, else its relatives.
fn guest_os(os_type: &str) -> GuestOs {
    let relatives = [
        ("Debian", GuestOs::Debian64),
        ("Ubuntu", GuestOs::Ubuntu64),
        ("RedHat", GuestOs::RedHat64),
        ("Oracle", GuestOs::RedHat64),
        ("Fedora", GuestOs::Fedora64),
        ("OpenSUSE", GuestOs::Suse64),
        ("SUSE", GuestOs::Suse64),
        ("FreeBSD", GuestOs::FreeBsd64),
        ("Windows11", GuestOs::Windows11),
        ("Windows20", GuestOs::WindowsServer),
        ("Windows", GuestOs::Windows10),
        ("Other_64", GuestOs::Other64),
        ("Other", GuestOs::Other),
    ];
    let relative = || relatives.iter().find(|(start, _)| os_type.starts_with(start)).map(|(_, guest)| *guest);
    GuestOs::from_name(os_type).or_else(relative).unwrap_or(GuestOs::Linux64)
}
