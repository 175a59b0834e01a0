//! Which parts of a file are in use, a bit each: finds what lies on one another.

use std::ops::Range;

use crate::error::Result;

/// Units looked at in one go: 16 MiB of bits. Larger files are gone through once for each window.
pub(crate) const WINDOW: u64 = 1 << 27;

/// Goes through a file of so many units, a window at a time: the first, and those that something lies in.
pub(crate) fn each_window(units: u64, mut run: impl FnMut(&mut UsedSpace) -> Result<()>) -> Result<()> {
    let mut start = 0;
    loop {
        let mut used = UsedSpace::new(start..units.min(start.saturating_add(WINDOW)));
        run(&mut used)?;
        start = used.next;
        if start >= units {
            return Ok(());
        }
    }
}

/// The units of one window.
pub(crate) struct UsedSpace {
    window: Range<u64>,
    bits: Vec<u64>,
    /// Where the next window begins: at the first unit behind this one that something lies in.
    next: u64,
}

impl UsedSpace {
    pub(crate) fn new(window: Range<u64>) -> Self {
        let words = (window.end - window.start).div_ceil(64);
        Self { window, bits: vec![0; words as usize], next: u64::MAX }
    }

    /// Says whether this is the window at the front: what needs no comparing is reported there only.
    pub(crate) fn is_first(&self) -> bool {
        self.window.start == 0
    }

    /// Notes that something may lie there, and says whether any of it is inside the window.
    pub(crate) fn touches(&mut self, units: &Range<u64>) -> bool {
        if units.end > self.window.end {
            self.next = self.next.min(units.start.max(self.window.end));
        }
        units.start < self.window.end && units.end > self.window.start
    }

    /// Says whether one of the units is inside the window and in use.
    pub(crate) fn has(&self, units: &Range<u64>) -> bool {
        self.words(units).any(|(word, mask)| self.bits[word] & mask != 0)
    }

    /// Returns the words that hold the units' bits, with masks.
    fn words(&self, units: &Range<u64>) -> impl Iterator<Item = (usize, u64)> + use<> {
        let start = units.start.max(self.window.start).saturating_sub(self.window.start);
        let end = units.end.min(self.window.end).saturating_sub(self.window.start);
        let mut at = start;
        std::iter::from_fn(move || {
            (at < end).then(|| {
                let bits = (64 - at % 64).min(end - at);
                let place = ((at / 64) as usize, (u64::MAX >> (64 - bits)) << (at % 64));
                at += bits;
                place
            })
        })
    }

    /// Marks the units that are inside the window as used; returns whether one of them was in use already.
    ///
    /// Two things on each other across the border of two windows are seen in both.
    pub(crate) fn claim(&mut self, units: Range<u64>) -> bool {
        let mut taken = false;
        self.touches(&units);
        for (word, mask) in self.words(&units) {
            taken |= self.bits[word] & mask != 0;
            self.bits[word] |= mask;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_units_used_before_are_taken() {
        let mut space = UsedSpace::new(0..300);
        assert!(!space.claim(3..70));
        assert!(!space.claim(70..256));
        assert!(!space.claim(0..3));
        assert!(space.claim(255..257));
        assert!(!space.claim(257..1000));
        assert!(space.claim(299..300));
        assert!(!space.claim(300..400));
        assert!(space.has(&(10..11)) && !UsedSpace::new(0..300).has(&(0..300)));
    }

    #[test]
    fn windows_are_where_something_lies() {
        let claims = [3..4, WINDOW - 1..WINDOW + 1, 9 * WINDOW + 7..9 * WINDOW + 8, 9 * WINDOW + 7..9 * WINDOW + 9];
        let (mut seen, mut taken) = (Vec::new(), 0);
        each_window(10 * WINDOW, |used| {
            seen.push(used.window.clone());
            taken += claims.iter().filter(|claim| used.claim((*claim).clone())).count();
            Ok(())
        })
        .unwrap();
        assert_eq!(seen, [0..WINDOW, WINDOW..2 * WINDOW, 9 * WINDOW + 7..10 * WINDOW]);
        assert_eq!(taken, 1);
        let mut second = UsedSpace::new(WINDOW..WINDOW + 100);
        assert!(!second.claim(WINDOW - 5..WINDOW + 5));
        assert!(!second.claim(0..WINDOW));
        assert!(second.claim(WINDOW + 4..WINDOW + 5));
    }
}
