//! Opens images as vmdk, whatever they are.
#![no_main]

use kiln_disk_formats::Format;

kiln_disk_formats_fuzz::target!(Some(Format::Vmdk), kiln_disk_formats_fuzz::input::kinds_of(Format::Vmdk));
