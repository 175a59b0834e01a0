//! Whole-crate tests over the public interface, and cross-checks with qemu-img.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stderr, reason = "a test that is left out must say so")]

mod archives;
mod checks;
mod checks_of_blocks;
mod differencing;
mod documents;
mod failures;
mod golden;
mod hostile_images;
mod judges;
mod judges_read_ours;
mod machines;
mod maps;
mod memory;
mod named_files;
mod nvram;
mod overlaps;
mod packages;
mod pipes;
mod qemu_img;
mod qemu_reads_ours;
mod round_trips;
mod sample;
mod table;
mod verify;
mod vmware_lab;
mod we_read_qemus;
mod we_read_the_judges;
