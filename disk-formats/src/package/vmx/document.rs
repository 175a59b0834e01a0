//! The lines of a VMX file: read, changed, and written again without losing what nobody here knows.
//!
//! Keys are the same in any case, as for VMware, and keep the spelling that they were read in. What is written is in order of the
//! keys, quoted and in UTF-8, so that the same settings give the same bytes.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::escape::{escaped, unescaped};
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::reading::source_file::SourceFile;
use crate::vmdk::encoding::Encoding;

/// Largest file that is read, in bytes; a VMX has some kilobytes.
const MAX_BYTES: u64 = 4 << 20;
/// Most settings; a VMX has some hundreds.
const MAX_SETTINGS: usize = 16_384;
/// Longest value in bytes.
const MAX_VALUE: usize = 64 << 10;
/// Longest key in bytes.
const MAX_KEY: usize = 256;
/// The key that says in which encoding the file is.
const ENCODING: &str = ".encoding";

/// The settings of a VMX file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Vmx {
    /// The lines that begin with `#`, in order.
    comments: Vec<String>,
    /// By their keys in lower case.
    settings: BTreeMap<String, Setting>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Setting {
    key: String,
    value: String,
}

impl Vmx {
    /// Returns a file without settings.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a file.
    ///
    /// # Errors
    /// When the file cannot be read, is larger than 4 MiB, or breaks the rules of [`Vmx::from_bytes`].
    pub fn read(path: &Path) -> Result<Self> {
        let vmx = SourceFile::open(path).and_then(|file| Self::from_file(&file));
        vmx.map_err(|error| error.with_path(path))
    }

    /// Reads an opened file.
    pub(crate) fn from_file(file: &SourceFile) -> Result<Self> {
        if file.len() > MAX_BYTES {
            return Err(file.error(ErrorKind::TooLarge, "a vmx of more than 4 MiB"));
        }
        let mut bytes = vec![0; usize::try_from(file.len()).unwrap_or_default()];
        file.read_exact_at(0, &mut bytes)?;
        Self::from_bytes(&bytes)
    }

    /// Reads the lines `key = "value"`, in the encoding that one of them names (else UTF-8). Quotes may be left out. A key may be there
    /// twice with one value, but not with two.
    ///
    /// # Errors
    /// With the number of the line that is none of these, or whose key or value is longer than any of VMware's.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 > MAX_BYTES {
            return Err(Error::new(ErrorKind::TooLarge, Operation::Read, "a vmx of more than 4 MiB"));
        }
        let (bytes, skipped) = match bytes.strip_prefix(b"\xef\xbb\xbf") {
            Some(rest) => (rest, 3),
            None => (bytes, 0),
        };
        let encoding = encoding(bytes);
        let mut vmx = Self::default();
        let mut lines_of: BTreeMap<String, usize> = BTreeMap::new();
        let mut at = skipped;
        for (line, number) in bytes.split(|byte| *byte == b'\n').zip(1..) {
            let start = at as u64;
            at += line.len() + 1;
            let fail =
                |kind, rule: String| Error::new(kind, Operation::Read, format!("line {number} {rule}")).at(start);
            let broken = |rule: &str| fail(ErrorKind::Corrupt, rule.to_owned());
            let (text, wrong) = encoding.decode(line);
            if wrong.is_some() {
                let name = match &encoding {
                    Encoding::Known(encoding) => encoding.name().to_owned(),
                    Encoding::Unknown(name) => format!("{name:?}, which is not known"),
                };
                let error = broken(&format!("is not in the file's encoding {name}"));
                return Err(error.with_hint("say the right one in the file, as `.encoding = \"windows-1252\"`"));
            }
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            if text.starts_with('#') {
                if vmx.comments.len() == MAX_SETTINGS || text.len() > MAX_VALUE {
                    return Err(fail(ErrorKind::TooLarge, "is a comment too many, or too long".to_owned()));
                }
                vmx.comments.push(text.to_owned());
                continue;
            }
            let (key, value) = setting(text).map_err(broken)?;
            check_key(key).map_err(|rule| broken(&format!("has a key that {rule}")))?;
            let value = unescaped(value).map_err(|why| broken(why.words()))?;
            if value.len() > MAX_VALUE {
                return Err(fail(ErrorKind::TooLarge, "has a value of more than 64 KiB".to_owned()));
            }
            let known = lines_of.get(&key.to_ascii_lowercase());
            match (known, vmx.get(key)) {
                (Some(first), Some(other)) if other != value => {
                    let error = broken(&format!("gives `{key}` another value than line {first}"));
                    return Err(error.with_hint("leave one of the two out"));
                }
                (Some(_), _) => {}
                (None, _) if vmx.settings.len() == MAX_SETTINGS => {
                    return Err(fail(ErrorKind::TooLarge, format!("is one of more than {MAX_SETTINGS} settings")));
                }
                (None, _) => {
                    lines_of.insert(key.to_ascii_lowercase(), number);
                    vmx.put(key, &value);
                }
            }
        }
        Ok(vmx)
    }

    /// Returns the value of a key, in any case.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.settings.get(&key.to_ascii_lowercase()).map(|setting| setting.value.as_str())
    }

    /// Says whether the value of a key is `TRUE`, in any case.
    #[must_use]
    pub fn is_true(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value.trim().eq_ignore_ascii_case("true"))
    }

    /// Gives a key this value, in the place of one that it has.
    ///
    /// # Errors
    /// When it is no key that a line can begin with, or the value holds a NUL or is longer than 64 KiB.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        let invalid = |rule: String| Error::new(ErrorKind::InvalidInput, Operation::Describe, rule);
        check_key(key).map_err(|rule| invalid(format!("the vmx key {key:?} {rule}")))?;
        if value.contains('\0') || value.len() > MAX_VALUE {
            return Err(invalid(format!("the value of the vmx key {key:?} holds a NUL, or more than 64 KiB")));
        }
        if self.settings.len() == MAX_SETTINGS && self.get(key).is_none() {
            return Err(invalid(format!("a vmx has at most {MAX_SETTINGS} settings")));
        }
        self.put(key, value);
        Ok(())
    }

    /// The same for a key and a value that are known to be right. A key that is there keeps its spelling.
    pub(super) fn put(&mut self, key: &str, value: &str) {
        let setting = self.settings.entry(key.to_ascii_lowercase());
        setting.or_insert_with(|| Setting { key: key.to_owned(), value: String::new() }).value = value.to_owned();
    }

    /// Takes a key out, and returns the value that it had.
    pub fn remove(&mut self, key: &str) -> Option<String> {
        self.settings.remove(&key.to_ascii_lowercase()).map(|setting| setting.value)
    }

    /// Keeps the settings for whose key, in lower case, and value `keep` is true.
    pub fn retain(&mut self, mut keep: impl FnMut(&str, &str) -> bool) {
        self.settings.retain(|key, setting| keep(key, &setting.value));
    }

    /// Returns keys, as they are spelled, and values, in the order in which they are written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.settings.values().map(|setting| (setting.key.as_str(), setting.value.as_str()))
    }
}

