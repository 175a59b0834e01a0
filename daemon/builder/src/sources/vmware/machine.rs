//! From the plan to the description of a machine.

use std::path::{Path, PathBuf};

use kiln_disk_formats::package::vmx::Vmx;
use kiln_disk_formats::package::{MachineDescription, plain_name};
use kiln_disk_formats::{OpenPolicy, packaged_machine};
use kiln_hypervisors::vmware::{Bus, UsbVersion, VmwareFirmware, VmwareSpec, inspect};
use kiln_hypervisors::{
    BootOrder, CdromSpec, DiskFormat, DiskInterface, DiskSpec, MachineSpec, NetworkMode, NetworkSpec, Origin, Topology,
    VncSpec,
};

use super::package::Package;
use super::{places, ports, settled, vmx_template};
use crate::error::StepError;
use crate::machine_build::Media;
use crate::plan::{VmwareMachinePlan, VmwareOrigin, VmwarePlan};

/// Name of the machine's file that packages are described from.
const DESCRIBED: &str = "described.vmx";

/// The hypervisor that runs the machines of these builders.
pub(crate) const HYPERVISOR: &str = "vmware";

/// Characters of a VNC password.
const VNC_PASSWORD: usize = 8;

/// The machine's way to the network.
pub(super) fn network(plan: &VmwarePlan) -> NetworkSpec {
    match &plan.origin {
        VmwareOrigin::Iso { machine, .. } => {
            let mode = match machine.network.as_str() {
                "nat" => NetworkMode::User { forward: None },
                other => NetworkMode::Bridge { bridge: other.to_owned() },
            };
            NetworkSpec { device: Some(machine.network_adapter.clone()), mode }
        }
        VmwareOrigin::Vmx { source, .. } => network_of(Vmx::read(source).ok().as_ref()),
        VmwareOrigin::Package { .. } => network_of(packaged(plan).ok().flatten().as_ref()),
    }
}

/// The network of a machine that is there already; what cannot be read is complained about elsewhere.
fn network_of(vmx: Option<&Vmx>) -> NetworkSpec {
    NetworkSpec { device: None, mode: vmx.map_or(NetworkMode::User { forward: None }, inspect::network) }
}

/// The file of the machine that comes of a package, as it has been imported, or before that as it will be; `None`: it comes of none.
fn packaged(plan: &VmwarePlan) -> Result<Option<Vmx>, StepError> {
    let imported = places::imported_vmx(plan);
    match Package::of(plan)? {
        Some(_) if imported.exists() => Ok(Some(Vmx::read(&imported)?)),
        Some(package) => package.vmx().map(Some),
        None => Ok(None),
    }
}

