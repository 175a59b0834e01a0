//! Durations as Packer spells them.

/// Units from the largest down, with their lengths in microseconds.
const UNITS: [(&str, u64); 8] = [
    ("year", 365 * 86_400_000_000),
    ("week", 7 * 86_400_000_000),
    ("day", 86_400_000_000),
    ("hour", 3_600_000_000),
    ("minute", 60_000_000),
    ("second", 1_000_000),
    ("millisecond", 1_000),
    ("microsecond", 1),
];

/// Spells a duration with its two largest units that are not zero: `1 minute 2 seconds`.
#[must_use]
pub fn spell_duration(microseconds: u64) -> String {
    let mut rest = microseconds;
    let mut words = Vec::new();
    for (unit, length) in UNITS {
        let count = rest / length;
        rest %= length;
        if count > 0 && words.len() < 2 {
            words.push(format!("{count} {unit}{}", if count == 1 { "" } else { "s" }));
        }
    }
    if words.is_empty() { "0 microseconds".to_owned() } else { words.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_largest_units_are_spelled_out() {
        for (microseconds, text) in [
            (2_033_000, "2 seconds 33 milliseconds"),
            (62_000_000, "1 minute 2 seconds"),
            (18_435, "18 milliseconds 435 microseconds"),
            (3_600_000_001, "1 hour 1 microsecond"),
            (60_000_000, "1 minute"),
            (1, "1 microsecond"),
            (0, "0 microseconds"),
            (90_061_000_000, "1 day 1 hour"),
        ] {
            assert_eq!(spell_duration(microseconds), text);
        }
    }
}
