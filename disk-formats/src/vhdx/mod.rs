//! VHDX, Microsoft's newer virtual hard disk (MS-VHDX). All integers are little-endian, UUIDs in Microsoft's mixed order.
//!
//! Two headers and two region tables in front say where metadata, block table and log are. Changes to the tables go through the
//! log, so an image that was not closed cleanly is only right after replaying it; readers here do that in memory.

mod check;
mod crc32c;
mod layout;
mod log;
mod metadata;
mod parent_locator;
mod reader;
mod row;
mod writer;

pub(crate) use row::ROW;