/// The file: comments, then a line for each setting in the order of the keys, and that it is in UTF-8.
impl fmt::Display for Vmx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for comment in &self.comments {
            writeln!(f, "{comment}")?;
        }
        writeln!(f, "{ENCODING} = \"UTF-8\"")?;
        for (key, value) in self.iter().filter(|(key, _)| !key.eq_ignore_ascii_case(ENCODING)) {
            writeln!(f, "{key} = \"{}\"", escaped(value))?;
        }
        Ok(())
    }
}

/// Returns what a line sets, without the quotes.
fn setting(line: &str) -> Result<(&str, &str), &'static str> {
    let (key, value) = line.split_once('=').ok_or("is not of the form `key = \"value\"`")?;
    let value = value.trim();
    let Some(quoted) = value.strip_prefix('"') else {
        return if value.contains('"') {
            Err("has a quote in the middle of its value")
        } else {
            Ok((key.trim(), value))
        };
    };
    let (value, rest) = quoted.split_once('"').ok_or("has no closing quote")?;
    let rest = rest.trim_start();
    if !rest.is_empty() && !rest.starts_with('#') {
        return Err("goes on behind its closing quote (a quote in a value is `|22`)");
    }
    Ok((key.trim(), value))
}

/// Says what is wrong with a key.
fn check_key(key: &str) -> Result<(), &'static str> {
    if key.is_empty() || key.len() > MAX_KEY {
        return Err("is empty, or longer than 256 bytes");
    }
    let allowed = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '=' | '"' | '|' | '\u{fffd}');
    if key.starts_with('#') || !key.chars().all(allowed) {
        return Err("holds a blank, `=`, a quote or another sign that no key has");
    }
    Ok(())
}

