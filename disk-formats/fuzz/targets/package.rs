//! Opens OVA archives.
#![no_main]

use kiln_disk_formats::OutputKind;
use kiln_disk_formats::package::MachineDescription;

kiln_disk_formats_fuzz::target!(None, vec![OutputKind::ova(MachineDescription::default())]);
