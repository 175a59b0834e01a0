//! VHD, Microsoft's older virtual hard disk ("Virtual Hard Disk Image Format Specification" 1.0). All integers are big-endian.
//!
//! A footer ends every file. A fixed disk is nothing but its bytes and the footer; a dynamic one has a table of 2 MiB blocks,
//! each with a bitmap of its sectors in front.

mod check;
mod geometry;
pub(crate) mod layout;
pub(crate) mod reader;
mod tables;
pub(crate) mod writer;

pub(crate) use check::check;
pub(crate) use layout::COOKIE;
