//! VMDK, VMware's virtual machine disk ("Virtual Disk Format 5.0"). All integers are little-endian; a sector is 512 bytes.
//!
//! The guest disk is divided into grains of 64 KiB. A grain directory points to grain tables of 512 entries, and these to grains.
//! A text descriptor, embedded or in its own file, names the extents and the virtual hardware.

mod check;
mod check_se_sparse;
mod check_sparse;
mod checked_extent;
mod descriptor;
mod descriptor_parser;
pub(crate) mod encoding;
mod flat_writer;
mod layout;
mod reader;
mod row;
mod se_sparse;
mod sparse_extent;
pub(crate) mod sparse_writer;
pub(crate) mod stream_writer;

pub(crate) use layout::{GRAIN, MAX_DISK};
pub(crate) use row::ROW;
pub(crate) use sparse_writer::MAX_SPARSE_DISK;
