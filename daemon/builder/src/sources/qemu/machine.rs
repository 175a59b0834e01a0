//! From the plan to the description of a machine.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use kiln_disk_formats::package::{
    DiskController, Firmware as PackageFirmware, MachineDescription, MachineDisk, MachineNic, NicModel, Nvram,
    NvramMaker,
};
use kiln_hypervisors::qemu::{Accelerator, CacheMode, DetectZeroes, QemuSpec};
use kiln_hypervisors::{
    BootOrder, CdromSpec, DiskInterface, DiskSpec, Firmware, MachineSpec, NetworkMode, NetworkSpec, PortForward,
    Topology, TpmVersion, VncSpec,
};

use super::disks::GuestDisks;
use super::firmware::efi_vars;
use crate::backends::Backends;
use crate::machine_build::Media;
use crate::plan::{CommunicatorPlan, FirmwarePlan, QemuPlan};
use crate::plan_reader::PlanReader;
use crate::steps::access::agent_socket;

/// Most that is read of the firmware's store, in bytes. The variables are at its front; that of ARM's has 64 MiB.
const MAX_NVRAM: u64 = 4 << 20;

/// The hypervisor that runs the machines of this builder.
pub(crate) const HYPERVISOR: &str = "qemu";

/// Complains about what this host lacks for the machine: programs, mostly. Nothing is started.
pub(crate) fn check_host(plan: &QemuPlan, reader: &mut PlanReader<'_>, backends: &Backends) {
    // The template's switches cannot be rendered yet; of them only what is a word of its own counts here.
    let mut spec = MachineSpec::new(&plan.vm_name, ".", qemu_part(plan, plan.machine.qemuargs.clone(), Path::new(".")));
    spec.tpm = tpm(plan);
    spec.floppy = plan.floppy.as_ref().map(|_| "floppy".into());
    spec.network = network(plan);
    spec.firmware = match &plan.machine.firmware {
        FirmwarePlan::Bios(path) => Firmware::Bios(path.clone()),
        FirmwarePlan::Flash(path) => Firmware::Flash(path.clone()),
        // Looked for by the rules.
        FirmwarePlan::Default | FirmwarePlan::Efi(_) | FirmwarePlan::BootLoader(_) => Firmware::Default,
    };
    let url = plan.image.urls.first().filter(|_| plan.image.skip_cache);
    spec.cdroms.extend(url.map(|url| CdromSpec { path: url.into(), interface: None }));
    let Ok(hypervisor) = backends.hypervisor(HYPERVISOR) else { return };
    for problem in hypervisor.check(&spec).err().into_iter().flatten() {
        reader.not_here(problem.setting, "This machine cannot be run here", problem.problem, problem.hint);
    }
}

/// The machine before anything is fetched or made for it. The template's switches are as it has written them.
pub(crate) fn draft(plan: &QemuPlan) -> MachineSpec {
    let nowhere = PathBuf::from(".");
    let media = Media {
        image: Some(
            plan.image.urls.first().filter(|_| plan.image.skip_cache).map_or_else(|| nowhere.clone(), PathBuf::from),
        ),
        floppy: plan.floppy.as_ref().map(|_| nowhere.clone()),
        cd: plan.cd.as_ref().map(|_| nowhere.clone()),
        tools: None,
        work: nowhere.clone(),
        sockets: nowhere,
    };
    spec(plan, &media, plan.machine.qemuargs.clone())
}

/// The version of the TPM, when there is one.
fn tpm(plan: &QemuPlan) -> Option<TpmVersion> {
    plan.machine.tpm.as_ref().map(|(_, old)| if *old { TpmVersion::V1 } else { TpmVersion::V2 })
}

fn topology(plan: &QemuPlan) -> Topology {
    let [cpus, sockets, cores, threads] = plan.machine.topology;
    Topology::from_options(cpus, sockets, cores, threads)
}

