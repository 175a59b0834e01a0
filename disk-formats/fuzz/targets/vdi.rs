//! Opens images as vdi, whatever they are.
#![no_main]

use kiln_disk_formats::Format;

kiln_disk_formats_fuzz::target!(Some(Format::Vdi), kiln_disk_formats_fuzz::input::kinds_of(Format::Vdi));