/// Returns the encoding that a line names.
fn encoding(bytes: &[u8]) -> Encoding {
    for line in bytes.split(|byte| *byte == b'\n') {
        let Ok(text) = std::str::from_utf8(line) else { continue };
        if let Ok((key, value)) = setting(text.trim())
            && key.eq_ignore_ascii_case(ENCODING)
        {
            return Encoding::named(value);
        }
    }
    Encoding::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vmx {
        Vmx::from_bytes(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_read_is_written_in_order_and_nothing_is_lost() {
        let text = "#!/usr/bin/vmware\r\nmemsize = \"512\"\r\n.encoding = \"UTF-8\"\n\n  guestinfo.Odd.Key=\"a |22b|22 |7C\" # why\nConfig.Version = 8\n# note\nmemSize = \"512\"\nempty = \"\"";
        let vmx = read(text);
        assert_eq!(vmx.get("MEMSIZE"), Some("512"));
        assert_eq!(vmx.get("guestinfo.odd.key"), Some("a \"b\" |"));
        assert_eq!((vmx.get("empty"), vmx.get("none")), (Some(""), None));
        let written = "#!/usr/bin/vmware\n# note\n.encoding = \"UTF-8\"\nConfig.Version = \"8\"\nempty = \"\"\n\
                       guestinfo.Odd.Key = \"a |22b|22 |7C\"\nmemsize = \"512\"\n";
        assert_eq!(vmx.to_string(), written);
        assert_eq!(read(written), vmx);
    }

    #[test]
    fn settings_are_changed_in_any_case() {
        let mut vmx = read("Floppy0.Present = \"TRUE\"\na = \"1\"\nb = \"2\"");
        assert!(vmx.is_true("floppy0.present"));
        vmx.set("floppy0.present", "FALSE").unwrap();
        vmx.set("note", "two\nlines \u{fc}").unwrap();
        assert_eq!((vmx.remove("A").as_deref(), vmx.remove("A")), (Some("1"), None));
        vmx.retain(|key, value| key != "b" || value != "2");
        let lines: Vec<_> = vmx.iter().collect();
        assert_eq!(lines, [("Floppy0.Present", "FALSE"), ("note", "two\nlines \u{fc}")]);
        assert!(vmx.to_string().contains("note = \"two|0Alines \u{fc}\"\n"));
        for key in ["", "a b", "a=b", "#a", "a\"", "a\n", &"k".repeat(257)] {
            assert_eq!(vmx.set(key, "x").unwrap_err().kind(), ErrorKind::InvalidInput, "{key:?}");
        }
        assert!(vmx.set("a", "x\0").is_err() && vmx.set("a", &"x".repeat(65_537)).is_err());
    }

    #[test]
    fn the_encoding_that_is_named_counts_and_utf8_is_written() {
        let vmx = Vmx::from_bytes(b"name = \"b\xfccher\"\n.encoding = \"windows-1252\"\n").unwrap();
        assert_eq!(vmx.get("name"), Some("b\u{fc}cher"));
        assert_eq!(vmx.to_string(), ".encoding = \"UTF-8\"\nname = \"b\u{fc}cher\"\n");
        let error = Vmx::from_bytes(b"a = \"1\"\nname = \"b\xfccher\"\n").unwrap_err();
        assert!(error.to_string().contains("line 2 is not in the file's encoding UTF-8"), "{error}");
        assert_eq!(error.offset(), Some(8));
        let error = Vmx::from_bytes(b".encoding = \"klingon\"\nname = \"\xfc\"").unwrap_err();
        assert!(error.to_string().contains("\"klingon\", which is not known"), "{error}");
    }

    #[test]
    fn what_is_no_setting_is_refused_with_its_line() {
        for (text, words) in [
            ("a = \"1\"\nhello", "line 2 is not of the form"),
            ("a = \"1", "line 1 has no closing quote"),
            ("a = \"1\"2\"", "line 1 goes on behind"),
            ("a = 1\"2", "line 1 has a quote in the middle"),
            ("= \"1\"", "line 1 has a key that is empty"),
            ("a b = \"1\"", "line 1 has a key that holds a blank"),
            ("a = \"|00\"", "line 1 holds `|00`"),
            ("a = \"|FF\"", "line 1 has escapes"),
            ("a = \"1\"\nb = \"2\"\nA = \"2\"", "line 3 gives `A` another value than line 1"),
        ] {
            let error = Vmx::from_bytes(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(words), "{text:?}: {error}");
            assert_eq!(error.kind(), ErrorKind::Corrupt);
        }
    }

    #[test]
    fn size_has_limits() {
        let many: String = (0..=MAX_SETTINGS).map(|number| format!("k{number} = \"\"\n")).collect();
        let comments = "#\n".repeat(MAX_SETTINGS + 1);
        let long = format!("a = \"{}\"", "x".repeat(MAX_VALUE + 1));
        let huge = " ".repeat(MAX_BYTES as usize + 1);
        for text in [many, comments, long, huge] {
            assert_eq!(Vmx::from_bytes(text.as_bytes()).unwrap_err().kind(), ErrorKind::TooLarge);
        }
    }
}