/// The machine the plan describes.
pub(super) fn spec(plan: &VmwarePlan, media: &Media) -> Result<MachineSpec, StepError> {
    let mut vmware = VmwareSpec {
        vmx: Some(places::work_vmx(plan)),
        display_name: plan.display_name.clone(),
        disk_adapter: plan.disk_adapter.clone(),
        data: plan.data.clone(),
        ..VmwareSpec::default()
    };
    let mut origin = Origin::New;
    let mut topology = Topology::default();
    let mut memory = None;
    match &plan.origin {
        VmwareOrigin::Iso { machine, .. } => {
            hardware(&mut vmware, machine);
            let installer = media.image.as_deref().unwrap_or(Path::new(""));
            let template = machine.template.as_deref();
            vmware.template =
                template.map(|path| vmx_template::machine(path, plan, machine, &absolute(installer))).transpose()?;
            vmware.disk_template =
                machine.disk_template.as_deref().map(|path| vmx_template::disks(path, plan)).transpose()?;
            topology = Topology::from_options(machine.cpus, 0, machine.cores, 0);
            memory = Some(machine.memory);
        }
        VmwareOrigin::Vmx { source, linked, snapshot } => {
            vmware.linked = *linked;
            let source = absolute(source).display().to_string();
            origin = Origin::Clone { machine: source, snapshot: snapshot.clone() };
        }
        VmwareOrigin::Package { .. } => vmware.template = packaged(plan)?.map(|vmx| vmx.to_string()),
    }
    let mut spec = MachineSpec::new(&plan.vm_name, &media.sockets, vmware);
    spec.origin = origin;
    spec.topology = topology;
    spec.memory_mib = memory.unwrap_or(spec.memory_mib);
    // Named as VMware finds them: beside the machine's file, whose directory is made by now.
    let work = places::work(plan);
    let work = work.canonicalize().unwrap_or(work);
    let disk = |name: String| DiskSpec::new(work.join(name), DiskFormat::Vmdk, interface(&plan.disk_adapter));
    spec.disks = places::made_disks(plan).into_iter().map(disk).collect();
    let drive = |path: &Path| CdromSpec { path: absolute(path), interface: plan.cdrom_adapter.clone() };
    spec.cdroms = discs(plan, media).into_iter().map(drive).collect();
    spec.floppy.clone_from(&media.floppy);
    spec.network = network(plan);
    spec.boot = if matches!(plan.origin, VmwareOrigin::Iso { .. }) { BootOrder::CdromOnce } else { BootOrder::Disk };
    spec.window = !plan.headless;
    spec.vnc = plan.vnc.as_ref().map(|vnc| VncSpec {
        bind: vnc.bind.clone(),
        port_min: vnc.ports.0,
        port_max: vnc.ports.1,
        password: vnc.password.then(|| uuid::Uuid::new_v4().simple().to_string()[..VNC_PASSWORD].to_owned()),
    });
    Ok(spec)
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

/// The discs of the machine: the installer, that with seed files, and VMware's tools.
fn discs<'a>(plan: &VmwarePlan, media: &'a Media) -> Vec<&'a Path> {
    let attached = plan.tools.mode.as_deref() == Some("attach");
    let tools = media.tools.as_deref().filter(|_| attached);
    media.image.as_deref().into_iter().chain(media.cd.as_deref()).chain(tools).collect()
}

fn hardware(vmware: &mut VmwareSpec, machine: &VmwareMachinePlan) {
    vmware.guest_os.clone_from(&machine.guest_os);
    vmware.hardware_version = machine.hardware_version;
    vmware.firmware = machine.firmware.as_deref().and_then(VmwareFirmware::parse);
    vmware.nested = machine.nested;
    vmware.sound = machine.sound;
    vmware.usb = machine.usb.as_deref().and_then(UsbVersion::parse);
    // What cannot be read the rules have complained about.
    vmware.serial = ports::serial(&machine.serial).unwrap_or(vmware.serial.clone());
    vmware.parallel = ports::parallel(&machine.parallel).unwrap_or(vmware.parallel.clone());
}

fn interface(adapter: &str) -> DiskInterface {
    match Bus::of_adapter(adapter) {
        Bus::Ide => DiskInterface::Ide,
        Bus::Sata => DiskInterface::Sata,
        // NVMe has no word of its own there; VMware's own part says which it is.
        Bus::Scsi | Bus::Nvme => DiskInterface::Scsi,
    }
}

/// The machine as packages describe it, from its own file as it is left for good: without what the build has put in, and with what the
/// template wants in it afterwards.
pub(super) fn describe(plan: &VmwarePlan) -> MachineDescription {
    let read = |path: PathBuf| {
        let path = settled_file(plan, &path).unwrap_or(path);
        let directory = path.parent().map(Path::to_owned).unwrap_or_default();
        packaged_machine(&path, &OpenPolicy::allow_below(vec![directory])).ok()?
    };
    let mut machine = places::current(plan).and_then(read).map(|machine| machine.description).unwrap_or_default();
    machine.name.clone_from(&plan.vm_name);
    if let Some(nvram) = &mut machine.nvram {
        // VMware goes on writing to the machine's own, and a package has the digest of its.
        nvram.file = Some(format!("{}-ovf.nvram", plain_name(&plan.vm_name)));
    }
    if plan.without_network {
        machine.nics.clear();
    }
    machine
}

/// Writes the machine's file as it will be beside the one it has while it is built; nothing where it is settled already.
fn settled_file(plan: &VmwarePlan, vmx: &Path) -> Option<PathBuf> {
    if vmx != places::work_vmx(plan) {
        return None;
    }
    let settled = settled::machine(plan, Vmx::read(vmx).ok()?).ok()?;
    let path = vmx.with_file_name(DESCRIBED);
    std::fs::write(&path, settled.to_string()).ok()?;
    Some(path)
}
