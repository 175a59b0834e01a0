//! What VBoxManage is called with for a machine that nobody has made, as far as it is known beforehand.

use super::call::Call;
use super::check::part_of;
use super::{import, settings, storage};
use crate::spec::{MachineSpec, NetworkMode, Origin};

/// Stands for the machine in the calls.
const MACHINE: &str = "UUID";

/// Stands for the directory in which machines are made.
const DIRECTORY: &str = "DIRECTORY";

/// Stands for the graphics card that VirtualBox recommends for the guest's system.
const RECOMMENDED: &str = "RECOMMENDED";

/// The calls that make a machine of `spec` and let it run, with the lowest of each range of ports. Of a machine that is there before, those that
/// do not depend on what it is like. `None`: the machine is not VirtualBox's.
pub fn preview(spec: &MachineSpec) -> Option<Vec<Vec<String>>> {
    let part = part_of(spec).ok()?;
    let base = (!part.in_default_folder).then_some(DIRECTORY);
    let mut calls: Vec<Call> = Vec::new();
    match (&spec.origin, &part.hardware) {
        (Origin::New, Some(hardware)) => {
            calls.push(settings::create(spec, hardware, MACHINE, base));
            let graphics = hardware.graphics.as_deref().unwrap_or(RECOMMENDED);
            calls.extend(settings::new_machine(spec, hardware, MACHINE, graphics));
            calls.extend(storage::attach_disks(spec, hardware, MACHINE));
            calls.extend(storage::attach_discs(&part.drives, MACHINE));
            calls.extend(spec.floppy.iter().flat_map(|image| storage::attach_floppy(image, MACHINE)));
        }
        (Origin::Import { package }, _) => calls.push(import::call(spec, part, package, DIRECTORY)),
        _ => {}
    }
    let display = part.remote_display.as_ref().map(|display| (display, display.ports.0));
    let forward = match spec.network.mode {
        NetworkMode::User { forward: Some(forward) } => Some((forward.host_min, forward.guest_port)),
        _ => None,
    };
    calls.extend(settings::access(MACHINE, display, forward));
    calls.extend(part.commands.iter().cloned());
    calls.push(settings::start(spec, MACHINE));
    Some(calls)
}
