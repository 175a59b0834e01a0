//! Opens archives whose descriptor is the input: the XML reader, and what an OVF says of disks and machines.
#![no_main]

use std::sync::LazyLock;

use kiln_disk_formats_fuzz::input::Target;

static TARGET: LazyLock<Target> = LazyLock::new(|| Target::new(None, Vec::new()));

libfuzzer_sys::fuzz_target!(|text: &[u8]| TARGET.run_descriptor("a.ovf", text));
