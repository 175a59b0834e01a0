//! The person's time zone, and spans of time in a few letters.

use jiff::tz::TimeZone;

use super::note::note;
use crate::terminal;

/// Returns the zone that `TZ` or the system names. One that is not known is UTC, and said so.
pub(super) fn time_zone() -> TimeZone {
    TimeZone::try_system().unwrap_or_else(|_| {
        if let Some(name) = terminal::variable("TZ").filter(|name| !name.is_empty()) {
            let name = name.to_string_lossy();
            note(&format!("warning: the time zone TZ={name} is not known on this machine (tzdata); times are UTC"));
        }
        TimeZone::UTC
    })
}

/// Spells a span of seconds with its two largest units, as `4m58s`.
pub(super) fn span(seconds: i64) -> String {
    let seconds = seconds.max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// Spells a span of seconds with its largest unit, as `4m`.
pub(super) fn age(seconds: i64) -> String {
    let seconds = seconds.max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_short() {
        let spelt = [0, 59, 60, 298, 3_600, 11_100, 90_000, -5].map(|seconds| (span(seconds), age(seconds)));
        let spelt = spelt.each_ref().map(|(span, age)| (span.as_str(), age.as_str()));
        assert_eq!(spelt[..4], [("0s", "0s"), ("59s", "59s"), ("1m00s", "1m"), ("4m58s", "4m")]);
        assert_eq!(spelt[4..], [("1h00m", "1h"), ("3h05m", "3h"), ("1d01h", "1d"), ("0s", "0s")]);
    }
}
