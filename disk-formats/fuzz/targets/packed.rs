//! Opens images inside gzip, xz, bzip2 or zstd.
#![no_main]

use kiln_disk_formats::Format;
use kiln_disk_formats_fuzz::input::kinds_of;

kiln_disk_formats_fuzz::target!(None, kinds_of(Format::Raw));
