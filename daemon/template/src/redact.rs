//! Owns [`Redactor`]: keeps secrets out of everything that is said, in every form in which they may come back.

use std::sync::{Arc, RwLock};

use base64::Engine as _;

use crate::options::SENSITIVE;

/// Below this length a "secret" would blank out ordinary text, so only whole words are masked.
const SHORT: usize = 3;

/// Secrets that must not be shown. Cheap to clone; all clones share one list.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    needles: Arc<RwLock<Vec<String>>>,
}

impl Redactor {
    /// A redactor that knows `secrets`.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let redactor = Self::default();
        for secret in secrets {
            redactor.add(&secret);
        }
        redactor
    }

    /// Adds a secret: itself, its lines, and its Base64, URL, JSON, shell and hexadecimal forms.
    pub fn add(&self, secret: &str) {
        let mut forms = Vec::new();
        let whole = secret.trim();
        for part in std::iter::once(whole).chain(whole.lines().map(str::trim)) {
            if part.is_empty() {
                continue;
            }
            forms.push(part.to_owned());
            if part.len() < SHORT {
                continue;
            }
            forms.extend(base64_cores(part));
            for (kept, space) in [("-_.~", "%20"), ("-_.~", "+"), ("-_.~/", "%20")] {
                let form = percent_encode(part, kept, space);
                forms.push(lower_case_escapes(&form));
                forms.push(form);
            }
            forms.push(ascii_json(part));
            // What the languages' own functions make of a text.
            forms.extend([part.to_uppercase(), part.to_lowercase(), part.chars().rev().collect()]);
            forms.push(part.replace('\'', "'\"'\"'"));
            if let Ok(json) = serde_json::to_string(part) {
                forms.push(json[1..json.len() - 1].to_owned());
            }
            let hex: String = part.bytes().map(|b| format!("{b:02x}")).collect();
            forms.push(hex.to_uppercase());
            forms.push(hex);
        }
        let mut needles = self.needles.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        for form in forms {
            if !needles.contains(&form) {
                needles.push(form);
            }
        }
        // The longest first: a part of a secret must not break the match of the whole.
        needles.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
    }

    /// Replaces every secret in `text` by [`SENSITIVE`].
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let needles = self.needles.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut result = text.to_owned();
        for needle in needles.iter() {
            if !result.contains(needle.as_str()) {
                continue;
            }
            result = if needle.len() < SHORT { mask_words(&result, needle) } else { result.replace(needle, SENSITIVE) };
        }
        result
    }
}

/// The Base64 texts that any string containing `secret` has in common, for the three alignments, without the
/// characters that depend on the neighbours.
fn base64_cores(secret: &str) -> Vec<String> {
    let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
    let mut cores = vec![base64::engine::general_purpose::STANDARD.encode(secret)];
    for shift in 0..3_usize {
        let mut bytes = vec![0_u8; shift];
        bytes.extend_from_slice(secret.as_bytes());
        let text = engine.encode(&bytes);
        // ceil(shift * 8 / 6) leading characters mix in the neighbour's bits; so does the last one of an odd tail.
        let from = (shift * 8).div_ceil(6);
        let to = bytes.len() * 8 / 6;
        if to.saturating_sub(from) >= 6 {
            cores.push(text[from..to].to_owned());
        }
    }
    cores
}

/// URL encoding; tools differ in what they leave as it is and in how they write a blank.
fn percent_encode(text: &str, kept: &str, space: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' => char::from(byte).to_string(),
            b' ' => space.to_owned(),
            other if kept.as_bytes().contains(&other) => char::from(other).to_string(),
            other => format!("%{other:02X}"),
        })
        .collect()
}

/// `%2F` as `%2f`, which some tools write.
fn lower_case_escapes(text: &str) -> String {
    let mut escape = 0;
    text.chars()
        .map(|character| {
            escape = if character == '%' { 3_u8 } else { escape.saturating_sub(1) };
            if escape > 0 { character.to_ascii_lowercase() } else { character }
        })
        .collect()
}

/// A JSON text with `\uXXXX` for everything that is not ASCII.
fn ascii_json(text: &str) -> String {
    let json = serde_json::to_string(text).unwrap_or_default();
    let inner = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or(&json);
    let mut result = String::new();
    for character in inner.chars() {
        if character.is_ascii() {
            result.push(character);
        } else {
            result.extend(character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
        }
    }
    result
}

fn mask_words(text: &str, word: &str) -> String {
    let boundary = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    let mut result = String::with_capacity(text.len());
    let mut last = 0;
    for (at, _) in text.match_indices(word) {
        if boundary(text[..at].chars().next_back()) && boundary(text[at + word.len()..].chars().next()) {
            result.push_str(&text[last..at]);
            result.push_str(SENSITIVE);
            last = at + word.len();
        }
    }
    result.push_str(&text[last..]);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_every_encoding() {
        let secret = "s3cr3t/pass'word";
        let redactor = Redactor::new([secret.to_owned()]);
        let b64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        for text in [
            secret.to_owned(),
            format!("echo '{}' | sudo -S", secret.replace('\'', "'\"'\"'")),
            b64(secret),
            b64(&format!("x{secret}")),
            b64(&format!("user:{secret}@host")),
            percent_encode(secret, "-_.~", "%20"),
            serde_json::to_string(secret).unwrap(),
        ] {
            let shown = redactor.redact(&text);
            assert!(shown.contains(SENSITIVE), "{text} -> {shown}");
            assert!(!shown.contains("s3cr3t"), "{shown}");
        }
    }

    #[test]
    fn masks_what_other_tools_make_of_a_secret() {
        let redactor = Redactor::new(["Top/Secret+Val ü=1".to_owned()]);
        for text in [
            "Top%2FSecret%2BVal+%C3%BC%3D1",
            "Top/Secret%2BVal%20%C3%BC%3D1",
            "Top%2fSecret%2bVal%20%c3%bc%3d1",
            "{\"a\": \"Top/Secret+Val \\u00fc=1\"}",
        ] {
            let shown = redactor.redact(text);
            assert!(!shown.contains("Secret"), "{text} -> {shown}");
        }
    }

    #[test]
    fn masks_lines_of_a_key_and_leaves_the_rest() {
        let redactor = Redactor::new(["-----BEGIN\nabcdefgh\n".to_owned()]);
        assert_eq!(redactor.redact("got abcdefgh here"), format!("got {SENSITIVE} here"));
    }

    #[test]
    fn short_secrets_mask_words_only() {
        let redactor = Redactor::new(["a".to_owned()]);
        assert_eq!(redactor.redact("a banana, a"), format!("{SENSITIVE} banana, {SENSITIVE}"));
    }

    #[test]
    fn empty_secrets_are_no_secrets() {
        let redactor = Redactor::new([String::new(), "  ".to_owned()]);
        assert_eq!(redactor.redact("nothing"), "nothing");
    }
}
