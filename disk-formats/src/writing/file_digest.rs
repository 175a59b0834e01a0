//! Digests of whole files in the algorithms that manifests and checksum files use.

use std::fmt;

use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

/// A digest algorithm of a manifest or checksum file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum DigestAlgorithm {
    /// MD5: shows accidents, not attacks.
    Md5,
    /// SHA-1: what ESXi before 6.5 reads; shows accidents, not attacks.
    Sha1,
    /// SHA-224.
    Sha224,
    /// SHA-256: read by every importer since ESXi 6.5, Workstation 14 and VirtualBox 5.
    #[default]
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512: read by the newest importers only.
    Sha512,
}

impl DigestAlgorithm {
    /// All algorithms.
    pub const ALL: [Self; 6] = [Self::Md5, Self::Sha1, Self::Sha224, Self::Sha256, Self::Sha384, Self::Sha512];

    /// Returns the name as manifests spell it: `SHA256`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha1 => "SHA1",
            Self::Sha224 => "SHA224",
            Self::Sha256 => "SHA256",
            Self::Sha384 => "SHA384",
            Self::Sha512 => "SHA512",
        }
    }

    /// Returns the algorithm for a name in any case and spelling: `sha256`, `SHA-256`, `SHA2-256`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let plain = name.to_ascii_uppercase().replace("SHA2-", "SHA").replace('-', "");
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == plain)
    }

    /// Returns the length of a digest in hexadecimal digits.
    #[must_use]
    pub fn digits(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha1 => 40,
            Self::Sha224 => 56,
            Self::Sha256 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }
}

impl fmt::Display for DigestAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A running digest.
pub(crate) enum FileHasher {
    Md5(Md5),
    Sha1(Sha1),
    Sha224(Sha224),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl FileHasher {
    pub(crate) fn new(algorithm: DigestAlgorithm) -> Self {
        match algorithm {
            DigestAlgorithm::Md5 => Self::Md5(Md5::new()),
            DigestAlgorithm::Sha1 => Self::Sha1(Sha1::new()),
            DigestAlgorithm::Sha224 => Self::Sha224(Sha224::new()),
            DigestAlgorithm::Sha256 => Self::Sha256(Sha256::new()),
            DigestAlgorithm::Sha384 => Self::Sha384(Sha384::new()),
            DigestAlgorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(hasher) => hasher.update(bytes),
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha224(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha384(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// Returns the digest in lower-case hexadecimal digits.
    pub(crate) fn finish(self) -> String {
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        match self {
            Self::Md5(hasher) => hex(&hasher.finalize()),
            Self::Sha1(hasher) => hex(&hasher.finalize()),
            Self::Sha224(hasher) => hex(&hasher.finalize()),
            Self::Sha256(hasher) => hex(&hasher.finalize()),
            Self::Sha384(hasher) => hex(&hasher.finalize()),
            Self::Sha512(hasher) => hex(&hasher.finalize()),
        }
    }

    /// Hashes bytes.
    pub(crate) fn of(algorithm: DigestAlgorithm, bytes: &[u8]) -> String {
        let mut hasher = Self::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_have_their_lengths_and_known_values() {
        for algorithm in DigestAlgorithm::ALL {
            assert_eq!(FileHasher::of(algorithm, b"abc").len(), algorithm.digits());
        }
        assert_eq!(FileHasher::of(DigestAlgorithm::Sha1, b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
        assert_eq!(FileHasher::of(DigestAlgorithm::Md5, b"abc"), "900150983cd24fb0d6963f7d28e17f72");
    }

    #[test]
    fn names_are_read_in_every_spelling() {
        for name in ["sha256", "SHA256", "SHA-256", "SHA2-256"] {
            assert_eq!(DigestAlgorithm::from_name(name), Some(DigestAlgorithm::Sha256));
        }
        assert_eq!(DigestAlgorithm::from_name("SHA-1"), Some(DigestAlgorithm::Sha1));
        assert_eq!(DigestAlgorithm::from_name("crc32"), None);
    }
}
