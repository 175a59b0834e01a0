//! Owns Go's duration texts: `1h2m3.5s`, `300ms`, `-1s`.

use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;

/// Parses a duration as Go's `time.ParseDuration` does; `0` needs no unit.
///
/// # Errors
/// When the text is no duration, or longer than Go's go (some 292 years); the error is Go's message.
pub fn parse_go_duration(text: &str) -> Result<SignedDuration, String> {
    let invalid = || format!("time: invalid duration {text:?}");
    let (negative, mut rest) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return Err(invalid());
    }
    let mut nanoseconds: i128 = 0;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (digits, after) = rest.split_at(number);
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(invalid());
        }
        let unit_length = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_length);
        let scale: i128 = match unit {
            "ns" => 1,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "" => return Err(format!("time: missing unit in duration {text:?}")),
            other => return Err(format!("time: unknown unit {other:?} in duration {text:?}")),
        };
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| invalid())? };
        nanoseconds = whole.checked_mul(scale).and_then(|part| nanoseconds.checked_add(part)).ok_or_else(invalid)?;
        if !fraction.is_empty() {
            // Eighteen digits are more than a nanosecond can show.
            let kept = &fraction[..fraction.len().min(18)];
            let value: i128 = kept.parse().map_err(|_| invalid())?;
            nanoseconds += value * scale / 10i128.pow(u32::try_from(kept.len()).unwrap_or(0));
        }
        rest = after;
    }
    let limit = i128::from(i64::MAX);
    if nanoseconds > limit {
        return Err(invalid());
    }
    let signed = if negative { -nanoseconds } else { nanoseconds };
    i64::try_from(signed).map(SignedDuration::from_nanos).map_err(|_| invalid())
}

/// Prints a duration as Go's `time.Duration.String` does: `1m30s`, `1.5s`, `500ms`, `0s`.
#[derive(Debug, Clone, Copy)]
pub struct GoDuration(
    /// What is printed, to the nanosecond.
    pub Duration,
);

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.as_nanos();
        let decimal = |count: u128, unit: u128| {
            let text = format!("{}.{:09}", count / unit, count % unit * (1_000_000_000 / unit));
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        };
        match nanoseconds {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{nanoseconds}ns"),
            1_000..1_000_000 => write!(f, "{}\u{b5}s", decimal(nanoseconds, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", decimal(nanoseconds, 1_000_000)),
            _ => {
                let minutes = nanoseconds / 60_000_000_000;
                let seconds = decimal(nanoseconds % 60_000_000_000, 1_000_000_000);
                match (minutes / 60, minutes % 60) {
                    (0, 0) => write!(f, "{seconds}s"),
                    (0, minutes) => write!(f, "{minutes}m{seconds}s"),
                    (hours, minutes) => write!(f, "{hours}h{minutes}m{seconds}s"),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses_go_texts() {
        let nanos = |text| parse_go_duration(text).unwrap().as_nanos();
        assert_eq!(nanos("10s"), 10_000_000_000);
        assert_eq!(nanos("1h2m3.5s"), 3_723_500_000_000);
        assert_eq!(nanos("-1s"), -1_000_000_000);
        assert_eq!(nanos("1.5ms"), 1_500_000);
        assert_eq!(nanos("0"), 0);
        assert_eq!(nanos("5555555555000000001ns"), 5_555_555_555_000_000_001);
        assert_eq!(nanos(".5s"), nanos("0.50000000000000000000000000000000s"));
        assert_eq!(parse_go_duration("10").unwrap_err(), "time: missing unit in duration \"10\"");
        for bad in ["", "s", ".s", "1x", "1.2.3s", "-", "1h-2m", "0.00000000000000000000.1s", "9999999999h"] {
            assert!(parse_go_duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prints_as_go_prints() {
        let cases = [
            (Duration::ZERO, "0s"),
            (Duration::from_secs(8), "8s"),
            (Duration::from_secs(90), "1m30s"),
            (Duration::from_secs(3600), "1h0m0s"),
            (Duration::from_millis(1500), "1.5s"),
            (Duration::from_millis(250), "250ms"),
            (Duration::from_micros(1500), "1.5ms"),
            (Duration::from_nanos(1001), "1.001\u{b5}s"),
            (Duration::from_nanos(7), "7ns"),
        ];
        for (duration, text) in cases {
            assert_eq!(GoDuration(duration).to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_printed_is_parsed_as_the_same(nanoseconds in 0..=i64::MAX) {
            let duration = Duration::from_nanos(nanoseconds.unsigned_abs());
            let parsed = parse_go_duration(&GoDuration(duration).to_string()).unwrap();
            prop_assert_eq!(parsed.as_nanos(), i128::from(nanoseconds));
        }
    }
}
