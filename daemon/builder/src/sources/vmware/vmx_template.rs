//! The template's own VMX file: Go templates that are rendered with what Packer gives them.

use std::path::Path;

use kiln_disk_formats::package::vmx::Vmx;
use kiln_hypervisors::vmware::{Bus, ParallelPort, SerialPort, UsbVersion};
use kiln_template::go_template::{Context, Value, render};

use super::{places, ports};
use crate::error::StepError;
use crate::plan::{VmwareMachinePlan, VmwarePlan};

/// Largest template, in bytes; a VMX file has some kilobytes.
const MAX_BYTES: u64 = 1 << 20;

/// Renders the template of the VMX file; `installer` is the CD's place.
///
/// # Errors
///
/// It cannot be read or rendered, or does not give a VMX file.
pub(super) fn machine(
    path: &Path,
    plan: &VmwarePlan,
    machine: &VmwareMachinePlan,
    installer: &Path,
) -> Result<String, StepError> {
    rendered(path, &fields(plan, machine, installer))
}

/// Renders the template of a further disk's part for all of them.
///
/// # Errors
///
/// As [`machine`].
pub(super) fn disks(path: &Path, plan: &VmwarePlan) -> Result<String, StepError> {
    let bus = Bus::of_adapter(&plan.disk_adapter).as_str();
    let mut all = String::new();
    for number in places::further_disks(plan) {
        let number = number.to_string();
        let fields = [
            ("DiskType", text(bus)),
            ("DiskUnit", text(&number)),
            ("DiskName", text(&plan.disk_name)),
            ("DiskNumber", text(&number)),
        ];
        all += &rendered(path, &fields.map(|(name, value)| (name.to_owned(), value)))?;
        all.push('\n');
    }
    Ok(all)
}

