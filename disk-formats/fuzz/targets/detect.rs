//! Finds out an image's format, then opens it.
#![no_main]

use kiln_disk_formats::Format;
use kiln_disk_formats_fuzz::input::kinds_of;

kiln_disk_formats_fuzz::target!(None, Format::ALL.into_iter().flat_map(kinds_of).collect());
