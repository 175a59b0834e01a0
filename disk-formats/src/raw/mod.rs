//! Raw disks: the guest's bytes at their own offsets; holes of the file are zeroes of the guest.

mod reader;
mod writer;

pub(crate) use reader::{RawReader, file_extent};
pub(crate) use writer::{RawWriter, write_blocks};
