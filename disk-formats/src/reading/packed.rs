//! Images inside gzip, xz, bzip2 or zstd: recognised by their first bytes, unpacked into a file without a name.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::source_file::SourceFile;
use super::temporary_file::TemporaryFile;
use crate::error::{Error, ErrorKind, Result};

/// Bytes at the front of a file that say how it is packed.
const PROBE: usize = 10;
/// Unit in which bytes are unpacked.
const BLOCK: usize = 64 << 10;
/// Most memory that an xz stream may ask for in bytes; `xz -9` needs 65 MiB.
const XZ_MEMORY: u64 = 128 << 20;
/// Largest zstd window as a power of two: what its own tool takes without `--long`.
const ZSTD_WINDOW_LOG: u32 = 27;

/// What comes behind a name when a file is packed.
pub(crate) const PACKED_EXTENSIONS: [&str; 4] = ["gz", "xz", "bz2", "zst"];

/// How a file is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    /// RFC 1952.
    Gzip,
    /// The .xz format 1.2.
    Xz,
    /// bzip2 1.0.
    Bzip2,
    /// RFC 8878.
    Zstd,
}

impl Packing {
    /// Recognises a packed file.
    pub(crate) fn of(file: &SourceFile) -> Result<Option<Self>> {
        let mut front = [0; PROBE];
        file.read_padded_at(0, &mut front)?;
        Ok(match front {
            [0x1f, 0x8b, 8, ..] => Some(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            // The first block's signature is the digits of pi.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59] => Some(Self::Bzip2),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            // A skippable frame, as pzstd writes before each of its frames. LZ4 has the same.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, size @ .., _, _] => {
                let mut next = [0; 4];
                file.read_padded_at(8 + u64::from(u32::from_le_bytes(size)), &mut next)?;
                (next == [0x28, 0xb5, 0x2f, 0xfd]).then_some(Self::Zstd)
            }
            _ => None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Bzip2 => "bzip2",
            Self::Zstd => "zstd",
        }
    }

    /// Returns the unpacked bytes of all members, streams or frames, one after the other.
    fn unpacker<'a>(self, packed: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Gzip => Box::new(flate2::read::MultiGzDecoder::new(packed)),
            Self::Xz => {
                let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
                Box::new(liblzma::read::XzDecoder::new_stream(packed, stream))
            }
            Self::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(packed)),
            Self::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::new(packed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        })
    }
}

/// How much of a packed file is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Amount {
    /// All of it; more bytes than this are an error.
    All(u64),
    /// This many bytes, or all if there are fewer.
    Front(u64),
}

/// Unpacks a file into one without a name in the folder for temporary files; zeroes take no room there.
///
/// # Errors
/// When the stream is damaged or cut off, asks for too much memory, unpacks to more bytes than are allowed, or the folder is full.
pub(crate) fn unpack(file: &SourceFile, packing: Packing, amount: Amount) -> Result<SourceFile> {
    let mut unpacked = TemporaryFile::new()?;
    let position = AtomicU64::new(0);
    let packed = Packed { file, position: &position };
    // Up to where it was read: what is wrong lies before, at most a buffer's length.
    let damaged = |error: io::Error| damaged(file, packing, &error).at(position.load(Ordering::Relaxed));
    let mut source = packing.unpacker(BufReader::with_capacity(BLOCK, packed)).map_err(damaged)?;
    let mut block = vec![0; BLOCK];
    loop {
        let filled = fill(&mut source, &mut block).map_err(damaged)?;
        if let Amount::All(limit) = amount
            && unpacked.len() + filled as u64 > limit
        {
            let rule = format!("the {} stream unpacks to more than {limit} bytes", packing.name());
            return Err(file
                .error(ErrorKind::TooLarge, rule)
                .at(position.load(Ordering::Relaxed))
                .with_hint("unpack it by hand if it is meant to be that large"));
        }
        unpacked.append(&block[..filled])?;
        if filled < BLOCK || matches!(amount, Amount::Front(front) if unpacked.len() >= front) {
            break;
        }
    }
    let len = unpacked.len();
    Ok(file.unpacked_as(unpacked.finish()?, len))
}

/// Unpacks the file at `path` when it is packed; `None` when it is not. See [`crate::OpenPolicy::max_unpacked_size`] for
/// `limit`.
///
/// # Errors
/// As [`crate::open`] of a packed image.
pub fn unpack_file(path: &Path, limit: u64) -> Result<Option<File>> {
    let file = SourceFile::open(path)?;
    match Packing::of(&file)? {
        Some(packing) => Ok(Some(unpack(&file, packing, Amount::All(limit))?.into_file())),
        None => Ok(None),
    }
}

fn damaged(file: &SourceFile, packing: Packing, error: &io::Error) -> Error {
    let cut = error.kind() == io::ErrorKind::UnexpectedEof;
    let kind = if cut { ErrorKind::Truncated } else { ErrorKind::Corrupt };
    let error = file.error(kind, format!("the {} stream cannot be unpacked: {error}", packing.name()));
    if cut { error } else { error.with_hint("its bytes are not those that were packed: get the file again") }
}

