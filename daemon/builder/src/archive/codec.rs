//! The compressed formats: what a file begins and ends with, and how a piece of it is packed by itself.

use std::io::{self, Write as _};

use flate2::{Compression, Crc};

use super::chunk::{Chunk, Level, Packed};
use super::{bgzf, deflate, lz4};

/// What an xz encoder of each preset needs, in MiB (the table of `xz --help` and its manual page).
const XZ_MEMORY: [usize; 10] = [3, 9, 17, 32, 48, 94, 94, 186, 370, 674];

/// What all xz encoders together may need, in MiB.
const XZ_LIMIT: usize = 1024;

/// A format with its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Codec {
    /// As it is.
    Plain,
    /// One member of gzip (RFC 1952).
    Gzip(Level),
    /// gzip in blocks that can be found again (SAM specification, 4.1).
    Bgzf(Level),
    /// One frame of LZ4.
    Lz4(Level),
    /// Streams of xz, one behind the other.
    Xz(Level),
    /// Frames of zstd, one behind the other.
    Zstd(Level),
    /// Streams of bzip2, one behind the other.
    Bzip2(Level),
    /// Bare DEFLATE (RFC 1951), for members of a ZIP.
    Deflate(Level),
}

impl Codec {
    /// How many bytes are packed at once.
    pub(super) fn chunk_size(self) -> usize {
        match self {
            Self::Plain | Self::Gzip(_) | Self::Deflate(_) => 1 << 20,
            Self::Bgzf(_) => bgzf::BLOCK * 16,
            Self::Lz4(_) => lz4::BLOCK,
            Self::Xz(_) => 8 << 20,
            Self::Zstd(_) => 4 << 20,
            // Eight blocks, each of them a little smaller than the format allows, for what its first pass may add.
            Self::Bzip2(level) => 8 * (usize::from(level.unwrap_or(9)) * 100_000 - 20_000),
        }
    }

    /// How far back a piece may refer.
    pub(super) fn looks_back(self) -> usize {
        match self {
            Self::Gzip(_) | Self::Deflate(_) => deflate::WINDOW,
            _ => 0,
        }
    }

    /// On how many of `processors` it may run, so that its memory stays bounded.
    pub(crate) fn workers(self, processors: usize) -> usize {
        let most = match self {
            Self::Xz(level) => XZ_LIMIT / XZ_MEMORY[usize::from(level.unwrap_or(6).min(9))],
            _ => 64,
        };
        processors.clamp(1, most.max(1))
    }

    /// What stands before the first piece.
    pub(super) fn head(self) -> Vec<u8> {
        match self {
            Self::Gzip(level) => deflate::gzip_head(level),
            Self::Lz4(_) => lz4::head(),
            _ => Vec::new(),
        }
    }

    /// What stands behind the last piece.
    pub(super) fn tail(self, crc: &Crc) -> Vec<u8> {
        match self {
            Self::Gzip(_) => deflate::gzip_tail(crc),
            Self::Bgzf(_) => bgzf::END.to_vec(),
            Self::Lz4(_) => lz4::END.to_vec(),
            _ => Vec::new(),
        }
    }

    /// Packs one piece.
    pub(super) fn pack(self, chunk: &Chunk) -> io::Result<Packed> {
        let mut crc = Crc::new();
        // Nothing, packed, is a file of its own only where nothing else is in it.
        let bytes = match self {
            Self::Plain => chunk.bytes.clone(),
            Self::Gzip(level) | Self::Deflate(level) => {
                crc.update(&chunk.bytes);
                deflate::pack(chunk, flate_level(level))?
            }
            Self::Bgzf(level) => bgzf::pack(&chunk.bytes, flate_level(level))?,
            Self::Lz4(level) => lz4::pack(&chunk.bytes, level)?,
            Self::Xz(level) => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), u32::from(level.unwrap_or(6)));
                encoder.write_all(&chunk.bytes)?;
                encoder.finish()?
            }
            Self::Zstd(level) => {
                // The nine levels of the others, over those of zstd that people use: 19 is its last ordinary one.
                let mut compressor = zstd::bulk::Compressor::new(level.map_or(3, zstd_level))?;
                compressor.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true))?;
                compressor.compress(&chunk.bytes)?
            }
            Self::Bzip2(level) => {
                let level = bzip2::Compression::new(u32::from(level.unwrap_or(9)));
                let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), level);
                encoder.write_all(&chunk.bytes)?;
                encoder.finish()?
            }
        };
        Ok(Packed { bytes, crc })
    }
}

fn flate_level(level: Level) -> Compression {
    level.map_or_else(Compression::default, |level| Compression::new(u32::from(level)))
}

fn zstd_level(level: u8) -> i32 {
    match level {
        0..=3 => i32::from(level),
        4..=8 => i32::from(level) * 2 - 3,
        _ => 19,
    }
}
