//! The builders: each turns options into a plan, and a plan into an artifact.

pub(crate) mod communicator;
#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod file;
pub(crate) mod null;
pub(crate) mod qemu;
pub(crate) mod shared;
pub(crate) mod virtualbox;
pub(crate) mod vmware;

use self::communicator::TemporaryKey;
use crate::machine_build::MachineBuilder;
use crate::option_values::OptionValues;
use crate::plan::SourcePlan;

/// Reads the options of the builder called `kind`, whatever is wrong with them.
pub(crate) fn read(kind: &str, options: OptionValues<'_>, source_name: &str, mentions_key: bool) -> SourcePlan {
    let key = TemporaryKey::Made { mentioned: mentions_key, always_cleared: false };
    match kind {
        "qemu" => SourcePlan::Qemu(Box::new(qemu::options::read(options, source_name, key))),
        "virtualbox-iso" | "virtualbox-ovf" | "virtualbox-vm" => {
            SourcePlan::VirtualBox(Box::new(virtualbox::options::read(kind, options, source_name, mentions_key)))
        }
        "vmware-iso" | "vmware-vmx" => {
            SourcePlan::Vmware(Box::new(vmware::options::read(kind, options, source_name, key)))
        }
        #[cfg(test)]
        "fake" => SourcePlan::Fake(Box::new(fake::options::read(options, source_name, key))),
        "file" => SourcePlan::File(file::read(options)),
        "null" => SourcePlan::Null(null::read(options)),
        _ => SourcePlan::Unbuilt,
    }
}

/// The builders whose images are made in a machine: a line for each.
pub(crate) fn machine(plan: &SourcePlan) -> Option<&dyn MachineBuilder> {
    match plan {
        SourcePlan::Qemu(plan) => Some(&**plan),
        SourcePlan::VirtualBox(plan) => Some(&**plan),
        SourcePlan::Vmware(plan) => Some(&**plan),
        #[cfg(test)]
        SourcePlan::Fake(plan) => Some(&**plan),
        SourcePlan::Null(_) | SourcePlan::File(_) | SourcePlan::Unbuilt => None,
    }
}
