//! BGZF: gzip members of at most 64 KiB, each of which says how long it is (SAM specification, 4.1).

use std::io;

use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// Plain bytes in a block: what cannot be packed fits all the same.
pub(super) const BLOCK: usize = 65_280;

/// An empty block, by which a reader knows that nothing is missing.
pub(super) const END: [u8; 28] =
    [31, 139, 8, 4, 0, 0, 0, 0, 0, 255, 6, 0, 66, 67, 2, 0, 27, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// Bytes before a block's data, of which the last two are its length.
const HEAD: [u8; 16] = [31, 139, 8, 4, 0, 0, 0, 0, 0, 255, 6, 0, 66, 67, 2, 0];

pub(super) fn pack(bytes: &[u8], level: Compression) -> io::Result<Vec<u8>> {
    let mut packed = Vec::with_capacity(bytes.len() / 2 + 1024);
    let mut stream = Compress::new(level, false);
    for plain in bytes.chunks(BLOCK) {
        let block = pack_block(&mut stream, plain)?;
        // What the quick levels make of noise can be longer than a block may be: stored, it fits.
        let block = match block {
            Some(block) => Some(block),
            None => pack_block(&mut Compress::new(Compression::none(), false), plain)?,
        };
        let Some((length, data)) = block else { return Err(io::Error::other("a block of BGZF did not fit")) };
        let mut crc = Crc::new();
        crc.update(plain);
        packed.extend_from_slice(&HEAD);
        packed.extend_from_slice(&length.to_le_bytes());
        packed.extend_from_slice(&data);
        packed.extend_from_slice(&crc.sum().to_le_bytes());
        packed.extend_from_slice(&crc.amount().to_le_bytes());
    }
    Ok(packed)
}

/// One block's data, with its length as the block says it; nothing when that is too long.
fn pack_block(stream: &mut Compress, plain: &[u8]) -> io::Result<Option<(u16, Vec<u8>)>> {
    stream.reset();
    let mut data = Vec::with_capacity(BLOCK + 256);
    let status = stream.compress_vec(plain, &mut data, FlushCompress::Finish).map_err(io::Error::other)?;
    // Its head and its tail are 26 bytes, and it says its own length less one.
    let length = u16::try_from(data.len() + 25).ok().filter(|_| status == Status::StreamEnd);
    Ok(length.map(|length| (length, data)))
}
