//! The manifest of an OVF package (`.mf`) and checksum files such as `SHA256SUMS`: a line with the digest of each file.

use crate::writing::file_digest::DigestAlgorithm;

/// Writes the manifest in the one spelling that VMware's tools accept: no blank before `(`, one after `=`.
pub(crate) fn manifest<'a>(algorithm: DigestAlgorithm, files: impl IntoIterator<Item = (&'a str, &'a str)>) -> String {
    files.into_iter().map(|(name, digest)| format!("{algorithm}({name})= {digest}\n")).collect()
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) algorithm: DigestAlgorithm,
    /// Lower-case hexadecimal digits, as many as the algorithm has.
    pub(crate) digest: String,
}

/// Reads the lines of a manifest or checksum file; empty lines and comments are left out. A line that is none of the forms
/// below is an `Err` with its number.
///
/// `SHA256(name)= hex` (OVF, OpenSSL), `SHA256 (name) = hex` (BSD), `hex  name`, `hex *name` (GNU coreutils; with a backslash in
/// front where the name has escapes) and `hex<tab>name` (Packer).
pub(crate) fn parse(text: &str) -> impl Iterator<Item = Result<(usize, Entry), usize>> {
    text.lines().enumerate().filter_map(|(index, line)| {
        let line = line.trim_end_matches('\r').trim_start_matches('\u{feff}');
        let is_empty = line.trim().is_empty() || line.starts_with('#');
        (!is_empty).then(|| tagged(line).or_else(|| untagged(line)).map(|entry| (index + 1, entry)).ok_or(index + 1))
    })
}

fn tagged(line: &str) -> Option<Entry> {
    let (front, digest) = line.rsplit_once('=')?;
    let (algorithm, name) = front.trim_end().strip_suffix(')')?.split_once('(')?;
    entry(name, Some(DigestAlgorithm::from_name(algorithm.trim())?), digest.trim())
}

fn untagged(line: &str) -> Option<Entry> {
    let (line, escaped) = match line.strip_prefix('\\') {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let (digest, name) = line.split_once([' ', '\t'])?;
    let name = name.trim_start_matches([' ', '\t']);
    let name = name.strip_prefix('*').unwrap_or(name);
    if escaped {
        let plain = name.replace("\\n", "\n").replace("\\r", "\r").replace("\\\\", "\\");
        return entry(&plain, None, digest);
    }
    entry(name, None, digest)
}

fn entry(name: &str, algorithm: Option<DigestAlgorithm>, digest: &str) -> Option<Entry> {
    let algorithm =
        algorithm.or_else(|| DigestAlgorithm::ALL.into_iter().find(|known| known.digits() == digest.len()))?;
    let is_digest = digest.len() == algorithm.digits() && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_digest && !name.is_empty()).then(|| Entry {
        name: name.to_owned(),
        algorithm,
        digest: digest.to_ascii_lowercase(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_vmwares_spelling() {
        let digest = "ab".repeat(32);
        let text = manifest(DigestAlgorithm::Sha256, [("a.ovf", digest.as_str())]);
        assert_eq!(text, format!("SHA256(a.ovf)= {digest}\n"));
    }

    #[test]
    fn every_tools_spelling_is_read() {
        let (sha1, sha256) = ("0A".repeat(20), "cd".repeat(32));
        let text = format!(
            "SHA1(a b(1).ovf)= {sha1}\r\nSHA256 (x) = {sha256}\n\n# note\n{sha256}  x y\n{sha256} *x\n{sha1}\tx\n\\{sha1}  a\\\\b\nSHA2-256(x)= {sha256}\n"
        );
        let found: Vec<_> = parse(&text).map(Result::unwrap).collect();
        let names: Vec<_> = found.iter().map(|(line, entry)| (*line, entry.name.as_str())).collect();
        assert_eq!(names, [(1, "a b(1).ovf"), (2, "x"), (5, "x y"), (6, "x"), (7, "x"), (8, "a\\b"), (9, "x")]);
        assert_eq!(found[0].1.digest, "0a".repeat(20));
        assert_eq!(found[4].1.algorithm, DigestAlgorithm::Sha1);
    }

    #[test]
    fn other_lines_are_reported_by_number() {
        let text = format!("SHA256(x)= abc\nhello\nSHA1(x)= {}\n{}\n", "ab".repeat(32), "ab".repeat(32));
        assert_eq!(parse(&text).map(Result::unwrap_err).collect::<Vec<_>>(), [1, 2, 3, 4]);
    }
}
