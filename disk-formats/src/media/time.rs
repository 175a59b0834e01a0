//! The one moment that a medium carries in all its time fields.

/// First moment a FAT directory entry can express: 1980-01-01 00:00:00 UTC.
const EARLIEST: i64 = 315_532_800;
/// Last even second a FAT directory entry can express: 2107-12-31 23:59:58 UTC.
const LATEST: i64 = 4_354_819_198;
const SECONDS_PER_DAY: i64 = 86_400;

/// The time written into every time field of a medium, in UTC.
///
/// It is an argument rather than the clock so that equal inputs give equal images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MediaTime {
    unix_seconds: i64,
}

/// A moment split into calendar fields (UTC).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Civil {
    /// 1980 to 2107.
    pub(super) year: u16,
    /// 1 to 12.
    pub(super) month: u8,
    /// 1 to 31.
    pub(super) day: u8,
    pub(super) hour: u8,
    pub(super) minute: u8,
    pub(super) second: u8,
}

impl MediaTime {
    /// Makes a time from seconds since 1970-01-01 00:00:00 UTC.
    ///
    /// Times outside 1980 to 2107, the range of FAT, are moved to the nearest end of that range.
    pub const fn from_unix_seconds(seconds: i64) -> Self {
        let unix_seconds = if seconds < EARLIEST {
            EARLIEST
        } else if seconds > LATEST {
            LATEST
        } else {
            seconds
        };
        Self { unix_seconds }
    }

    pub(super) const fn civil(self) -> Civil {
        let mut days = self.unix_seconds / SECONDS_PER_DAY;
        let seconds = self.unix_seconds % SECONDS_PER_DAY;
        let mut year = 1970_i64;
        loop {
            let length = if is_leap_year(year) { 366 } else { 365 };
            if days < length {
                break;
            }
            days -= length;
            year += 1;
        }
        let mut month = 1_u8;
        loop {
            let length = days_in_month(year, month);
            if days < length {
                break;
            }
            days -= length;
            month += 1;
        }
        Civil {
            year: year as u16,
            month,
            day: days as u8 + 1,
            hour: (seconds / 3600) as u8,
            minute: (seconds / 60 % 60) as u8,
            second: (seconds % 60) as u8,
        }
    }
}

impl Default for MediaTime {
    /// Returns 1980-01-01 00:00:00 UTC, the earliest time that every medium can hold.
    fn default() -> Self {
        Self::from_unix_seconds(EARLIEST)
    }
}

const fn is_leap_year(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_in_month(year: i64, month: u8) -> i64 {
    match month {
        4 | 6 | 9 | 11 => 30,
        2 if is_leap_year(year) => 29,
        2 => 28,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(seconds: i64) -> (u16, u8, u8, u8, u8, u8) {
        let civil = MediaTime::from_unix_seconds(seconds).civil();
        (civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second)
    }

    #[test]
    fn splits_known_moments() {
        assert_eq!(fields(315_532_800), (1980, 1, 1, 0, 0, 0));
        assert_eq!(fields(951_782_400), (2000, 2, 29, 0, 0, 0));
        assert_eq!(fields(1_700_000_000), (2023, 11, 14, 22, 13, 20));
        assert_eq!(fields(4_107_542_399), (2100, 2, 28, 23, 59, 59));
        assert_eq!(fields(4_107_542_400), (2100, 3, 1, 0, 0, 0));
    }

    #[test]
    fn clamps_to_what_fat_can_hold() {
        assert_eq!(fields(0), (1980, 1, 1, 0, 0, 0));
        assert_eq!(fields(i64::MIN), (1980, 1, 1, 0, 0, 0));
        assert_eq!(fields(i64::MAX), (2107, 12, 31, 23, 59, 58));
    }
}
