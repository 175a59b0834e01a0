//! Owns [`Redactor`]: keeps secrets out of everything that is said, in every form in which they may come back.

mod encodings;
mod invisible;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Arc, PoisonError, RwLock};

/// Text that stands for a secret in everything that is shown.
pub const SENSITIVE: &str = "<sensitive>";

/// Below this length a "secret" would blank out ordinary text, so only whole words are masked.
const SHORT: usize = 3;
/// Lines of one secret that are hidden in every encoding; of longer texts the rest is hidden as it is.
const MAX_LINES: usize = 200;
/// Length from which what was computed from a secret is one: a derived `8` would make every 8 unreadable.
const DERIVED: usize = 4;
/// Bytes of what was computed from a secret up to which it is hidden in every encoding.
const MAX_DERIVED: usize = 4096;
/// Bytes of colours and the like that may stand inside a secret where a text is cut.
const INVISIBLE: usize = 256;
/// Texts after which nothing computed is added any more.
const MAX_NEEDLES: usize = 20_000;

/// Secrets that must not be shown. Cheap to clone; all clones share one list.
#[derive(Debug, Clone, Default)]
pub struct Redactor {
    needles: Arc<RwLock<Needles>>,
}

/// The texts to look for, the longest first.
#[derive(Debug, Default)]
struct Needles {
    known: HashSet<String>,
    texts: Vec<String>,
}

impl Redactor {
    /// A redactor that knows `secrets`.
    #[must_use]
    pub fn new(secrets: impl IntoIterator<Item = String>) -> Self {
        let redactor = Self::default();
        let secrets: Vec<String> = secrets.into_iter().collect();
        redactor.add_all(secrets.iter().map(String::as_str));
        redactor
    }

    /// Adds a secret: itself and its lines, and all that languages, tools and encodings make of them.
    pub fn add(&self, secret: &str) {
        self.add_all([secret]);
    }

    /// Adds secrets as [`Self::add`] does, all at once: the list is put in order only once.
    pub fn add_all<'a>(&self, secrets: impl IntoIterator<Item = &'a str>) {
        let mut forms = Vec::new();
        for secret in secrets {
            let whole = secret.trim();
            for (index, part) in std::iter::once(whole).chain(whole.lines().map(str::trim)).enumerate() {
                if part.is_empty() {
                    continue;
                }
                forms.push(part.to_owned());
                if part.len() >= SHORT && index <= MAX_LINES {
                    forms.extend(encodings::forms(part));
                }
            }
        }
        self.remember(forms);
    }

    /// Adds what was computed from secrets, unless what is known of them hides it already. Lines of it are no secrets of
    /// their own: a script with a password in it is mostly public.
    pub(crate) fn add_derived(&self, text: &str) {
        let text = text.trim();
        let known = self.needles.read().unwrap_or_else(PoisonError::into_inner).texts.len();
        if text.len() < DERIVED || known > MAX_NEEDLES || self.redact(text) != text {
            return;
        }
        let mut forms = vec![text.to_owned()];
        if text.len() <= MAX_DERIVED && !text.contains('\n') {
            forms.extend(encodings::forms(text));
        }
        self.remember(forms);
    }

    fn remember(&self, forms: Vec<String>) {
        let mut needles = self.needles.write().unwrap_or_else(PoisonError::into_inner);
        let Needles { known, texts } = &mut *needles;
        for form in forms {
            if !form.is_empty() && known.insert(form.clone()) {
                texts.push(form);
            }
        }
        // The longest first: a part of a secret must not break the match of the whole.
        texts.sort_by_key(|needle| std::cmp::Reverse(needle.len()));
    }

    /// Replaces every secret in `text` by [`SENSITIVE`].
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let needles = self.needles.read().unwrap_or_else(PoisonError::into_inner);
        let mut result = text.to_owned();
        for needle in &needles.texts {
            if !result.contains(needle.as_str()) {
                continue;
            }
            result = if needle.len() < SHORT { mask_words(&result, needle) } else { result.replace(needle, SENSITIVE) };
        }
        if !invisible::any(&result) {
            return result;
        }
        // Once more for those that a terminal would show although their bytes do not stand together.
        let mut shown = String::with_capacity(result.len());
        let mut last = 0;
        for span in needles.spans(&result) {
            shown.push_str(&result[last..span.start]);
            shown.push_str(SENSITIVE);
            // What was begun or ended inside must not colour the rest.
            invisible::colours(&result[span.clone()]).for_each(|colour| shown.push_str(colour));
            last = span.end;
        }
        shown.push_str(&result[last..]);
        shown
    }

    /// Returns whether a secret of at least `length` bytes stands in `text`.
    #[must_use]
    pub fn finds(&self, text: &str, length: usize) -> bool {
        let needles = self.needles.read().unwrap_or_else(PoisonError::into_inner);
        needles.texts.iter().any(|needle| needle.len() >= length && text.contains(needle.as_str()))
    }

    /// Returns where, at `limit` bytes or near, `text` can be cut in two without cutting a secret; never 0 for a text that is
    /// longer. What is behind `limit` has to be there for at least [`Self::reach`] bytes.
    #[must_use]
    pub fn place_to_cut(&self, text: &str, limit: usize) -> usize {
        let needles = self.needles.read().unwrap_or_else(PoisonError::into_inner);
        let mut cut = text.floor_char_boundary(limit);
        let spans = needles.spans(text);
        while let Some(span) = spans.iter().find(|span| span.start < cut && cut < span.end) {
            // At the very start there is nothing to cut off before it.
            if span.start == 0 {
                return span.end;
            }
            cut = span.start;
        }
        if cut == 0 { text.ceil_char_boundary(1) } else { cut }
    }

    /// Returns how many bytes the longest secret may take, with some colours in it.
    #[must_use]
    pub fn reach(&self) -> usize {
        let needles = self.needles.read().unwrap_or_else(PoisonError::into_inner);
        let longest = needles.texts.first().map_or(0, String::len);
        if longest == 0 { 0 } else { longest.saturating_mul(2).saturating_add(INVISIBLE) }
    }
}

