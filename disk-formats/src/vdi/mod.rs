//! VDI, VirtualBox's disk image, version 1.1. All integers are little-endian.
//!
//! The guest disk is divided into blocks of 1 MiB; a map says which block of the file holds each, or that none does.

mod check;
pub(crate) mod layout;
pub(crate) mod reader;
pub(crate) mod writer;

pub(crate) use check::check;
pub(crate) use layout::{MAGIC, MAGIC_OFFSET};
