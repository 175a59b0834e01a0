//! What the fuzz targets of the readers share: inputs, oracles, and witnesses of what a reader did.
//!
//! ```text
//!             ┌─ bit 0 = 0: sparse files as they are (seeds: real images) ──┐
//!  input ─────┤                                                             ├─► open(policy) ─► oracle: typed error, or
//!             └─ bit 0 = 1: a disk, written by our writer, then damaged ────┘      a disk that answers consistently; undamaged:
//!                                                                                  exactly the disk that was written
//! ```
//!
//! In both, [`opened_paths`] proves that only allowed files were opened, and [`memory_limit`] that memory stayed bounded.

pub mod archive;
pub mod input;
pub mod memory_limit;
pub mod opened_paths;
pub mod oracle;
pub mod playground;
pub mod repair;
pub mod sparse_file;
pub mod written;
