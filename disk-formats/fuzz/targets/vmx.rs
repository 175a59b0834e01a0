//! Reads a VMX and writes it anew, and opens archives that it describes.
#![no_main]

use std::sync::LazyLock;

use kiln_disk_formats_fuzz::input::Target;

static TARGET: LazyLock<Target> = LazyLock::new(|| Target::new(None, Vec::new()));

libfuzzer_sys::fuzz_target!(|text: &[u8]| TARGET.run_vmx(text));
