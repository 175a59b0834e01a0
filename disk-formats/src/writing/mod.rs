//! What all writers share: the pass that feeds them, files that have no name until they are whole, streams, and digests of files.

pub(crate) mod ascending_table;
pub(crate) mod blocks;
pub(crate) mod convert_options;
pub(crate) mod file_digest;
pub(crate) mod output_file;
pub(crate) mod pass;
pub(crate) mod pipe;
pub(crate) mod progress;
pub(crate) mod storage;
#[cfg(test)]
pub(crate) mod testing;
pub(crate) mod writer;
