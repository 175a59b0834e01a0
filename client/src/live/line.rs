//! One row of text about one thing that goes on, as wide as it may be.

use std::fmt::Write as _;

use console::{measure_text_width, truncate_str};
use indicatif::HumanBytes;

use crate::visible;

/// Columns of the drawn part of a bar, without its brackets.
const LEAST_BAR: usize = 10;
const LONGEST_BAR: usize = 40;

/// Columns of the shortest bar with its brackets and a blank.
const BRACKETED_BAR: usize = LEAST_BAR + 3;

/// Columns of a name below which it would say nothing.
const LEAST_HEAD: usize = 12;

/// What a row tells. Times are in seconds.
pub(super) struct Row<'a> {
    pub(super) build: Option<&'a str>,
    pub(super) what: &'a str,
    pub(super) elapsed: u64,
    pub(super) limit: Option<u64>,
    pub(super) transfer: Option<Transfer>,
}

/// How far a transfer is, in bytes.
pub(super) struct Transfer {
    pub(super) done: u64,
    pub(super) total: Option<u64>,
    /// Bytes a second, once they are known.
    pub(super) rate: Option<u64>,
}

impl Row<'_> {
    /// Returns the row in at most this many columns: numbers stay, the name before them is cut.
    pub(super) fn fit(&self, width: usize) -> String {
        let (must, bar, may) = self.numbers();
        let room = width.saturating_sub(must.len() + 1);
        // A name gives way to its bar, down to a few letters.
        let with_bar =
            bar.and(room.checked_sub(BRACKETED_BAR)).filter(|left| *left >= LEAST_HEAD.min(self.head().len()));
        let whole = self.transfer.is_none().then(|| self.named(self.what));
        let head = whole.filter(|head| measure_text_width(head) <= room).unwrap_or_else(|| self.head());
        let head = truncate_str(&head, with_bar.unwrap_or(room), "..").into_owned();
        let mut free = with_bar.unwrap_or(room).saturating_sub(measure_text_width(&head));
        let mut tail = String::new();
        for part in may {
            if part.len() < free {
                free -= part.len() + 1;
                let _ = write!(tail, " {part}");
            }
        }
        let separator = if head.is_empty() { "" } else { " " };
        match bar {
            Some(percent) if with_bar.is_some() => {
                // What nothing else needs makes the bar longer.
                let columns = LEAST_BAR + free.min(LONGEST_BAR - LEAST_BAR);
                let full = columns * usize::from(percent) / 100;
                format!("{head}{separator}[{}{}] {must}{tail}", "#".repeat(full), "-".repeat(columns - full))
            }
            _ => truncate_str(&format!("{head}{separator}{must}{tail}"), width, "").into_owned(),
        }
    }

    /// Returns the row as a line of a file.
    pub(super) fn plain(&self) -> String {
        let (must, _, may) = self.numbers();
        let head = if self.transfer.is_none() { self.named(self.what) } else { self.head() };
        [head, must].into_iter().chain(may).collect::<Vec<_>>().join(" ")
    }

    /// Returns the name with short addresses.
    fn head(&self) -> String {
        let what: Vec<_> = self.what.split(' ').map(without_address).collect();
        self.named(&what.join(" "))
    }

    fn named(&self, what: &str) -> String {
        let name = self.build.map_or_else(|| what.to_owned(), |build| format!("{build}: {what}"));
        visible::name(&name).into_owned()
    }

    /// Returns what must be told, percent of the bar, and what may be told, the most useful first. All of it is ASCII.
    fn numbers(&self) -> (String, Option<u8>, Vec<String>) {
        let Some(Transfer { done, total, rate }) = &self.transfer else {
            let limit = self.limit.map_or_else(String::new, |limit| format!(" of {}", clock(limit)));
            return (format!("{}{limit}", clock(self.elapsed)), None, Vec::new());
        };
        let per_second = rate.map(|rate| format!("{}/s", HumanBytes(rate)));
        let Some(total) = total else {
            let elapsed = clock(self.elapsed);
            return (HumanBytes(*done).to_string(), None, per_second.into_iter().chain([elapsed]).collect());
        };
        let percent = u128::from(*done) * 100 / u128::from((*total).max(1));
        let percent = u8::try_from(percent.min(100)).unwrap_or(100);
        let bytes = format!("{}/{}", HumanBytes(*done), HumanBytes(*total));
        let left = rate.filter(|rate| *rate > 0).map(|rate| total.saturating_sub(*done) / rate);
        let left = left.filter(|left| *left < 360_000).map(|left| format!("{} left", clock(left)));
        let may = [Some(bytes), left, per_second].into_iter().flatten().collect();
        (format!("{percent}%"), Some(percent), may)
    }
}

