//! qcow2, versions 2 and 3 (QEMU's docs/interop/qcow2.rst). All integers are big-endian.
//!
//! The guest disk is divided into clusters. A two-level table maps each: the header points to the L1 table, its entries to L2
//! tables of one cluster each, and their entries to data clusters, compressed data, or zeroes. Reference counts, in a second
//! two-level table, say how often each cluster of the file is used.

mod check;
mod entry;
mod header;
mod info;
mod layout;
mod medium;
mod move_l1;
mod overlaps;
mod reader;
mod refcounts;
mod resize;
#[cfg(test)]
mod resize_power_loss_tests;
mod row;
mod snapshots;
mod stored_counts;
pub(crate) mod writer;

pub(crate) use row::ROW;
