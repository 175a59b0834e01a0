//! Opens images as vhd, whatever they are.
#![no_main]

use kiln_disk_formats::Format;

kiln_disk_formats_fuzz::target!(Some(Format::Vhd), kiln_disk_formats_fuzz::input::kinds_of(Format::Vhd));
