//! Opens images as raw, whatever they are.
#![no_main]

use kiln_disk_formats::Format;

kiln_disk_formats_fuzz::target!(Some(Format::Raw), kiln_disk_formats_fuzz::input::kinds_of(Format::Raw));
