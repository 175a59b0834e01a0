//! Reads stores of UEFI variables of every maker, and makes one for every other of what travels: what was made is read again.
#![no_main]

use kiln_disk_formats::package::every_journey_of;

libfuzzer_sys::fuzz_target!(|store: &[u8]| drop(every_journey_of(store)));
