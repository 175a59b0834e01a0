//! Owns the two ways templates write times: Go's reference layout and strftime. Always UTC, as in Packer.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Go's `time.RFC3339`.
pub(crate) const RFC3339: &str = "2006-01-02T15:04:05Z07:00";

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Returns the English name of a month from 1.
pub(crate) fn month_name(month: i8) -> &'static str {
    usize::try_from(month - 1).ok().and_then(|index| MONTHS.get(index)).copied().unwrap_or_default()
}

/// Returns the English name of a day, Sunday being 0.
pub(crate) fn day_name(day: i8) -> &'static str {
    usize::try_from(day).ok().and_then(|index| DAYS.get(index)).copied().unwrap_or_default()
}

/// Go's layout elements, longest first where one begins another.
const ELEMENTS: &[&str] = &[
    "January",
    "Jan",
    "Monday",
    "Mon",
    "MST",
    "2006",
    "-07:00:00",
    "-07:00",
    "-070000",
    "-0700",
    "-07",
    "Z07:00:00",
    "Z07:00",
    "Z070000",
    "Z0700",
    "Z07",
    "002",
    "01",
    "02",
    "03",
    "04",
    "05",
    "06",
    "15",
    "PM",
    "pm",
    "__2",
    "_2006",
    "_2",
    "1",
    "2",
    "3",
    "4",
    "5",
];

/// Formats a time by Go's reference layout.
pub(crate) fn go(layout: &str, time: Timestamp) -> String {
    let utc = time.to_zoned(TimeZone::UTC).datetime();
    let mut out = String::new();
    let mut rest = layout;
    'next: while let Some(c) = rest.chars().next() {
        for element in ELEMENTS {
            if let Some(after) = rest.strip_prefix(element) {
                // "Jan" inside a word such as "Janet" is still the month, but Go wants no lower case letter after it.
                if matches!(*element, "Jan" | "Mon") && after.starts_with(|c: char| c.is_ascii_lowercase()) {
                    continue;
                }
                go_element(element, utc, &mut out);
                rest = after;
                continue 'next;
            }
        }
        if let Some((digits, after)) = fraction(rest, &out) {
            let nanoseconds = format!("{:09}", utc.subsec_nanosecond());
            let kept = &nanoseconds[..digits.len().min(9)];
            if digits.starts_with('9') {
                let trimmed = kept.trim_end_matches('0');
                if !trimmed.is_empty() {
                    _ = write!(out, "{c}{trimmed}");
                }
            } else {
                _ = write!(out, "{c}{kept}");
            }
            rest = after;
            continue;
        }
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    out
}

/// Recognises `.000` and `.999`, which must not go on with more digits.
fn fraction<'a>(rest: &'a str, before: &str) -> Option<(&'a str, &'a str)> {
    let digits = rest.strip_prefix(['.', ','])?;
    let first = digits.chars().next().filter(|c| matches!(c, '0' | '9'))?;
    if before.is_empty() && first == '9' {
        return None;
    }
    let length = digits.find(|c| c != first).unwrap_or(digits.len());
    let (digits, after) = digits.split_at(length);
    (!after.starts_with(|c: char| c.is_ascii_digit())).then_some((digits, after))
}

fn go_element(element: &str, time: DateTime, out: &mut String) {
    let hour12 = match time.hour() % 12 {
        0 => 12,
        hour => hour,
    };
    let weekday = time.weekday().to_sunday_zero_offset();
    _ = match element {
        "January" => write!(out, "{}", month_name(time.month())),
        "Jan" => write!(out, "{}", &month_name(time.month())[..3]),
        "Monday" => write!(out, "{}", day_name(weekday)),
        "Mon" => write!(out, "{}", &day_name(weekday)[..3]),
        "MST" => write!(out, "UTC"),
        "2006" => write!(out, "{:04}", time.year()),
        "_2006" => write!(out, "_{:04}", time.year()),
        "06" => write!(out, "{:02}", time.year().rem_euclid(100)),
        "01" => write!(out, "{:02}", time.month()),
        "1" => write!(out, "{}", time.month()),
        "02" => write!(out, "{:02}", time.day()),
        "_2" => write!(out, "{:>2}", time.day()),
        "2" => write!(out, "{}", time.day()),
        "002" => write!(out, "{:03}", time.day_of_year()),
        "__2" => write!(out, "{:>3}", time.day_of_year()),
        "15" => write!(out, "{:02}", time.hour()),
        "03" => write!(out, "{hour12:02}"),
        "3" => write!(out, "{hour12}"),
        "04" => write!(out, "{:02}", time.minute()),
        "4" => write!(out, "{}", time.minute()),
        "05" => write!(out, "{:02}", time.second()),
        "5" => write!(out, "{}", time.second()),
        "PM" => write!(out, "{}", if time.hour() < 12 { "AM" } else { "PM" }),
        "pm" => write!(out, "{}", if time.hour() < 12 { "am" } else { "pm" }),
        zone if zone.starts_with('Z') => write!(out, "Z"),
        zone => write!(out, "+{}", zone[1..].replace(|c: char| c.is_ascii_digit(), "0")),
    };
}

/// Formats a time by strftime's letters.
pub(crate) fn strftime(format: &str, time: Timestamp) -> Result<String, String> {
    let utc = time.to_zoned(TimeZone::UTC);
    jiff::fmt::strtime::format(format, &utc).map_err(|error| format!("failed to format {format:?}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_layouts() {
        let time: Timestamp = "2020-01-02T03:04:05.06Z".parse().unwrap();
        assert_eq!(go(RFC3339, time), "2020-01-02T03:04:05Z");
        assert_eq!(go("Mon Jan _2 15:04:05 2006", time), "Thu Jan  2 03:04:05 2020");
        assert_eq!(go("20060102-150405.000 MST -0700 PM 3", time), "20200102-030405.060 UTC +0000 AM 3");
        assert_eq!(strftime("%Y-%m-%dT%H:%M:%SZ", time).unwrap(), "2020-01-02T03:04:05Z");
    }
}
