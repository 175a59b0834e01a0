//! Opens images as qcow2, whatever they are.
#![no_main]

use kiln_disk_formats::Format;

kiln_disk_formats_fuzz::target!(Some(Format::Qcow2), kiln_disk_formats_fuzz::input::kinds_of(Format::Qcow2));
