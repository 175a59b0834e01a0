//! Names made different from each other after characters and length have been lost.

use std::collections::{BTreeMap, BTreeSet};

/// Digits and sign that are kept free when names are compared for similarity: `_` and up to six digits.
const SUFFIX_UNITS: usize = 7;

/// The names of one directory so far. `U` is a unit of the character set: a byte or a UTF-16 unit.
pub(super) struct UniqueNames<U> {
    used: BTreeSet<Vec<U>>,
    /// Where to go on counting for a beginning and an end, so that many similar names stay cheap.
    next_numbers: BTreeMap<(Vec<U>, Vec<U>), u32>,
}

impl<U: Copy + Ord + From<u8>> UniqueNames<U> {
    pub(super) const fn new() -> Self {
        Self { used: BTreeSet::new(), next_numbers: BTreeMap::new() }
    }

    /// Returns `base` and `tail` as one name, cut to `limit` units and numbered if the name is taken.
    ///
    /// The tail (an extension with its dot) is never cut; it must leave room for a number.
    pub(super) fn claim(&mut self, base: &[U], tail: &[U], limit: usize) -> Vec<U> {
        let room = limit.saturating_sub(tail.len());
        let name: Vec<U> = base.iter().take(room).chain(tail).copied().collect();
        if self.used.insert(name.clone()) {
            return name;
        }
        let beginning: Vec<U> = base.iter().take(room.saturating_sub(SUFFIX_UNITS)).copied().collect();
        let next = self.next_numbers.entry((beginning, tail.to_vec())).or_insert(1);
        loop {
            let suffix = format!("_{next}");
            *next += 1;
            let kept = base.iter().take(room.saturating_sub(suffix.len())).copied();
            let name: Vec<U> = kept.chain(suffix.bytes().map(U::from)).chain(tail.iter().copied()).collect();
            if self.used.insert(name.clone()) {
                return name;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_names_that_are_taken() {
        let mut names = UniqueNames::<u8>::new();
        assert_eq!(names.claim(b"ABC", b".X", 6), b"ABC.X");
        assert_eq!(names.claim(b"ABC", b".X", 6), b"AB_1.X");
        assert_eq!(names.claim(b"AB_1", b".X", 6), b"AB_2.X");
        assert_eq!(names.claim(b"ABCDEFGH", b"", 6), b"ABCDEF");
        assert_eq!(names.claim(b"ABCDEFGZ", b"", 6), b"ABCD_1");
    }
}
