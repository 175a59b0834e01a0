//! Owns the functions on times.

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};

use super::{Answer, Call, Failure, Function, any, function, text};
use crate::duration::parse_go_duration;
use crate::time_layout::{self, day_name, month_name};
use crate::value::{Entries, Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    function("formatdate", &[text("format"), text("time")], format_date),
    function("legacy_isotime", &[], |call| legacy(call, |layout, now| Ok(time_layout::go(layout, now))))
        .rest(text("format")),
    function("legacy_strftime", &[], |call| legacy(call, time_layout::strftime)).rest(text("format")),
    function("rfc3339_parse", &[text("timestamp")], |call| {
        let (time, offset) = parse(call.text(0)).map_err(|reason| Failure::at(0, reason))?;
        parts(time, offset, ("unix", time.as_second().into()))
    }),
    function("timeadd", &[text("timestamp"), text("duration")], time_add),
    function("timestamp", &[], |call| Ok(rfc3339(call.environment.now, Offset::UTC).into())),
    function("unix_timestamp_parse", &[any("unix_timestamp")], |call| {
        let number = crate::value::convert::convert(call.value(0), &Type::Number)
            .map_err(|error| Failure::at(0, error.to_string()))?;
        let seconds = number.as_number().and_then(crate::value::Number::to_i64);
        let time = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
        let time = time.ok_or_else(|| Failure::at(0, "a whole number of seconds since 1970 is required"))?;
        parts(time, Offset::UTC, ("rfc3339", rfc3339(time, Offset::UTC).into()))
    }),
];

fn legacy(call: &Call<'_>, format: fn(&str, Timestamp) -> Result<String, String>) -> Answer {
    match call.arguments.len() {
        0 => Ok(rfc3339(call.environment.now, Offset::UTC).into()),
        1 => Ok(format(call.text(0), call.environment.now).map_err(Failure::new)?.into()),
        _ => Err(Failure::new("too many values, 1 needed")),
    }
}

fn rfc3339(time: Timestamp, offset: Offset) -> String {
    let local = time.to_zoned(TimeZone::fixed(offset)).datetime();
    let zone = match offset.seconds() {
        0 => "Z".to_owned(),
        seconds => {
            let sign = if seconds < 0 { '-' } else { '+' };
            format!("{sign}{:02}:{:02}", seconds.abs() / 3600, seconds.abs() / 60 % 60)
        }
    };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}{zone}",
        local.year(),
        local.month(),
        local.day(),
        local.hour(),
        local.minute(),
        local.second()
    )
}

/// Parses an RFC 3339 timestamp strictly; the error says what is expected where.
fn parse(text: &str) -> Result<(Timestamp, Offset), String> {
    let shape = b"0000-00-00T00:00:00";
    let bytes = text.as_bytes();
    let wrong = |what: &str| format!("not a valid RFC3339 timestamp: {what}");
    for (index, expected) in shape.iter().enumerate() {
        let fits = match (expected, bytes.get(index)) {
            (b'0', Some(found)) => found.is_ascii_digit(),
            (expected, Some(found)) => expected == found,
            (_, None) => {
                return Err(wrong("missing required time introducer 'T'").replace(
                    "missing required time introducer 'T'",
                    &format!("it ends after {} characters", bytes.len()),
                ));
            }
        };
        if !fits {
            return Err(wrong(&format!(
                "unexpected {:?} at position {}",
                text.get(index..).and_then(|rest| rest.chars().next()).unwrap_or(' '),
                index + 1
            )));
        }
    }
    let zone = text.get(19..).unwrap_or_default();
    let zone = match zone.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => zone,
    };
    let offset = match zone.as_bytes() {
        [b'Z'] => Offset::UTC,
        [sign @ (b'+' | b'-'), rest @ ..] if rest.len() == 5 && rest[2] == b':' => {
            let number = |from: usize| zone.get(from..from + 2).and_then(|digits| digits.parse::<i32>().ok());
            let (Some(hours), Some(minutes)) = (number(1), number(4)) else {
                return Err(wrong("the UTC offset has no digits"));
            };
            let seconds = (hours * 60 + minutes) * 60 * if *sign == b'-' { -1 } else { 1 };
            Offset::from_seconds(seconds).map_err(|_| wrong("the UTC offset is out of range"))?
        }
        _ => return Err(wrong("it must end with Z or a UTC offset such as +02:00")),
    };
    let time: Timestamp = text.parse().map_err(|_| wrong("it names a time that does not exist"))?;
    Ok((time, offset))
}

fn time_add(call: &Call<'_>) -> Answer {
    let (time, offset) = parse(call.text(0)).map_err(|reason| Failure::at(0, reason))?;
    let duration = parse_go_duration(call.text(1)).map_err(|reason| Failure::at(1, reason))?;
    let sum = time.checked_add(duration).map_err(|_| Failure::at(1, "the result is out of range"))?;
    Ok(rfc3339(sum, offset).into())
}

