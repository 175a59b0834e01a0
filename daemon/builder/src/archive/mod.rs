//! Archives and compressed files, written as a stream on all processors in bounded memory: what compress and vagrant write with.

mod bgzf;
mod chunk;
mod codec;
mod deflate;
mod lz4;
mod pipeline;
mod tar_stream;
#[cfg(test)]
mod test_tools;
mod work;
mod zip_stream;

pub(crate) use chunk::Level;
pub(crate) use codec::Codec;
pub(crate) use pipeline::{pack, processors};
pub(crate) use tar_stream::{Member, write_tar};
pub(crate) use work::Work;
pub(crate) use zip_stream::write_zip;