/// Reads until `block` is full or the source ends; returns how much there was.
fn fill(source: &mut dyn Read, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match source.read(&mut block[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The packed bytes in order.
struct Packed<'a> {
    file: &'a SourceFile,
    /// Bytes read; whoever made it looks at it, too.
    position: &'a AtomicU64,
}

impl Read for Packed<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let position = self.position.load(Ordering::Relaxed);
        let left = (self.file.len() - position).min(buf.len() as u64) as usize;
        self.file.read_exact_at(position, &mut buf[..left]).map_err(io::Error::other)?;
        self.position.store(position + left as u64, Ordering::Relaxed);
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::open;
    use crate::{Format, OpenPolicy, detect};

    fn pack(packing: Packing, bytes: &[u8]) -> Vec<u8> {
        match packing {
            Packing::Gzip => {
                let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                packer.write_all(bytes).unwrap();
                packer.finish().unwrap()
            }
            Packing::Xz => {
                let mut packer = liblzma::write::XzEncoder::new(Vec::new(), 1);
                packer.write_all(bytes).unwrap();
                packer.finish().unwrap()
            }
            Packing::Bzip2 => {
                let mut packer = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
                packer.write_all(bytes).unwrap();
                packer.finish().unwrap()
            }
            Packing::Zstd => zstd::encode_all(bytes, 1).unwrap(),
        }
    }

    const ALL: [Packing; 4] = [Packing::Gzip, Packing::Xz, Packing::Bzip2, Packing::Zstd];

    fn disk() -> Vec<u8> {
        let mut disk = vec![0; 5 * BLOCK + 512];
        disk[BLOCK..BLOCK + 300].fill(7);
        disk[5 * BLOCK..].fill(9);
        disk
    }

    #[test]
    fn packed_disks_read_as_the_disk() {
        let dir = tempfile::tempdir().unwrap();
        for packing in ALL {
            let path = dir.path().join(packing.name());
            // Two members make one disk.
            let disk = disk();
            let (front, back) = disk.split_at(2 * BLOCK + 100);
            std::fs::write(&path, [pack(packing, front), pack(packing, back)].concat()).unwrap();
            let reader = open(&path, None, &OpenPolicy::deny()).unwrap();
            assert_eq!(reader.virtual_size(), disk.len() as u64, "{packing:?}");
            let mut read = vec![0; disk.len()];
            reader.read_at(0, &mut read).unwrap();
            assert_eq!(read, disk, "{packing:?}");
            assert_eq!(detect(&path).unwrap(), Format::Raw);
        }
    }

    #[test]
    fn a_packed_qcow2_in_a_pack_is_opened_and_a_deeper_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("inner.qcow2");
        crate::create_qcow2(&inner, 1 << 20).unwrap();
        let mut bytes = std::fs::read(&inner).unwrap();
        let path = dir.path().join("packed");
        for depth in 1..=3 {
            bytes = pack(ALL[depth % 4], &bytes);
            std::fs::write(&path, &bytes).unwrap();
            let opened = open(&path, None, &OpenPolicy::deny());
            match depth {
                1 | 2 => assert_eq!(opened.unwrap().info().format, Format::Qcow2),
                _ => assert_eq!(opened.err().unwrap().kind(), ErrorKind::Unsupported),
            }
        }
    }

    #[test]
    fn a_cut_or_damaged_stream_says_where_it_lies() {
        let dir = tempfile::tempdir().unwrap();
        for packing in ALL {
            let path = dir.path().join(packing.name());
            let whole = pack(packing, &disk());
            std::fs::write(&path, &whole[..whole.len() - 5]).unwrap();
            let error = open(&path, None, &OpenPolicy::deny()).err().unwrap();
            assert!(matches!(error.kind(), ErrorKind::Truncated | ErrorKind::Corrupt), "{packing:?}: {error}");
            assert!(error.to_string().contains(packing.name()), "{error}");
            let mut wrong = whole.clone();
            let middle = whole.len() / 2;
            wrong[middle..middle + 8].iter_mut().for_each(|byte| *byte ^= 0x5a);
            std::fs::write(&path, &wrong).unwrap();
            assert!(open(&path, None, &OpenPolicy::deny()).is_err(), "{packing:?}");
        }
    }

    #[test]
    fn a_bomb_is_stopped_at_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let policy = OpenPolicy { max_unpacked_size: 1 << 20, ..OpenPolicy::deny() };
        for packing in ALL {
            let path = dir.path().join(packing.name());
            std::fs::write(&path, pack(packing, &vec![0; 8 << 20])).unwrap();
            assert_eq!(open(&path, None, &policy).err().unwrap().kind(), ErrorKind::TooLarge, "{packing:?}");
        }
    }
}