/// What only QEMU has of the machine. `arguments` are the template's, rendered.
fn qemu_part(plan: &QemuPlan, arguments: Vec<Vec<String>>, sockets: &Path) -> QemuSpec {
    let machine = &plan.machine;
    let efi = match &machine.firmware {
        FirmwarePlan::Efi(efi) => Some(efi),
        _ => None,
    };
    QemuSpec {
        binary: machine.binary.clone(),
        machine_type: machine.machine_type.clone(),
        accelerator: match machine.accelerator.as_deref() {
            None => Accelerator::Auto,
            Some("none") => Accelerator::None,
            Some(name) => Accelerator::Named(name.to_owned()),
        },
        cpu_model: machine.cpu_model.clone(),
        disk_cache: CacheMode::parse(&machine.disk_cache),
        disk_detect_zeroes: DetectZeroes::parse(&machine.disk_detect_zeroes),
        tpm_device: machine.tpm.as_ref().and_then(|(device, _)| device.clone()),
        display: (!machine.use_default_display).then(|| machine.display.clone()),
        vga: machine.vga.clone(),
        firmware_is_qcow2: efi.is_some_and(|efi| efi.code_is_qcow2),
        secure_flash: efi.is_some_and(|efi| efi.smm),
        boot_loader: match &machine.firmware {
            FirmwarePlan::BootLoader(path) => Some(path.clone()),
            _ => None,
        },
        qmp_socket: machine.qmp_socket.clone(),
        agent_socket: matches!(plan.communicator, CommunicatorPlan::GuestAgent(_)).then(|| agent_socket(sockets)),
        arguments,
    }
}

/// The machine the plan describes.
pub(crate) fn spec(plan: &QemuPlan, media: &Media, arguments: Vec<Vec<String>>) -> MachineSpec {
    let machine = &plan.machine;
    let interface = DiskInterface::parse(&machine.disk_interface).unwrap_or(DiskInterface::Virtio);
    let discard = Some(machine.disk_discard == "unmap");
    let mut spec = MachineSpec::new(&plan.vm_name, &media.sockets, qemu_part(plan, arguments, &media.sockets));
    spec.topology = topology(plan);
    spec.memory_mib = machine.memory;
    let disks = GuestDisks::of(plan);
    spec.disks = disks
        .all()
        .map(|disk| DiskSpec { path: disk.path.clone(), format: disk.hypervisor_format(), interface, discard })
        .collect();
    let cdrom = |path: &Path| CdromSpec { path: path.to_owned(), interface: machine.cdrom_interface.clone() };
    if !plan.disk_image {
        spec.cdroms.extend(media.image.as_deref().map(cdrom));
    }
    spec.cdroms.extend(media.cd.as_deref().map(cdrom));
    spec.floppy.clone_from(&media.floppy);
    spec.network = network(plan);
    spec.firmware = match (&machine.firmware, efi_vars(plan)) {
        (FirmwarePlan::Efi(efi), Some(vars)) => Firmware::Efi { code: efi.code.clone(), vars },
        (FirmwarePlan::Bios(path), _) => Firmware::Bios(path.clone()),
        (FirmwarePlan::Flash(path), _) => Firmware::Flash(path.clone()),
        _ => Firmware::Default,
    };
    spec.tpm = tpm(plan);
    spec.boot = if plan.disk_image { BootOrder::Disk } else { BootOrder::CdromOnce };
    spec.window = !machine.headless && (machine.use_default_display || machine.display != "none");
    spec.vnc = machine.vnc.as_ref().map(|vnc| VncSpec {
        bind: vnc.bind.clone(),
        port_min: vnc.ports.0,
        port_max: vnc.ports.1,
        password: vnc.password.as_ref().map(|password| match password.expose() {
            "" => uuid::Uuid::new_v4().simple().to_string()[..8].to_owned(),
            given => given.to_owned(),
        }),
    });
    spec
}

