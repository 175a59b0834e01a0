//! Durations as people say them.

use std::time::Duration;

/// Spells how long something was waited for as people say it, such as `8s`: what was measured has nine digits behind its point.
pub(crate) fn rounded(time: Duration) -> String {
    let step = match time.as_millis() {
        0..1_000 => 1,
        1_000..10_000 => 100,
        _ => 1_000,
    };
    let milliseconds = u64::try_from((time.as_micros() + step * 500) / (step * 1000) * step).unwrap_or(u64::MAX);
    format!("{:?}", Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measured_times_are_rounded() {
        for (nanoseconds, text) in [
            (7_960_018_658, "8s"),
            (1_249_999_999, "1.2s"),
            (15_500_000_001, "16s"),
            (30_000_000_000, "30s"),
            (250_400_000, "250ms"),
            (0, "0ns"),
        ] {
            assert_eq!(rounded(Duration::from_nanos(nanoseconds)), text);
        }
    }
}