impl Needles {
    /// Where secrets stand, whatever a terminal does not show in between; in order, without overlaps.
    fn spans(&self, text: &str) -> Vec<Range<usize>> {
        let visible = invisible::Visible::new(text);
        let mut spans = Vec::new();
        for needle in &self.texts {
            let found = visible.text.match_indices(needle.as_str()).map(|(at, _)| at..at + needle.len());
            let found = found.filter(|span| needle.len() >= SHORT || is_word(&visible.text, span));
            spans.extend(found.map(|span| visible.place(&span)));
        }
        spans.sort_by_key(|span| span.start);
        let mut merged: Vec<Range<usize>> = Vec::with_capacity(spans.len());
        for span in spans {
            match merged.last_mut() {
                Some(last) if span.start < last.end => last.end = last.end.max(span.end),
                _ => merged.push(span),
            }
        }
        merged
    }
}

fn is_word(text: &str, span: &Range<usize>) -> bool {
    let boundary = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    boundary(text[..span.start].chars().next_back()) && boundary(text[span.end..].chars().next())
}

fn mask_words(text: &str, word: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut last = 0;
    for (at, _) in text.match_indices(word) {
        if is_word(text, &(at..at + word.len())) {
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
    use base64::Engine as _;

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
    fn masks_utf_16_and_hexadecimal() {
        let secret = "Gr\u{fc}n&<Gold>=7";
        let redactor = Redactor::new([secret.to_owned()]);
        let little: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = secret.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let command: Vec<u8> = format!("echo {secret} | x").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let engine = base64::engine::general_purpose::STANDARD;
        let url = base64::engine::general_purpose::URL_SAFE_NO_PAD;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        for text in [
            engine.encode(&little),
            engine.encode(&big),
            engine.encode(&command),
            url.encode(&little),
            url.encode(secret),
            hex(secret.as_bytes()),
            hex(&little).to_uppercase(),
        ] {
            let shown = redactor.redact(&text);
            assert!(shown.contains(SENSITIVE), "{text} -> {shown}");
            // What is left are the neighbours, and the few characters that hold bits of them.
            assert!(shown.replace(SENSITIVE, "").len() <= text.len() / 2 + 8, "{text} -> {shown}");
        }
    }

    #[test]
    fn masks_what_languages_make_of_a_secret() {
        let secret = "pa$s\"w'o`r&d <${x}>";
        let redactor = Redactor::new([secret.to_owned()]);
        for text in [
            format!("{secret:?}"),
            crate::go::strings::quote(secret),
            "pa$s\\\"w'o`r\\u0026d \\u003c${x}\\u003e".to_owned(),
            "pa$s\\\"w'o`r&d <$${x}>".to_owned(),
            "pa$s&#34;w&#39;o`r&amp;d &lt;${x}&gt;".to_owned(),
            "pa$s&quot;w&apos;o`r&amp;d &lt;${x}&gt;".to_owned(),
            "'pa$s\"w'\\''o`r&d <${x}>'".to_owned(),
            "'pa$s\"w''o`r&d <${x}>'".to_owned(),
            "\"pa\\$s\\\"w'o\\`r&d <\\${x}>\"".to_owned(),
            "pa\\$s\\\"w\\'o\\`r\\&d\\ \\<\\$\\{x\\}\\>".to_owned(),
            serde_json::to_string(&serde_json::to_string(secret).unwrap()).unwrap(),
        ] {
            let shown = redactor.redact(&text);
            assert!(shown.contains(SENSITIVE) && !shown.contains("pa$s"), "{text} -> {shown}");
        }
    }

    #[test]
    fn masks_what_was_computed_but_not_what_is_around_a_secret() {
        let redactor = Redactor::new(["hunter2secret".to_owned()]);
        redactor.add_derived("0123abcd0123abcd");
        redactor.add_derived("#!/bin/sh\nset -e\necho hunter2secret\n");
        redactor.add_derived("abc");
        assert_eq!(redactor.redact("0123abcd0123abcd set -e abc"), format!("{SENSITIVE} set -e abc"));
    }

    #[test]
    fn a_long_secret_takes_no_time() {
        let lines: String = (0..20_000).map(|line| format!("line {line} of a secret\n")).collect();
        let redactor = Redactor::new([lines]);
        assert_eq!(redactor.redact("line 19999 of a secret"), SENSITIVE);
    }

    #[test]
    fn masks_lines_of_a_key_and_leaves_the_rest() {
        let redactor = Redactor::new(["-----BEGIN\nabcdefgh\n".to_owned()]);
        assert_eq!(redactor.redact("got abcdefgh here"), format!("got {SENSITIVE} here"));
    }

    #[test]
    fn masks_what_a_terminal_shows_as_the_secret() {
        let redactor = Redactor::new(["hunter2secret".to_owned()]);
        let hidden = format!("x {SENSITIVE} y");
        for text in [
            "x hunter2\u{1b}[31msecret y",
            "x hun\u{1b}[1;38;5;200mter2\u{1b}[0msecret y",
            "x hun\u{1b}]0;title\u{7}ter2secret y",
            "x hun\u{1b}]8;;http://x\u{1b}\\ter2secret y",
            "x hunter2\rsecret y",
            "x hunter2 \rsecret y",
            "x hunter2\0sec\u{8}ret y",
            "x hunter2\u{9b}31msecret y",
            "x hunter2\u{200b}sec\u{202e}ret\u{feff} y",
            "x hunter2\u{1b}(Bsecret y",
        ] {
            let shown = redactor.redact(text);
            let plain = shown.replace("\u{1b}[31m", "").replace("\u{1b}[1;38;5;200m", "").replace("\u{1b}[0m", "");
            assert_eq!(plain.replace('\u{feff}', ""), hidden, "{text:?} -> {shown:?}");
        }
        // The colours stay, and so does all that is no secret.
        let shown = redactor.redact("\u{1b}[1mok\u{1b}[0m hunter2\u{1b}[31msecret\u{1b}[0m");
        assert_eq!(shown, format!("\u{1b}[1mok\u{1b}[0m {SENSITIVE}\u{1b}[31m\u{1b}[0m"));
        for text in ["a\rb\u{1b}[0m", "\u{1b}", "\u{1b}[", "\u{1b}]0;never ended hunter2", "\u{9b}", "ü\u{1b}[1mä \r"]
        {
            assert_eq!(redactor.redact(text), text);
        }
        assert_eq!(Redactor::new(["a".to_owned()]).redact("\u{1b}[1ma banana"), format!("\u{1b}[1m{SENSITIVE} banana"));
    }

    #[test]
    fn no_secret_is_cut_in_two() {
        let redactor = Redactor::new(["hunter2secret".to_owned()]);
        let text = format!("{}hunter2\u{1b}[31msecret{}", "x".repeat(95), "y".repeat(100));
        for limit in 0..text.len() {
            let cut = redactor.place_to_cut(&text, limit);
            let (start, end) = text.split_at(cut);
            let shown = redactor.redact(start) + &redactor.redact(end);
            assert!(cut > 0 && shown.contains(SENSITIVE), "{limit}: {shown}");
            assert!(cut <= limit.max(1), "{limit}: {cut}");
        }
        let all = "hunter2secret!";
        assert_eq!((redactor.place_to_cut(all, 5), Redactor::default().place_to_cut("üü", 1)), (13, 2));
        assert!(redactor.reach() > "hunter2secret".len() && Redactor::default().reach() == 0);
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
