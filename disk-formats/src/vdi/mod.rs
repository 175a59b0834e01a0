//! VDI, VirtualBox's disk image, version 1.1. All integers are little-endian.
//!
//! The guest disk is divided into blocks of 1 MiB; a map says which block of the file holds each, or that none does.

mod check;
mod layout;
mod reader;
mod row;
mod writer;

pub(crate) use row::ROW;
