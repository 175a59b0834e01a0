//! Raw disks: the guest's bytes at their own offsets; holes of the file are zeroes of the guest.

pub(crate) mod reader;
mod resize;
mod row;
pub(crate) mod writer;

pub(crate) use row::ROW;
