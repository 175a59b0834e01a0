//! Whole-crate tests over the public interface, and cross-checks with qemu-img.

mod failures;
mod hostile_images;
mod packages;
mod qemu_img;
mod qemu_reads_ours;
mod round_trips;
mod sample;
mod we_read_qemus;
