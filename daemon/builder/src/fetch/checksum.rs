//! Checksums: how templates write them, and computing them piece by piece.

use std::fmt;

use sha2::Digest as _;

/// A hash function that checksums may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Algorithm {
    /// MD5, 16 bytes. Guards against accidents only.
    Md5,
    /// SHA-1, 20 bytes. Guards against accidents only.
    Sha1,
    /// SHA-256, 32 bytes.
    Sha256,
    /// SHA-512, 64 bytes.
    Sha512,
}

/// A hash with the function that made it. Shown as `sha256:` and lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    algorithm: Algorithm,
    bytes: Vec<u8>,
}

/// What a file must hash to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    /// Anything is accepted.
    None,
    /// Only this.
    Digest(Digest),
}

/// A checksum as a template gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ChecksumSpec {
    /// `none`
    None,
    /// The hash itself.
    Digest(Digest),
    /// `file:` and the path or URL of a list of checksums.
    File(String),
}

/// Why text is not a checksum.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ChecksumSyntaxError {
    /// There is no text.
    #[error("A checksum must be specified")]
    Empty,
    /// The URL of the image was given.
    #[error("`{text}` looks like the image itself, not like a checksum")]
    Image {
        /// The text.
        text: String,
    },
    /// The type is not known.
    #[error("`{name}` is not a checksum type; md5, sha1, sha256, sha512, file and none are possible")]
    Type {
        /// The type.
        name: String,
    },
    /// The hash has characters that are not hexadecimal digits.
    #[error("`{text}` is not a hash: only the digits 0 to 9 and a to f are possible")]
    Digits {
        /// The hash.
        text: String,
    },
    /// The hash has the wrong length.
    #[error("`{text}` has {found} digits; {}", expected_lengths(*algorithm))]
    Length {
        /// The hash.
        text: String,
        /// Its length.
        found: usize,
        /// The function, when the text says it.
        algorithm: Option<Algorithm>,
    },
}

/// Reads a checksum as templates write it: `none`, `TYPE:HASH`, `HASH` (the length tells the type) or `file:PATH_OR_URL`.
///
/// # Errors
///
/// Fails when the text is none of these.
pub(crate) fn parse_checksum(text: &str) -> Result<ChecksumSpec, ChecksumSyntaxError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(ChecksumSyntaxError::Empty);
    }
    if text.eq_ignore_ascii_case("none") {
        return Ok(ChecksumSpec::None);
    }
    if text.to_ascii_lowercase().ends_with(".iso") {
        return Err(ChecksumSyntaxError::Image { text: text.to_owned() });
    }
    let Some((name, value)) = text.split_once(':') else {
        return Digest::from_hex(None, text).map(ChecksumSpec::Digest);
    };
    if name.eq_ignore_ascii_case("file") {
        return if value.is_empty() {
            Err(ChecksumSyntaxError::Empty)
        } else {
            Ok(ChecksumSpec::File(value.to_owned()))
        };
    }
    if name.eq_ignore_ascii_case("none") {
        return Ok(ChecksumSpec::None);
    }
    let algorithm = Algorithm::from_name(name).ok_or_else(|| ChecksumSyntaxError::Type { name: name.to_owned() })?;
    Digest::from_hex(Some(algorithm), value).map(ChecksumSpec::Digest)
}

impl Algorithm {
    const ALL: [Self; 4] = [Self::Md5, Self::Sha1, Self::Sha256, Self::Sha512];

    /// Finds a function by the names that checksum tools use, in any case: `sha256`, `SHA2-256`, `sha-256`.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        let name = name.to_ascii_lowercase();
        let name = name.strip_prefix("sha2-").map_or_else(|| name.replace('-', ""), |bits| format!("sha{bits}"));
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Returns the name as in `TYPE:HASH`.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Md5 => "md5",
            Self::Sha1 => "sha1",
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    const fn digits(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha1 => 40,
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

impl Digest {
    /// Reads hexadecimal digits; without a function their number tells it.
    pub(super) fn from_hex(algorithm: Option<Algorithm>, text: &str) -> Result<Self, ChecksumSyntaxError> {
        let text = text.trim();
        if !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(ChecksumSyntaxError::Digits { text: text.to_owned() });
        }
        let fitting = Algorithm::ALL.into_iter().find(|candidate| candidate.digits() == text.len());
        match (algorithm, fitting) {
            (None, Some(found)) => Ok(found),
            (Some(wanted), Some(found)) if wanted == found => Ok(found),
            _ => Err(ChecksumSyntaxError::Length { text: text.to_owned(), found: text.len(), algorithm }),
        }
        .map(|algorithm| {
            let digit = |byte: u8| (byte as char).to_digit(16).unwrap_or(0) as u8;
            let bytes = text.as_bytes().chunks(2).map(|pair| digit(pair[0]) << 4 | digit(pair[1])).collect();
            Self { algorithm, bytes }
        })
    }

    /// Returns the function that made the hash.
    pub(crate) const fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Returns the text as it stands in a URL's query.
    pub(super) fn encoded(&self) -> String {
        self.to_string().replace(':', "%3A")
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.algorithm.name(), hex(&self.bytes))
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => formatter.write_str("none"),
            Self::Digest(digest) => digest.fmt(formatter),
        }
    }
}

