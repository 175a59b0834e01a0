//! Owns the functions on times.

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};

use super::table::{Answer, Call, Failure, Function, any, function, text};
use crate::go::duration::parse_go_duration;
use crate::go::time_layout::{self, day_name, month_name};
use crate::language::value::convert::convert;
use crate::language::value::{Entries, Number, Type, Value};

pub(super) const FUNCTIONS: &[Function] = &[
    function("formatdate", &[text("format"), text("time")], format_date),
    function("legacy_isotime", &[], |call| legacy(call, |layout, now| Ok(time_layout::go(layout, now))))
        .rest(text("format")),
    function("legacy_strftime", &[], |call| legacy(call, time_layout::strftime)).rest(text("format")),
    function("rfc3339_parse", &[text("timestamp")], |call| {
        // Newer than the other functions, it takes a blank before the time, too.
        let (time, offset) = parse(call.text(0), &['T', ' ']).map_err(|reason| Failure::at(0, reason))?;
        parts(time, ("unix", unix(time, offset).into()))
    }),
    function("timeadd", &[text("timestamp"), text("duration")], time_add),
    function("timestamp", &[], |call| Ok(rfc3339(in_utc(call.environment.now), Offset::UTC).into())),
    function("unix_timestamp_parse", &[any("unix_timestamp")], unix_timestamp_parse),
];

fn legacy(call: &Call<'_>, format: fn(&str, Timestamp) -> Result<String, String>) -> Answer {
    match call.arguments.len() {
        0 => Ok(rfc3339(in_utc(call.environment.now), Offset::UTC).into()),
        1 => Ok(format(call.text(0), call.environment.now).map_err(Failure::new)?.into()),
        _ => Err(Failure::new("too many values, 1 needed")),
    }
}

fn rfc3339(local: DateTime, offset: Offset) -> String {
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

/// Parses an RFC 3339 timestamp as Go does: strictly, but an hour may have one digit and a fraction may begin with a comma.
/// The error says what is expected where.
fn parse(text: &str, separators: &[char]) -> Result<(DateTime, Offset), String> {
    let wrong = |what: String| format!("not a valid RFC3339 timestamp: {what}");
    let mut rest = Rest { text, at: 0 };
    let year = rest.digits(4).map_err(wrong)?;
    rest.sign(&['-']).map_err(wrong)?;
    let month = rest.digits(2).map_err(wrong)?;
    rest.sign(&['-']).map_err(wrong)?;
    let day = rest.digits(2).map_err(wrong)?;
    rest.sign(separators).map_err(wrong)?;
    let hour = rest.digits(if rest.left().get(1..2) == Some(":") { 1 } else { 2 }).map_err(wrong)?;
    rest.sign(&[':']).map_err(wrong)?;
    let minute = rest.digits(2).map_err(wrong)?;
    rest.sign(&[':']).map_err(wrong)?;
    let second = rest.digits(2).map_err(wrong)?;
    let nanoseconds = rest.fraction();
    let offset = rest.offset().map_err(wrong)?;
    let small = |number: i32| i8::try_from(number).unwrap_or(-1);
    // A leap second is none to Go, and jiff's own reader would take it for the second before.
    let local = i16::try_from(year)
        .ok()
        .and_then(|year| {
            let (month, day, hour, minute, second) =
                (small(month), small(day), small(hour), small(minute), small(second));
            DateTime::new(year, month, day, hour, minute, second, nanoseconds).ok()
        })
        .ok_or_else(|| wrong("it names a time that does not exist".into()))?;
    Ok((local, offset))
}

/// Returns the seconds since 1970. The last hours of the year 9999 are no [`Timestamp`], but people write them for "never".
fn unix(local: DateTime, offset: Offset) -> i64 {
    local.duration_since(in_utc(Timestamp::UNIX_EPOCH)).as_secs() - i64::from(offset.seconds())
}

/// Returns what the clock shows in UTC.
fn in_utc(time: Timestamp) -> DateTime {
    time.to_zoned(TimeZone::UTC).datetime()
}

/// What is left of a timestamp.
struct Rest<'a> {
    text: &'a str,
    at: usize,
}