/// Returns the file's name of a URL, and other words as they are: an address is longer than many a row.
fn without_address(word: &str) -> &str {
    let Some((_, rest)) = word.split_once("://") else { return word };
    let path = rest.split(['?', '#']).next().unwrap_or(rest).trim_end_matches('/');
    path.rsplit('/').next().filter(|name| !name.is_empty()).unwrap_or(word)
}

/// Spells seconds as `0:41` or `1:02:03`.
pub(super) fn clock(seconds: u64) -> String {
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait<'a>(what: &'a str) -> Row<'a> {
        Row { build: Some("qemu.tiny"), what, elapsed: 41, limit: Some(600), transfer: None }
    }

    fn transfer<'a>(build: Option<&'a str>, what: &'a str) -> Row<'a> {
        let transfer = Transfer { done: 1_342_177_280, total: Some(2_684_354_560), rate: Some(134_217_728) };
        Row { build, what, elapsed: 10, limit: None, transfer: Some(transfer) }
    }

    #[test]
    fn rows_fit_whatever_the_width_and_keep_their_numbers() {
        let url =
            "download https://cdimage.example.org/debian-cd/current/amd64/iso-cd/debian-12.12.0-amd64-netinst.iso?x=y";
        assert_eq!(wait("connect").fit(80), "qemu.tiny: connect 0:41 of 10:00");
        assert_eq!(wait("connect").fit(26), "qemu.tiny:.. 0:41 of 10:00");
        // A wait has no bar that needs the room.
        let asked = Row { build: None, limit: None, ..wait("data.http.x: asking http://a.example/b/c") };
        assert_eq!(asked.fit(79), "data.http.x: asking http://a.example/b/c 0:41");
        assert_eq!(asked.fit(40), "data.http.x: asking c 0:41");
        assert_eq!(asked.plain(), "data.http.x: asking http://a.example/b/c 0:41");
        for (row, width, text) in [
            (
                transfer(Some("qemu.tiny"), url),
                79,
                "qemu.tiny: download debian-12.12.0-amd64-netinst.iso [#####-----] 50% 0:10 left",
            ),
            (transfer(Some("qemu.tiny"), url), 39, "qemu.tiny: download .. [#####-----] 50%"),
            (
                transfer(None, "convert"),
                79,
                "convert [############------------] 50% 1.25 GiB/2.50 GiB 0:10 left 128.00 MiB/s",
            ),
            (transfer(None, "convert"), 39, "convert [#######--------] 50% 0:10 left"),
            (transfer(None, "convert"), 12, "convert 50%"),
        ] {
            assert_eq!(row.fit(width), text);
        }
        for width in 1..200 {
            for row in [wait("connect"), wait(url), transfer(Some("a"), url), transfer(None, "convert")] {
                assert!(measure_text_width(&row.fit(width)) <= width, "{width}");
            }
            assert!(width < 25 || transfer(None, "convert").fit(width).contains('['), "{width}");
        }
        assert!(
            transfer(Some("a"), url).plain().starts_with("a: download debian-12.12.0-amd64-netinst.iso 50% 1.25 GiB")
        );
    }

    #[test]
    fn addresses_and_clocks_are_short() {
        for (word, short) in [
            ("https://a.b/c/d.iso?e=f#g", "d.iso"),
            ("https://a.b/", "a.b"),
            ("/c/d.iso", "/c/d.iso"),
            ("https://", "https://"),
        ] {
            assert_eq!(without_address(word), short);
        }
        assert_eq!([0, 59, 600, 3_723].map(clock), ["0:00", "0:59", "10:00", "1:02:03"]);
    }
}