/// A hash in the making.
#[derive(Clone, Debug)]
pub(super) enum Hasher {
    Md5(md5::Md5),
    Sha1(sha1::Sha1),
    Sha256(sha2::Sha256),
    Sha512(sha2::Sha512),
}

impl Hasher {
    pub(super) fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Md5 => Self::Md5(md5::Md5::new()),
            Algorithm::Sha1 => Self::Sha1(sha1::Sha1::new()),
            Algorithm::Sha256 => Self::Sha256(sha2::Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(sha2::Sha512::new()),
        }
    }

    pub(super) const fn algorithm(&self) -> Algorithm {
        match self {
            Self::Md5(_) => Algorithm::Md5,
            Self::Sha1(_) => Algorithm::Sha1,
            Self::Sha256(_) => Algorithm::Sha256,
            Self::Sha512(_) => Algorithm::Sha512,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Md5(hasher) => hasher.update(bytes),
            Self::Sha1(hasher) => hasher.update(bytes),
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    pub(super) fn finish(self) -> Digest {
        let (algorithm, bytes) = match self {
            Self::Md5(hasher) => (Algorithm::Md5, hasher.finalize().to_vec()),
            Self::Sha1(hasher) => (Algorithm::Sha1, hasher.finalize().to_vec()),
            Self::Sha256(hasher) => (Algorithm::Sha256, hasher.finalize().to_vec()),
            Self::Sha512(hasher) => (Algorithm::Sha512, hasher.finalize().to_vec()),
        };
        Digest { algorithm, bytes }
    }
}

/// Returns the SHA-1 of a key as hexadecimal digits: the name of a file in the cache.
pub(super) fn sha1_hex(key: &[u8]) -> String {
    hex(&sha1::Sha1::digest(key))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn expected_lengths(algorithm: Option<Algorithm>) -> String {
    match algorithm {
        Some(algorithm) => format!("{} has {}", algorithm.name(), algorithm.digits()),
        None => "md5 has 32, sha1 40, sha256 64, sha512 128".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_all_forms() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for text in [abc.to_owned(), format!("sha256:{abc}"), format!(" SHA256:{} ", abc.to_uppercase())] {
            let ChecksumSpec::Digest(digest) = parse_checksum(&text).unwrap() else { panic!("{text}") };
            assert_eq!(digest.to_string(), format!("sha256:{abc}"));
            let mut hasher = Hasher::new(Algorithm::Sha256);
            hasher.update(b"a");
            hasher.update(b"bc");
            assert_eq!(hasher.finish(), digest);
        }
        assert_eq!(parse_checksum("none"), Ok(ChecksumSpec::None));
        assert_eq!(parse_checksum("file:http://x/S"), Ok(ChecksumSpec::File("http://x/S".into())));
        for (length, algorithm) in [(32, Algorithm::Md5), (40, Algorithm::Sha1), (128, Algorithm::Sha512)] {
            let ChecksumSpec::Digest(digest) = parse_checksum(&"0".repeat(length)).unwrap() else { panic!() };
            assert_eq!(digest.algorithm(), algorithm);
        }
    }

    #[test]
    fn refuses_everything_else() {
        assert_eq!(parse_checksum(" "), Err(ChecksumSyntaxError::Empty));
        assert!(matches!(parse_checksum("http://x/y.iso"), Err(ChecksumSyntaxError::Image { .. })));
        assert!(matches!(parse_checksum("sha3:00"), Err(ChecksumSyntaxError::Type { .. })));
        assert!(matches!(parse_checksum("md5:0g"), Err(ChecksumSyntaxError::Digits { .. })));
        let error = parse_checksum("sha256:abcd").unwrap_err();
        assert_eq!(error.to_string(), "`abcd` has 4 digits; sha256 has 64");
        assert!(matches!(parse_checksum(&"ü".repeat(16)), Err(ChecksumSyntaxError::Digits { .. })));
    }
}