fn rendered(path: &Path, fields: &[(String, Value)]) -> Result<String, StepError> {
    let failed = |what: &str| StepError::new(format!("{} {what}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| failed("cannot be read").with_source(error))?.len();
    if size > MAX_BYTES {
        return Err(failed("has more than 1 MiB, which no template of a VMX file has"));
    }
    let source = std::fs::read_to_string(path).map_err(|error| failed("cannot be read").with_source(error))?;
    let mut context = Context::default();
    context.fields.extend(fields.iter().cloned());
    let made = render(&source, &context).map_err(|error| failed("cannot be rendered").with_source(error))?;
    Vmx::from_bytes(made.as_bytes()).map_err(|error| failed("gives no VMX file").with_source(error))?;
    Ok(made)
}

/// Packer's names with their values; those with `_` are of its plugin before version 2.
fn fields(plan: &VmwarePlan, machine: &VmwareMachinePlan, installer: &Path) -> Vec<(String, Value)> {
    let disk = Bus::of_adapter(&plan.disk_adapter);
    let drive = plan.cdrom_adapter.as_deref().and_then(Bus::parse).unwrap_or(match disk {
        Bus::Sata | Bus::Nvme => Bus::Sata,
        Bus::Ide | Bus::Scsi => Bus::Ide,
    });
    let scsi_model = if plan.disk_adapter == "scsi" { "lsilogic" } else { &plan.disk_adapter };
    let has = |bus: Bus| truth(disk == bus || drive == bus);
    let (network, device) = match machine.network.as_str() {
        kind @ ("nat" | "hostonly" | "bridged") => (kind, ""),
        device => ("custom", device),
    };
    let some = |number: u32| if number == 0 { String::new() } else { number.to_string() };
    let firmware = machine.firmware.as_deref().unwrap_or_default();
    let mut all: Vec<(String, Value)> = Vec::new();
    let mut put = |names: &[&str], value: Value| {
        all.extend(names.iter().map(|name| ((*name).to_owned(), value.clone())));
    };
    put(&["Name"], text(&plan.vm_name));
    put(&["GuestOS"], text(&machine.guest_os));
    put(&["DiskName"], text(&plan.disk_name));
    put(&["Version"], text(&machine.hardware_version.to_string()));
    put(&["ISOPath"], text(&installer.display().to_string()));
    put(&["NetworkType", "Network_Type"], text(network));
    put(&["NetworkDevice", "Network_Device"], text(device));
    put(&["NetworkAdapter", "Network_Adapter"], text(&machine.network_adapter));
    put(&["CpuCount"], text(&some(machine.cpus)));
    put(&["MemorySize"], text(&machine.memory.to_string()));
    put(&["Firmware"], text(if firmware == "efi-secure" { "efi" } else { firmware }));
    put(&["SecureBoot"], Value::Bool(firmware == "efi-secure"));
    put(&["HardwareAssistedVirtualization"], Value::Bool(machine.nested));
    put(&["SoundPresent", "Sound_Present"], truth(machine.sound));
    put(&["UsbPresent", "Usb_Present"], truth(machine.usb.is_some()));
    put(&["UsbVersion"], text(machine.usb.as_deref().and_then(UsbVersion::parse).map_or("", UsbVersion::as_str)));
    put(&["ScsiPresent", "SCSI_Present"], has(Bus::Scsi));
    put(
        &["ScsiDiskAdapterType", "SCSI_diskAdapterType"],
        text(if disk == Bus::Scsi { scsi_model } else { "lsilogic" }),
    );
    put(&["SataPresent", "SATA_Present"], has(Bus::Sata));
    put(&["NvmePresent", "NVME_Present"], has(Bus::Nvme));
    put(&["DiskType"], text(disk.as_str()));
    put(&["CdromType", "CDROMType"], text(drive.as_str()));
    // The disk is the first on its bus.
    put(&["CdromTypePrimarySecondary", "CDROMType_PrimarySecondary"], text(if disk == drive { "1" } else { "0" }));
    serial(&mut put, &ports::serial(&machine.serial).unwrap_or(SerialPort::None));
    parallel(&mut put, &ports::parallel(&machine.parallel).unwrap_or(ParallelPort::None));
    all
}

fn serial(put: &mut impl FnMut(&[&str], Value), port: &SerialPort) {
    let (mut path, mut end, mut far, mut yields, mut automatic) = ("", "", "", false, false);
    let kind = match port {
        SerialPort::None | SerialPort::Heard => "",
        SerialPort::File { path: file, yields: given } => {
            (path, yields) = (file, *given);
            "file"
        }
        SerialPort::Device { path: file, yields: given } => {
            (path, yields) = (file, *given);
            "device"
        }
        SerialPort::Pipe { path: file, end: given_end, app, yields: given } => {
            (path, end, far, yields) = (file, given_end, if *app { "TRUE" } else { "FALSE" }, *given);
            "pipe"
        }
        SerialPort::Auto { yields: given } => {
            (yields, automatic) = (*given, true);
            "device"
        }
    };
    put(&["SerialPresent", "Serial_Present"], truth(!kind.is_empty()));
    put(&["SerialType", "Serial_Type"], text(kind));
    put(&["SerialEndpoint", "Serial_Endpoint"], text(end));
    put(&["SerialHost", "Serial_Host"], text(far));
    put(&["SerialYield", "Serial_Yield"], truth(yields));
    put(&["SerialFilename", "Serial_Filename"], text(path));
    put(&["SerialAuto", "Serial_Auto"], truth(automatic));
}

fn parallel(put: &mut impl FnMut(&[&str], Value), port: &ParallelPort) {
    let (path, both_ways, automatic) = match port {
        ParallelPort::None => ("", false, false),
        ParallelPort::File { path } => (path.as_str(), false, false),
        ParallelPort::Device { path, bidirectional } => (path.as_str(), *bidirectional, false),
        ParallelPort::Auto { bidirectional } => ("", *bidirectional, true),
    };
    put(&["ParallelPresent", "Parallel_Present"], truth(*port != ParallelPort::None));
    put(&["ParallelBidirectional", "Parallel_Bidirectional"], truth(both_ways));
    put(&["ParallelFilename", "Parallel_Filename"], text(path));
    put(&["ParallelAuto", "Parallel_Auto"], truth(automatic));
}

fn text(text: &str) -> Value {
    Value::String(text.to_owned())
}

/// As VMX files write it.
fn truth(value: bool) -> Value {
    text(if value { "TRUE" } else { "FALSE" })
}
