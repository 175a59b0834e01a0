//! Command lines as people type them.

mod build;
mod image;
mod qemu_flags;
