//! Raw disks: the guest's bytes at their own offsets; holes of the file are zeroes of the guest.

pub(crate) mod reader;
pub(crate) mod writer;
