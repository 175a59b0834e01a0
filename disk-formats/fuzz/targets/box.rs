//! Opens archives packed with gzip: Vagrant's boxes, Google's images.
#![no_main]

use std::sync::LazyLock;

use kiln_disk_formats_fuzz::input::Target;

static TARGET: LazyLock<Target> = LazyLock::new(|| Target::new(None, Vec::new()));

libfuzzer_sys::fuzz_target!(|input: &[u8]| TARGET.run_box(input));
