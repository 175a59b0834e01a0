//! Owns Go's duration texts: `1h2m3.5s`, `300ms`, `-1s`.

use jiff::SignedDuration;

/// Parses a duration as Go's `time.ParseDuration` does; the error is Go's message.
pub(crate) fn parse_go_duration(text: &str) -> Result<SignedDuration, String> {
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

/// Writes a duration as Go does: `1h2m3.5s`, `20ms`, `0s`.
pub(crate) fn go_duration(duration: SignedDuration) -> String {
    let sign = if duration.is_negative() { "-" } else { "" };
    let nanoseconds = duration.as_nanos().unsigned_abs();
    let decimal = |count: u128, unit: u128| {
        let text = format!("{}.{:09}", count / unit, count % unit * (1_000_000_000 / unit));
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    };
    let text = match nanoseconds {
        0 => "0s".into(),
        1..1_000 => format!("{nanoseconds}ns"),
        1_000..1_000_000 => format!("{}\u{b5}s", decimal(nanoseconds, 1_000)),
        1_000_000..1_000_000_000 => format!("{}ms", decimal(nanoseconds, 1_000_000)),
        _ => {
            let minutes = nanoseconds / 60_000_000_000;
            let seconds = decimal(nanoseconds % 60_000_000_000, 1_000_000_000);
            match (minutes / 60, minutes % 60) {
                (0, 0) => format!("{seconds}s"),
                (0, minutes) => format!("{minutes}m{seconds}s"),
                (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
            }
        }
    };
    format!("{sign}{text}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_go_texts() {
        let nanos = |text| parse_go_duration(text).unwrap().as_nanos();
        assert_eq!(nanos("10s"), 10_000_000_000);
        assert_eq!(nanos("1h2m3.5s"), 3_723_500_000_000);
        assert_eq!(nanos("-1s"), -1_000_000_000);
        assert_eq!(nanos("1.5ms"), 1_500_000);
        assert_eq!(nanos("0"), 0);
        assert_eq!(parse_go_duration("10").unwrap_err(), "time: missing unit in duration \"10\"");
        for bad in ["", "s", "1x", "1.2.3s", "-", "9999999999h"] {
            assert!(parse_go_duration(bad).is_err(), "{bad}");
        }
    }
}