/// Returns the object of `rfc3339_parse` and `unix_timestamp_parse`.
fn parts(time: Timestamp, offset: Offset, extra: (&str, Value)) -> Answer {
    let local = time.to_zoned(TimeZone::fixed(offset)).datetime();
    let week = local.date().iso_week_date();
    let weekday = local.weekday().to_sunday_zero_offset();
    let number = |value: i16| Value::from(i64::from(value));
    let entries: Entries = [
        ("year", number(local.year())),
        ("year_day", number(local.day_of_year())),
        ("day", number(i16::from(local.day()))),
        ("month", number(i16::from(local.month()))),
        ("month_name", month_name(local.month()).into()),
        ("weekday", number(i16::from(weekday))),
        ("weekday_name", day_name(weekday).into()),
        ("hour", number(i16::from(local.hour()))),
        ("minute", number(i16::from(local.minute()))),
        ("second", number(i16::from(local.second()))),
        ("iso_year", number(week.year())),
        ("iso_week", number(i16::from(week.week()))),
        extra,
    ]
    .into_iter()
    .map(|(name, value)| (name.into(), value))
    .collect();
    Ok(Value::object(entries))
}

fn format_date(call: &Call<'_>) -> Answer {
    let (time, offset) = parse(call.text(1)).map_err(|reason| Failure::at(1, reason))?;
    let local = time.to_zoned(TimeZone::fixed(offset)).datetime();
    let mut out = String::new();
    let mut rest = call.text(0);
    while let Some(c) = rest.chars().next() {
        if c == '\'' {
            rest = quoted(&rest[1..], &mut out)?;
            continue;
        }
        if !c.is_ascii_alphabetic() {
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let length = rest.find(|other| other != c).unwrap_or(rest.len());
        let (verb, after) = rest.split_at(length);
        rest = after;
        let hour12 = match local.hour() % 12 {
            0 => 12,
            hour => hour,
        };
        let seconds = offset.seconds();
        let sign = if seconds < 0 { '-' } else { '+' };
        let (hours, minutes) = (seconds.abs() / 3600, seconds.abs() / 60 % 60);
        let text = match verb {
            "YY" => format!("{:02}", local.year() % 100),
            "YYYY" => format!("{:04}", local.year()),
            "M" => local.month().to_string(),
            "MM" => format!("{:02}", local.month()),
            "MMM" => month_name(local.month())[..3].to_owned(),
            "MMMM" => month_name(local.month()).to_owned(),
            "D" => local.day().to_string(),
            "DD" => format!("{:02}", local.day()),
            "EEE" => day_name(local.weekday().to_sunday_zero_offset())[..3].to_owned(),
            "EEEE" => day_name(local.weekday().to_sunday_zero_offset()).to_owned(),
            "h" => local.hour().to_string(),
            "hh" => format!("{:02}", local.hour()),
            "H" => hour12.to_string(),
            "HH" => format!("{hour12:02}"),
            "AA" => if local.hour() < 12 { "AM" } else { "PM" }.to_owned(),
            "aa" => if local.hour() < 12 { "am" } else { "pm" }.to_owned(),
            "m" => local.minute().to_string(),
            "mm" => format!("{:02}", local.minute()),
            "s" => local.second().to_string(),
            "ss" => format!("{:02}", local.second()),
            "Z" if seconds == 0 => "Z".to_owned(),
            "ZZZ" if seconds == 0 => "UTC".to_owned(),
            "Z" | "ZZZZZ" => format!("{sign}{hours:02}:{minutes:02}"),
            "ZZZ" | "ZZZZ" => format!("{sign}{hours:02}{minutes:02}"),
            other => return Err(Failure::at(0, unsupported_verb(other))),
        };
        out.push_str(&text);
    }
    Ok(out.into())
}

/// Copies a literal up to its closing quote; two quotes are one.
fn quoted<'a>(mut rest: &'a str, out: &mut String) -> Result<&'a str, Failure> {
    loop {
        let Some(end) = rest.find('\'') else {
            return Err(Failure::at(0, "unterminated literal '"));
        };
        out.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        if let Some(after) = rest.strip_prefix('\'') {
            out.push('\'');
            rest = after;
            continue;
        }
        return Ok(rest);
    }
}

fn unsupported_verb(verb: &str) -> String {
    let uses = match verb.chars().next().unwrap_or(' ') {
        'Y' => "year must either be \"YY\" or \"YYYY\"",
        'M' => "month must be \"M\", \"MM\", \"MMM\", or \"MMMM\"",
        'D' => "day of month must either be \"D\" or \"DD\"",
        'E' => "day of week must either be \"EEE\" or \"EEEE\"",
        'h' | 'H' => "24-hour must either be \"h\" or \"hh\", 12-hour \"H\" or \"HH\"",
        'A' | 'a' => "must be \"AA\" or \"aa\"",
        'm' => "minute must either be \"m\" or \"mm\"",
        's' => "second must either be \"s\" or \"ss\"",
        'Z' => "timezone must be Z, ZZZ, ZZZZ, or ZZZZZ",
        _ => "literal letters must stand in single quotes",
    };
    format!("invalid date format verb {verb:?}: {uses}")
}
