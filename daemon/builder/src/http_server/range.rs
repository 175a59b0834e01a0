//! Parts of files: the `Range` header (RFC 9110 §14).

use std::ops::Range;

/// What a `Range` header asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Requested {
    /// Everything: no header, one that is not understood, or several parts (which a server may ignore).
    All,
    /// These bytes.
    Part(Range<u64>),
    /// Nothing that there is.
    Outside,
}

/// Reads a `Range` header for a body of `length` bytes.
pub(super) fn requested(header: Option<&str>, length: u64) -> Requested {
    let Some(range) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else { return Requested::All };
    let Some((first, last)) = range.trim().split_once('-') else { return Requested::All };
    let number = |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (first.is_empty(), number(first), last.is_empty(), number(last)) {
        // The last so many bytes.
        (true, _, false, Some(count)) if count > 0 && length > 0 => {
            Requested::Part(length.saturating_sub(count)..length)
        }
        (true, _, false, Some(_)) => Requested::Outside,
        (false, Some(first), true, _) if first < length => Requested::Part(first..length),
        (false, Some(first), false, Some(last)) if first <= last && first < length => {
            Requested::Part(first..last.saturating_add(1).min(length))
        }
        (false, Some(first), false, Some(last)) if first > last => Requested::All,
        (false, Some(_), true, _) | (false, Some(_), false, Some(_)) => Requested::Outside,
        _ => Requested::All,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_all_forms() {
        for (header, expected) in [
            ("bytes=0-4", Requested::Part(0..5)),
            ("bytes=5-", Requested::Part(5..10)),
            ("bytes=-3", Requested::Part(7..10)),
            ("bytes=-30", Requested::Part(0..10)),
            ("bytes=8-100", Requested::Part(8..10)),
            ("bytes=9-18446744073709551615", Requested::Part(9..10)),
            ("bytes=10-", Requested::Outside),
            ("bytes=10-12", Requested::Outside),
            ("bytes=-0", Requested::Outside),
            ("bytes=4-2", Requested::All),
            ("bytes=0-1,3-4", Requested::All),
            ("bytes=+1-2", Requested::All),
            ("bytes=a-b", Requested::All),
            ("bytes=-", Requested::All),
            ("lines=1-2", Requested::All),
        ] {
            assert_eq!(requested(Some(header), 10), expected, "{header}");
        }
        assert_eq!(requested(None, 10), Requested::All);
        assert_eq!(requested(Some("bytes=0-"), 0), Requested::Outside);
    }
}
