//! QEMU's command line for a machine that nobody has started, as far as it is known beforehand.

use super::arguments::{Channel, CommandLine, Plumbing};
use super::machine_spec::QemuMachineSpec;
use super::spec::Accelerator;
use crate::spec::MachineSpec;

/// The switches, each with its value, that a machine of `spec` is started with: without what QEMU is driven by, and with the lowest of each range
/// of ports. `None`: the machine is not QEMU's.
pub fn preview(spec: &MachineSpec) -> Option<Vec<String>> {
    let read = QemuMachineSpec::of(spec).ok()?;
    let plumbing = Plumbing {
        tpm: spec.tpm.map(|_| Channel::default()),
        monitor: read.qemu.qmp_socket.as_ref().map(|_| Channel::default()),
        accelerator: match &read.qemu.accelerator {
            Accelerator::Named(name) => Some(name.clone()),
            Accelerator::Auto | Accelerator::None => None,
        },
        ..Plumbing::default()
    };
    let line = CommandLine::new(read, &plumbing);
    let own =
        |value: &str| value.contains("kiln-control") || value.contains("kiln-spare") || value.contains("kiln-serial");
    Some(line.switches().filter(|(_, value)| !own(value)).map(|(switch, value)| format!("{switch} {value}")).collect())
}
