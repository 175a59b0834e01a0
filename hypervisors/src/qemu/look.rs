//! What can be told of a machine before anything is made for it: whether its QEMU has what the template calls by name.
//!
//! The names are read off the command line that the machine would be started with, so that what a template says in `qemuargs` is looked at like
//! what it says in options, and nothing is that is not said to QEMU.

pub(super) mod near;

use std::path::Path;

use super::architecture::Architecture;
use super::arguments::{Channel, CommandLine, NETDEV_ID, Plumbing};
use super::discs;
use super::machine_spec::QemuMachineSpec;
use super::overrides::Overrides;
use super::probe::{Names, ProbeError, Prober};
use crate::error::Unsupported;
use crate::spec::DiskInterface;

/// What goes by the names of one list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Machine,
    Processor,
    Adapter,
    Tpm,
    Device,
    Screen,
    Display,
}

/// A name that QEMU would be given.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    kind: Kind,
    name: String,
    /// The option that it is from.
    setting: &'static str,
}

/// Complains about every name that `program` does not know. What it cannot be asked is left to its start.
pub(super) async fn first(
    spec: QemuMachineSpec<'_>,
    program: &Path,
    prober: &Prober,
) -> Result<Vec<Unsupported>, ProbeError> {
    let mut named = named(spec);
    // Other architectures have names for models that QEMU takes and lists nowhere (`power9`, alpha's `21264`).
    let lists_all_models = Architecture::of_program(&spec.qemu.binary) != Architecture::Other;
    named.retain(|one| one.kind != Kind::Processor || lists_all_models);
    let known = prober.facts(program).await?;
    let mut complaints: Vec<Unsupported> = discs::complaint(spec, program, prober).await?.into_iter().collect();
    if named.iter().all(|one| one.is_among(&known.names)) {
        return Ok(complaints);
    }
    let names = prober.names_now(program).await?;
    let version = format!("{} {}", spec.qemu.binary, known.version);
    let unknown = named.iter().filter(|one| !one.is_among(&names));
    complaints.extend(unknown.map(|one| one.complaint(&version, spec, &names)));
    Ok(complaints)
}

impl Named {
    fn is_among(&self, names: &Names) -> bool {
        let list = self.kind.list(names);
        list.is_empty() || list.contains(&self.name) || self.kind.always().contains(&self.name.as_str())
    }

    fn complaint(&self, version: &str, spec: QemuMachineSpec<'_>, names: &Names) -> Unsupported {
        let (noun, switch) = self.kind.words();
        let there = near::listed(&self.name, &self.kind.shown(names));
        let problem = format!("{version} has no {noun} called {} (it has {there})", self.name);
        let hint = match (self.kind, self.name.as_str()) {
            (Kind::Display, "gtk" | "sdl") => {
                "set headless = true, or install QEMU's windows (Debian: qemu-system-gui)".to_owned()
            }
            _ => format!("name one that is there: `{} -machine none {switch} help` lists all", spec.qemu.binary),
        };
        Unsupported { setting: self.setting, problem, hint: Some(hint) }
    }
}

impl Kind {
    /// Where its names are.
    fn list(self, names: &Names) -> &Vec<String> {
        match self {
            Self::Machine => &names.machines,
            Self::Processor => &names.processors,
            Self::Adapter | Self::Tpm | Self::Device => &names.devices,
            Self::Screen => &names.screens,
            Self::Display => &names.displays,
        }
    }

    /// Those that are of use in its place.
    fn shown(self, names: &Names) -> Vec<&str> {
        let list = if self == Self::Adapter { &names.adapters } else { self.list(names) };
        list.iter().map(String::as_str).filter(|name| self != Self::Tpm || name.starts_with("tpm-")).collect()
    }

