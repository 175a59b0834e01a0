//! The encoding of a descriptor's text: its line `encoding="…"` says it, which VMware fills with the host's code page.

use std::borrow::Cow;

use encoding_rs::{BIG5, GBK, SHIFT_JIS, UTF_8};

/// Numbers of Windows' code pages that the web's names lack, as in `windows-936`.
const CODE_PAGES: [(&str, &encoding_rs::Encoding); 4] =
    [("932", SHIFT_JIS), ("936", GBK), ("950", BIG5), ("65001", UTF_8)];

/// How the bytes of a descriptor are read as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Encoding {
    Known(&'static encoding_rs::Encoding),
    /// Declared by a name that nobody knows: what is not ASCII cannot be read.
    Unknown(String),
}

impl Encoding {
    /// Returns the encoding of this name. Those that spell ASCII in other bytes cannot be meant: the name itself was read as ASCII.
    pub(crate) fn named(name: &str) -> Self {
        let number = ["windows-", "cp"].iter().find_map(|prefix| {
            let (start, rest) = name.split_at_checked(prefix.len())?;
            start.eq_ignore_ascii_case(prefix).then_some(rest)
        });
        let page = number.and_then(|number| CODE_PAGES.iter().find(|(page, _)| *page == number));
        let known = match page {
            Some((_, encoding)) => Some(*encoding),
            None => encoding_rs::Encoding::for_label(name.as_bytes()),
        };
        match known.filter(|encoding| encoding.is_ascii_compatible()) {
            Some(encoding) => Self::Known(encoding),
            None => Self::Unknown(name.chars().filter(|letter| !letter.is_control()).collect()),
        }
    }

    /// Reads a line; what is wrong in it becomes replacement characters, and the second value says which rule that breaks.
    pub(crate) fn decode<'a>(&self, line: &'a [u8]) -> (Cow<'a, str>, Option<String>) {
        match self {
            Self::Known(encoding) => {
                let (text, is_wrong) = encoding.decode_without_bom_handling(line);
                (text, is_wrong.then(|| format!("a name that is not in the descriptor's encoding {}", encoding.name())))
            }
            Self::Unknown(name) => {
                let rule = format!("a name in the descriptor's encoding {name:?}, which is not known");
                (String::from_utf8_lossy(line), (!line.is_ascii()).then_some(rule))
            }
        }
    }
}

impl Default for Encoding {
    fn default() -> Self {
        Self::Known(UTF_8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_hosts_code_pages_are_known() {
        for (name, bytes, text) in [
            ("GBK", &b"\xb4\xc5\xc5\xcc"[..], "磁盘"),
            ("windows-936", b"\xb4\xc5\xc5\xcc", "磁盘"),
            ("Windows-1252", b"b\xfccher", "bücher"),
            ("ISO-8859-1", b"b\xfccher", "bücher"),
            ("windows-1251", b"\xe4\xe8\xf1\xea", "диск"),
            ("Shift_JIS", b"\x83\x66\x83\x42", "ディ"),
            ("CP932", b"\x83\x66\x83\x42", "ディ"),
            ("windows-950", b"\xba\xcf\xba\xd0", "磁碟"),
            ("UTF-8", "bücher".as_bytes(), "bücher"),
        ] {
            assert_eq!(Encoding::named(name).decode(bytes), (text.into(), None), "{name}");
        }
        assert_eq!(
            Encoding::default().decode(b"b\xfccher").1.unwrap(),
            "a name that is not in the descriptor's encoding UTF-8"
        );
    }

    #[test]
    fn a_name_of_no_encoding_is_good_for_ascii_only() {
        for name in ["", "klingon", "UTF-16LE", "ISO-2022-JP", "windows-", "wïndows-1252"] {
            let encoding = Encoding::named(name);
            assert_eq!(encoding.decode(b"disk"), ("disk".into(), None), "{name}");
            assert!(encoding.decode(b"b\xfccher").1.unwrap().contains("which is not known"), "{name}");
        }
    }
}
