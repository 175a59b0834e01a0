//! The pace of what is told of one object: at most four times within any second.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// Within this time it is told of `TIMES` times at most.
const WINDOW: Duration = Duration::from_secs(1);
const TIMES: usize = 4;

/// Time between two times, at least. A little less than a fourth of the window: what follows is there within a quarter of a second. The fifth
/// time in a row waits for what the four before have saved, so it is not much less.
const PAUSE: Duration = Duration::from_millis(245);

/// When an object was told of last.
#[derive(Debug, Default)]
pub(super) struct Pace(VecDeque<Instant>);

impl Pace {
    /// It is told of now.
    pub(super) fn told(&mut self, now: Instant) {
        if self.0.len() == TIMES {
            self.0.pop_front();
        }
        self.0.push_back(now);
    }

    /// Returns when it may be told of again: now when it was quiet.
    pub(super) fn next(&self, now: Instant) -> Instant {
        let after_last = self.0.back().map(|last| *last + PAUSE);
        let after_window = self.0.front().filter(|_| self.0.len() == TIMES).map(|first| *first + WINDOW);
        after_last.into_iter().chain(after_window).fold(now, Instant::max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_follows_at_once_is_told_within_a_quarter_of_a_second_and_no_second_has_more_than_four() {
        let (start, mut pace, mut times) = (Instant::now(), Pace::default(), Vec::new());
        let mut now = start;
        for _ in 0..20 {
            now = pace.next(now);
            pace.told(now);
            times.push(now);
        }
        assert_eq!(times[0], start, "after a quiet time at once");
        assert!(times[1] - start < Duration::from_millis(250));
        for window in times.windows(TIMES + 1) {
            assert!(window[TIMES] - window[0] >= WINDOW, "five times in {:?}", window[TIMES] - window[0]);
        }
        assert!(times[19] - start < Duration::from_secs(5), "no time is lost: four in each second");
        assert_eq!(pace.next(now + WINDOW), now + WINDOW, "and after a quiet time at once again");
    }
}
