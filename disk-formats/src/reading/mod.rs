//! What all readers share: files opened safely, the chain of images, extents, maps, and what checking finds.

pub(crate) mod backing_name;
pub(crate) mod cache;
pub(crate) mod check_report;
pub(crate) mod extent;
pub(crate) mod format_facts;
pub(crate) mod image_info;
pub(crate) mod map;
pub(crate) mod mapping;
pub(crate) mod open_policy;
pub(crate) mod opening;
pub(crate) mod packed;
pub(crate) mod paged_table;
pub(crate) mod reader;
pub(crate) mod source_file;
pub(crate) mod temporary_file;
pub(crate) mod used_space;
