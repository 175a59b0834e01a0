//! The manifest of an OVF package (`.mf`): one line with the SHA-256 of each file.

use crate::Sha256Digest;

/// Writes the manifest in the one spelling that VMware's tools accept: no blank before `(`, one after `=`.
pub(crate) fn manifest<'a>(files: impl IntoIterator<Item = (&'a str, Sha256Digest)>) -> String {
    files.into_iter().map(|(name, digest)| format!("SHA256({name})= {digest}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_have_vmwares_spelling() {
        let text = manifest([("a.ovf", Sha256Digest([0xab; 32]))]);
        assert_eq!(text, format!("SHA256(a.ovf)= {}\n", "ab".repeat(32)));
    }
}
