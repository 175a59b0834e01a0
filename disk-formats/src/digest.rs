//! SHA-256 values and the content digest, the proof that two images hold the same guest disk.

use std::fmt;

use sha2::{Digest, Sha256};

/// Bytes of guest disk that are hashed, tested for zeroes and compressed as one piece.
pub(crate) const CHUNK: usize = 64 * 1024;

/// A SHA-256 value; displays as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256Digest(pub [u8; 32]);

impl Sha256Digest {
    /// Hashes bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Reads 64 hexadecimal digits.
    #[must_use]
    pub fn from_hex(digits: &str) -> Option<Self> {
        if digits.len() != 64 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let mut value = [0; 32];
        for (byte, pair) in value.iter_mut().zip(digits.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(value))
    }
}

impl fmt::Display for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Content digest v1: equal exactly when two disks have the same size and the same guest bytes, whatever their formats.
///
/// SHA-256 over, for every 64 KiB chunk that is not all zero and in guest order, its offset (u64, little-endian) and the
/// SHA-256 of the chunk (the last one zero-padded), and finally the virtual size (u64, little-endian). So chunks hash in
/// parallel and zeroes cost nothing. Displays as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentDigest(pub Sha256Digest);

impl fmt::Display for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for ContentDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "kiln-content-v1:{}", self.0)
    }
}

/// Collects chunk hashes in guest order.
#[derive(Clone, Default)]
pub(crate) struct ContentHasher(Sha256);

impl ContentHasher {
    /// Adds a chunk that is not all zero.
    pub(crate) fn chunk(&mut self, offset: u64, chunk: &Sha256Digest) {
        self.0.update(offset.to_le_bytes());
        self.0.update(chunk.0);
    }

    pub(crate) fn finish(mut self, virtual_size: u64) -> ContentDigest {
        self.0.update(virtual_size.to_le_bytes());
        ContentDigest(Sha256Digest(self.0.finalize().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_an_empty_disk_is_the_hash_of_its_size() {
        let digest = ContentHasher::default().finish(0x1000);
        assert_eq!(digest.0, Sha256Digest::of(&0x1000u64.to_le_bytes()));
    }

    #[test]
    fn digests_display_as_hex() {
        assert!(Sha256Digest::of(b"").to_string().starts_with("e3b0c44298fc1c14"));
    }
}
