//! VHD, Microsoft's older virtual hard disk ("Virtual Hard Disk Image Format Specification" 1.0). All integers are big-endian.
//!
//! A footer ends every file. A fixed disk is nothing but its bytes and the footer; a dynamic one has a table of 2 MiB blocks,
//! each with a bitmap of its sectors in front.

mod check;
mod geometry;
mod layout;
mod reader;
mod row;
mod tables;
mod writer;

pub(crate) use row::ROW;