impl Rest<'_> {
    fn left(&self) -> &str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Says that something else is here than what is wanted.
    fn unexpected(&self, wanted: &str) -> String {
        match self.left().chars().next() {
            Some(found) => format!("unexpected {found:?} at position {} in place of {wanted}", self.at + 1),
            None => format!("it ends after {} characters in place of {wanted}", self.text.chars().count()),
        }
    }

    fn digits(&mut self, count: usize) -> Result<i32, String> {
        let digits = self.left().get(..count).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(number) = digits.and_then(|digits| digits.parse().ok()) else {
            let found = self.left().bytes().take(count).take_while(u8::is_ascii_digit).count();
            self.at += found;
            return Err(self.unexpected("a digit"));
        };
        self.at += count;
        Ok(number)
    }

    fn sign(&mut self, signs: &[char]) -> Result<(), String> {
        if !self.left().starts_with(signs) {
            let wanted: Vec<String> = signs.iter().map(|sign| format!("{sign:?}")).collect();
            return Err(self.unexpected(&wanted.join(" or ")));
        }
        self.at += 1;
        Ok(())
    }

    /// Reads `.5` or `,5` as nanoseconds; what is finer is cut off.
    fn fraction(&mut self) -> i32 {
        let Some(after) = self.left().strip_prefix(['.', ',']) else { return 0 };
        let length = after.bytes().take_while(u8::is_ascii_digit).count();
        if length == 0 {
            return 0;
        }
        let digits: String = after[..length].chars().chain("000000000".chars()).take(9).collect();
        self.at += 1 + length;
        digits.parse().unwrap_or(0)
    }

    /// Reads `Z` or `+02:00`, which end the timestamp.
    fn offset(&mut self) -> Result<Offset, String> {
        let ends = |rest: &Self| match rest.left() {
            "" => Ok(()),
            _ => Err(rest.unexpected("its end")),
        };
        if self.left().starts_with('Z') {
            self.at += 1;
            return ends(self).map(|()| Offset::UTC);
        }
        let sign = match self.left().chars().next() {
            Some('+') => 1,
            Some('-') => -1,
            _ => return Err(self.unexpected("Z or a UTC offset such as +02:00")),
        };
        self.at += 1;
        let hours = self.digits(2)?;
        self.sign(&[':'])?;
        let minutes = self.digits(2)?;
        ends(self)?;
        if hours > 24 || minutes > 60 {
            return Err("the UTC offset is out of range".into());
        }
        Offset::from_seconds(sign * (hours * 60 + minutes) * 60).map_err(|_| "the UTC offset is out of range".into())
    }
}

fn time_add(call: &Call<'_>) -> Answer {
    let (time, offset) = parse(call.text(0), &['T']).map_err(|reason| Failure::at(0, reason))?;
    let duration = parse_go_duration(call.text(1)).map_err(|reason| Failure::at(1, reason))?;
    let sum = time.checked_add(duration).map_err(|_| Failure::at(1, "the result is out of range"))?;
    Ok(rfc3339(sum, offset).into())
}

/// Takes seconds, or a text with an RFC 3339 timestamp.
fn unix_timestamp_parse(call: &Call<'_>) -> Answer {
    let given = call.value(0);
    let number = convert(given, &Type::Number);
    let utc = |time: DateTime| parts(time, ("rfc3339", rfc3339(time, Offset::UTC).into()));
    if let (Some(text), Err(_)) = (given.as_str(), &number) {
        let (local, offset) = parse(text, &['T', ' ']).map_err(|reason| {
            Failure::at(0, format!("a whole number of seconds since 1970 is required, or a timestamp; {reason}"))
        })?;
        let time = local.checked_sub(SignedDuration::from_secs(i64::from(offset.seconds())));
        return utc(time.map_err(|_| Failure::at(0, "the timestamp is out of range"))?);
    }
    let number = number.map_err(|error| Failure::at(0, error.to_string()))?;
    let seconds = number.as_number().and_then(Number::to_i64);
    let time =
        seconds.and_then(|seconds| in_utc(Timestamp::UNIX_EPOCH).checked_add(SignedDuration::from_secs(seconds)).ok());
    utc(time.ok_or_else(|| Failure::at(0, "a whole number of seconds since 1970 is required"))?)
}

/// Returns the object of `rfc3339_parse` and `unix_timestamp_parse`.
fn parts(local: DateTime, extra: (&str, Value)) -> Answer {
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
    let (local, offset) = parse(call.text(1), &['T']).map_err(|reason| Failure::at(1, reason))?;
    let mut out = String::new();
    let mut rest = call.text(0);
    while let Some(c) = rest.chars().next() {
        // Two quotes outside of a literal are one.
        if let Some(after) = rest.strip_prefix("''") {
            out.push('\'');
            rest = after;
            continue;
        }
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
            // Go lets such a pair end the format, too.
            if rest.is_empty() {
                return Ok(rest);
            }
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