/// The machine's way to the network.
pub(crate) fn network(plan: &QemuPlan) -> NetworkSpec {
    let machine = &plan.machine;
    let device = Some(machine.net_device.clone());
    if let Some(bridge) = &machine.net_bridge {
        return NetworkSpec { device, mode: NetworkMode::Bridge { bridge: bridge.clone() } };
    }
    let (host_min, host_max) = machine.host_ports;
    let guest_port = plan.communicator.guest_port().filter(|_| !machine.skip_nat_mapping);
    let forward = guest_port.map(|guest_port| PortForward { guest_port, host_min, host_max });
    NetworkSpec { device, mode: NetworkMode::User { forward } }
}

/// The machine as packages describe it. What runs it next is another hypervisor, so devices that only QEMU has become
/// their nearest common relatives.
pub(crate) fn describe(plan: &QemuPlan) -> MachineDescription {
    let controller = match plan.machine.disk_interface.as_str() {
        "ide" => DiskController::Ide,
        "scsi" | "virtio-scsi" => DiskController::LsiLogic,
        _ => DiskController::Sata,
    };
    let disks = 1 + plan.additional_disks.len();
    let firmware = match &plan.machine.firmware {
        FirmwarePlan::Efi(efi) => PackageFirmware::Uefi { secure_boot: efi.secure_boot },
        _ => PackageFirmware::Bios,
    };
    let topology = topology(plan);
    MachineDescription {
        name: plan.vm_name.clone(),
        cpus: topology.processors(),
        cores_per_socket: cores_per_socket(&topology),
        tpm: plan.machine.tpm.is_some(),
        memory_mib: plan.machine.memory,
        firmware,
        nvram: nvram(plan),
        disks: (0..disks).map(|_| MachineDisk { controller, ..MachineDisk::default() }).collect(),
        nics: nic(plan).into_iter().collect(),
        ..MachineDescription::default()
    }
}

/// What the firmware has kept, once there has been a guest, unless it is to be left out of what the build leaves.
fn nvram(plan: &QemuPlan) -> Option<Nvram> {
    let path = efi_vars(plan).filter(|path| !plan.machine.drop_efivars && path.is_file())?;
    let file = File::open(path).ok()?;
    let mut bytes = Vec::new();
    // A store that cannot be read has no entries, which is told as that.
    file.take(MAX_NVRAM).read_to_end(&mut bytes).ok()?;
    Some(Nvram { maker: NvramMaker::Qemu, bytes: bytes.into(), file: None })
}

/// The network adapter, where there is one.
fn nic(plan: &QemuPlan) -> Option<MachineNic> {
    let model = match plan.machine.net_device.as_str() {
        "none" => return None,
        name if name.contains("vmxnet3") => NicModel::Vmxnet3,
        _ => NicModel::E1000,
    };
    Some(MachineNic { model, ..MachineNic::default() })
}

/// Processors that share a socket, where the template says so and they come out even.
fn cores_per_socket(topology: &Topology) -> Option<u32> {
    let cpus = topology.processors();
    let shared = match (topology.sockets, topology.cores, topology.threads) {
        (None, None, None) => return None,
        (Some(sockets), ..) if cpus.is_multiple_of(sockets) => cpus / sockets,
        (Some(_), ..) => return None,
        (None, cores, threads) => cores.unwrap_or(1).saturating_mul(threads.unwrap_or(1)),
    };
    (shared > 0 && cpus.is_multiple_of(shared)).then_some(shared)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_that_share_a_socket() {
        for ([cpus, sockets, cores, threads], shared) in [
            ([4, 0, 0, 0], None),
            ([0, 2, 4, 0], Some(4)),
            ([0, 0, 2, 2], Some(4)),
            ([8, 2, 2, 2], Some(4)),
            ([2, 1, 2, 2], Some(2)),
            ([3, 2, 2, 0], None),
            ([2, 0, 4, 0], None),
        ] {
            assert_eq!(
                cores_per_socket(&Topology::from_options(cpus, sockets, cores, threads)),
                shared,
                "{cpus} {sockets}"
            );
        }
    }
}