    /// Words that QEMU takes and does not list, or not without a machine.
    fn always(self) -> &'static [&'static str] {
        match self {
            Self::Processor => &["host", "help"],
            Self::Display => &["none", "default", "vnc", "help"],
            _ => &["help"],
        }
    }

    /// What people call it, and the switch that takes it.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Machine => ("machine type", "-machine"),
            Self::Processor => ("CPU model", "-cpu"),
            Self::Adapter => ("network adapter", "-device"),
            Self::Tpm => ("TPM device", "-device"),
            Self::Device => ("device", "-device"),
            Self::Screen => ("display adapter", "-vga"),
            Self::Display => ("display", "-display"),
        }
    }
}

/// All names on the command line of a machine.
fn named(spec: QemuMachineSpec<'_>) -> Vec<Named> {
    let plumbing = Plumbing { tpm: spec.hardware.tpm.map(|_| Channel::default()), ..Plumbing::default() };
    let line = CommandLine::new(spec, &plumbing);
    let overrides = Overrides::new(&spec.qemu.arguments);
    let own = |switch: &str, value: &str| overrides.switches().any(|given| given == (switch, Some(value)));
    let mut all = Vec::new();
    for (switch, value) in line.switches() {
        let (kind, setting) = match switch.trim_start_matches('-') {
            "machine" | "M" => (Kind::Machine, "machine_type"),
            "cpu" => (Kind::Processor, "cpu_model"),
            "vga" => (Kind::Screen, "vga"),
            "display" => (Kind::Display, "display"),
            "device" if own(switch, value) => (Kind::Device, "qemuargs"),
            "device" => match of_option(spec, value) {
                Some(found) => found,
                None => continue,
            },
            _ => continue,
        };
        let setting = if own(switch, value) { "qemuargs" } else { setting };
        all.extend(name_in(kind, value).map(|name| Named { kind, name: name.to_owned(), setting }));
    }
    all
}

/// Which option has made the device of `value`; `None`: none has, it is in every machine of its kind.
fn of_option(spec: QemuMachineSpec<'_>, value: &str) -> Option<(Kind, &'static str)> {
    if value.starts_with(&format!("{},netdev={NETDEV_ID}", spec.net_device())) {
        return Some((Kind::Adapter, "net_device"));
    }
    if value.ends_with(",tpmdev=tpm0") {
        return Some((Kind::Tpm, "tpm_device_type"));
    }
    let drives = [("drive=drive", "disk_interface"), ("drive=cdrom", "cdrom_interface")];
    let setting = drives.iter().find(|(part, _)| value.contains(part)).map(|(_, setting)| *setting);
    let controllers = [",id=scsi0", ",id=scsi1", ",id=lsi0", ",id=ahci0"];
    let of_controller = || {
        // Disks come first, so that theirs is made for them, and CDs share it.
        let by_itself = [DiskInterface::Ide, DiskInterface::Virtio, DiskInterface::Sd];
        let for_disks = spec.hardware.disks.iter().any(|disk| !by_itself.contains(&disk.interface));
        if for_disks { "disk_interface" } else { "cdrom_interface" }
    };
    let is_controller = controllers.iter().any(|end| value.ends_with(end));
    setting.or_else(|| is_controller.then(of_controller)).map(|setting| (Kind::Device, setting))
}

/// The name in a switch's value: `q35,usb=on`, `type=q35`, `driver=e1000,netdev=n`. `None`: there is none, or not one to be read before the
/// template's fields are filled in.
fn name_in(kind: Kind, value: &str) -> Option<&str> {
    let key = match kind {
        Kind::Machine => "type=",
        Kind::Adapter | Kind::Tpm | Kind::Device => "driver=",
        _ => "",
    };
    let first = value.split(',').next().unwrap_or_default();
    let by_key = value.split(',').find_map(|part| part.strip_prefix(key).filter(|_| !key.is_empty()));
    let name = by_key.unwrap_or(first);
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
    (!name.is_empty() && name.chars().all(is_name)).then_some(name)
}

#[cfg(test)]
mod tests;
