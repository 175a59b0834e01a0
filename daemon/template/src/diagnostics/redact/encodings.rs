//! Owns the forms in which a secret may come back: encodings, and the quoting of languages and tools.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::general_purpose::NO_PAD;
use base64::engine::{GeneralPurpose, general_purpose};

/// Returns what a secret looks like elsewhere; may hold the secret itself.
pub(super) fn forms(secret: &str) -> Vec<String> {
    let little: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = secret.encode_utf16().flat_map(u16::to_be_bytes).collect();
    let mut forms = vec![general_purpose::STANDARD.encode(secret)];
    for bytes in [secret.as_bytes(), &little, &big] {
        for alphabet in [&alphabet::STANDARD, &alphabet::URL_SAFE] {
            forms.extend(base64_cores(bytes, &GeneralPurpose::new(alphabet, NO_PAD)));
        }
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        forms.push(hex.to_uppercase());
        forms.push(hex);
    }
    for (kept, space) in [("-_.~", "%20"), ("-_.~", "+"), ("-_.~/", "%20")] {
        let form = percent_encode(secret, kept, space);
        forms.push(lower_case_escapes(&form));
        forms.push(form);
    }
    forms.extend(json(secret));
    forms.extend(quoted(secret));
    // What the languages' own functions make of a text.
    forms.extend([secret.to_uppercase(), secret.to_lowercase(), secret.chars().rev().collect()]);
    // Messages quote what they show, so each can be in quotes once more.
    let again: Vec<String> = forms.iter().flat_map(|form| quoted_again(form)).filter(|form| !form.is_empty()).collect();
    forms.extend(again);
    forms
}

/// The Base64 texts that any bytes containing `secret` have in common, for the three alignments, without the characters
/// that depend on the neighbours.
fn base64_cores(secret: &[u8], engine: &GeneralPurpose) -> Vec<String> {
    let mut cores = Vec::new();
    for shift in 0..3_usize {
        let mut bytes = vec![0_u8; shift];
        bytes.extend_from_slice(secret);
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

/// JSON: as it is, with `\uXXXX` for what is not ASCII, as Go writes it, and JSON inside of JSON.
fn json(secret: &str) -> Vec<String> {
    let inner = |text: &str| {
        let json = serde_json::to_string(text).unwrap_or_default();
        json.get(1..json.len().saturating_sub(1)).unwrap_or_default().to_owned()
    };
    let escaped = |text: &str, escapes: fn(char) -> bool| {
        let mut out = String::new();
        for character in text.chars() {
            if escapes(character) {
                out.extend(character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
            } else {
                out.push(character);
            }
        }
        out
    };
    let plain = inner(secret);
    vec![
        escaped(&plain, |c| !c.is_ascii()),
        escaped(&plain, |c| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}')),
        // What `fix` and Packer's own commands write.
        escaped(&plain, |c| matches!(c, '&' | '\u{2028}' | '\u{2029}')),
        inner(&plain),
        plain,
    ]
}

/// A text as Rust and JSON quote it, where that changes it.
fn quoted_again(text: &str) -> Vec<String> {
    if !text.contains(['"', '\\', '\t', '\n', '\r']) && text.is_ascii() {
        return Vec::new();
    }
    let inside = |text: String| text.get(1..text.len().saturating_sub(1)).unwrap_or_default().to_owned();
    vec![inside(format!("{text:?}")), inside(serde_json::to_string(text).unwrap_or_default())]
}

/// The quoting of Rust and Go, HCL, shells, PowerShell and XML.
fn quoted(secret: &str) -> Vec<String> {
    let inside = |text: String| text.get(1..text.len().saturating_sub(1)).unwrap_or_default().to_owned();
    let go = inside(crate::go::strings::quote(secret));
    let replaced = |pairs: &[(char, &str)]| -> String {
        let with = |c: char| pairs.iter().find(|(from, _)| *from == c).map(|(_, to)| (*to).to_owned());
        secret.chars().map(|c| with(c).unwrap_or_else(|| c.to_string())).collect()
    };
    let backslashed = |special: fn(char) -> bool| -> String {
        secret.chars().flat_map(|c| special(c).then_some('\\').into_iter().chain([c])).collect()
    };
    vec![
        inside(format!("{secret:?}")),
        go.replace("${", "$${").replace("%{", "%%{"),
        secret.replace("${", "$${").replace("%{", "%%{"),
        go,
        secret.replace('\'', "'\"'\"'"),
        secret.replace('\'', "'\\''"),
        secret.replace('\'', "''"),
        backslashed(|c| matches!(c, '$' | '"' | '`' | '\\')),
        backslashed(|c| {
            c.is_ascii()
                && !c.is_ascii_alphanumeric()
                && !matches!(c, '_' | '-' | '.' | '/' | ':' | '=' | '@' | '%' | '+' | ',')
        }),
        backslashed(|c| c.is_ascii_punctuation() || c == ' '),
        replaced(&[('"', "`\""), ('$', "`$"), ('`', "``")]),
        replaced(&[('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&#34;"), ('\'', "&#39;")]),
        replaced(&[('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;"), ('"', "&quot;"), ('\'', "&apos;")]),
        replaced(&[('&', "&amp;"), ('<', "&lt;"), ('>', "&gt;")]),
    ]
}
