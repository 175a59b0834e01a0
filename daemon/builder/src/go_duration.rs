//! Go's duration texts (`1h2m3.5s`), as templates write them and Packer prints them.

use std::fmt;
use std::time::Duration;

/// Units with their nanoseconds.
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];
/// Digits of a fraction that count: more than a nanosecond can show.
const FRACTION_DIGITS: usize = 18;

/// Says why a text is not a duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid duration {0:?}: expected a number with a unit, such as \"10s\", \"1m30s\" or \"500ms\"")]
pub(crate) struct ParseDurationError(String);

/// Reads a non-negative Go duration; `0` needs no unit.
pub(crate) fn parse(text: &str) -> Result<Duration, ParseDurationError> {
    let error = || ParseDurationError(text.to_owned());
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return Err(error());
    }
    let mut nanoseconds = 0u128;
    while !rest.is_empty() {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(error)?;
        let (digits, after) = rest.split_at(number);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (_, scale) = UNITS.iter().find(|(name, _)| *name == &after[..unit]).ok_or_else(error)?;
        let part = scaled(digits, *scale).and_then(|part| nanoseconds.checked_add(part));
        nanoseconds = part.ok_or_else(error)?;
        rest = &after[unit..];
    }
    // i64 nanoseconds is Go's range; beyond it Go refuses too.
    let nanoseconds = i64::try_from(nanoseconds).map_err(|_| error())?;
    Ok(Duration::from_nanos(nanoseconds.unsigned_abs()))
}

/// Returns a decimal number times `scale`, rounded down; exact where floating point would not be.
fn scaled(digits: &str, scale: u128) -> Option<u128> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let number = |digits: &str| if digits.is_empty() { Some(0) } else { digits.parse::<u128>().ok() };
    let kept = &fraction[..fraction.len().min(FRACTION_DIGITS)];
    let behind_point = number(kept)? * scale / 10u128.pow(u32::try_from(kept.len()).ok()?);
    number(whole)?.checked_mul(scale)?.checked_add(behind_point)
}

/// Prints a duration as Go's `time.Duration.String` does: `1m30s`, `1.5s`, `500ms`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct GoDuration(pub Duration);

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanoseconds = self.0.as_nanos();
        if nanoseconds == 0 {
            return f.write_str("0s");
        }
        if nanoseconds < 1_000_000_000 {
            let (unit, name) = match nanoseconds {
                n if n < 1_000 => return write!(f, "{n}ns"),
                n if n < 1_000_000 => (1_000, "µs"),
                _ => (1_000_000, "ms"),
            };
            return write!(f, "{}{name}", decimal(nanoseconds, unit));
        }
        let seconds = self.0.as_secs();
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if seconds >= 60 {
            write!(f, "{minutes}m")?;
        }
        let below_minute = nanoseconds % 60_000_000_000;
        write!(f, "{}s", decimal(below_minute, 1_000_000_000))
    }
}

fn decimal(nanoseconds: u128, unit: u128) -> String {
    let whole = nanoseconds / unit;
    let fraction = nanoseconds % unit;
    if fraction == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    let text = format!("{whole}.{fraction:0width$}");
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        assert_eq!(parse("1h2m3.5s").unwrap(), Duration::from_millis(3_723_500));
        assert_eq!(parse("500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(parse("0").unwrap(), Duration::ZERO);
        assert_eq!(parse("5555555555000000001ns").unwrap(), Duration::new(5_555_555_555, 1));
        assert_eq!(parse(".5s").unwrap(), parse("0.50000000000000000000000000000000s").unwrap());
        for bad in ["", "10", "s", ".s", "1x", "-5s", "1h-2m", "1..2s", "0.00000000000000000000.1s", "9999999999h"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prints_as_go_prints() {
        let cases = [
            (Duration::from_secs(8), "8s"),
            (Duration::from_secs(90), "1m30s"),
            (Duration::from_secs(3600), "1h0m0s"),
            (Duration::from_millis(1500), "1.5s"),
            (Duration::from_millis(250), "250ms"),
            (Duration::from_micros(1500), "1.5ms"),
            (Duration::from_nanos(7), "7ns"),
        ];
        for (duration, text) in cases {
            assert_eq!(GoDuration(duration).to_string(), text);
            assert_eq!(parse(text).unwrap(), duration);
        }
    }
}
