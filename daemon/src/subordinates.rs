//! Subordinate user ids (subuid(5)): a user has tens of thousands of them for containers, and takes on any of them (newuidmap(1)). Where users are
//! counted they are one; accounts of the user database that lie among them are themselves.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Who has which, one range a line: `alice:100000:65536`.
const FILE: &str = "/etc/subuid";

/// Largest such file that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// Time for which the file is believed not to have changed.
const GOOD_FOR: Duration = Duration::from_secs(10);

/// Accounts inside of ranges that are remembered; further ones count as their range.
const MAX_ACCOUNTS: usize = 4096;

static RANGES: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

/// A range of user ids, and its end, which is not in it.
type Range = (u32, u32);

#[derive(Debug, Default)]
struct Known {
    looked_at: Option<Instant>,
    changed_at: Option<SystemTime>,
    ranges: Vec<Range>,
    /// Those who are in the user database all the same, and may log in.
    accounts: BTreeSet<u32>,
}

/// Returns the user id that this one counts as: of a range of subordinate ids the first, unless it is an account; else the same.
pub(crate) fn counts_as(uid: u32) -> u32 {
    let mut known = RANGES.lock().unwrap_or_else(PoisonError::into_inner);
    known.look(Path::new(FILE), Instant::now());
    known.counts_as(uid)
}

/// Has an account count as itself: one that the user database knows and that may log in. Whoever has a range of subordinate ids cannot put
/// any there.
pub(crate) fn note_account(uid: u32) {
    let mut known = RANGES.lock().unwrap_or_else(PoisonError::into_inner);
    known.look(Path::new(FILE), Instant::now());
    known.note_account(uid);
}

/// Has these ids be subordinate in this process, where `/etc/subuid` stays as it is.
#[cfg(test)]
pub(crate) fn add_range(start: u32, end: u32) {
    let mut known = RANGES.lock().unwrap_or_else(PoisonError::into_inner);
    known.look(Path::new(FILE), Instant::now());
    known.ranges.push((start, end));
}

impl Known {
    fn counts_as(&self, uid: u32) -> u32 {
        if self.accounts.contains(&uid) { uid } else { first_of(&self.ranges, uid) }
    }

    fn note_account(&mut self, uid: u32) {
        if first_of(&self.ranges, uid) != uid && self.accounts.len() < MAX_ACCOUNTS {
            self.accounts.insert(uid);
        }
    }

    fn look(&mut self, file: &Path, now: Instant) {
        if self.looked_at.is_some_and(|looked_at| now.saturating_duration_since(looked_at) < GOOD_FOR) {
            return;
        }
        self.looked_at = Some(now);
        let metadata = file.metadata().ok().filter(|metadata| metadata.is_file() && metadata.len() <= MAX_BYTES);
        let changed_at = metadata.and_then(|metadata| metadata.modified().ok());
        if changed_at != self.changed_at {
            self.changed_at = changed_at;
            self.ranges = std::fs::read_to_string(file).map(|text| parse(&text)).unwrap_or_default();
        }
    }
}

/// Reads the ranges, in their order. Lines that are none are for others to complain about. Users of the system are nobody's; what is root's only
/// root takes on, and there (LXD's line has a thousand million) accounts of a directory service often lie.
fn parse(text: &str) -> Vec<Range> {
    let range = |line: &str| {
        let mut fields = line.split(':');
        let owner = fields.next()?.trim();
        if matches!(owner, "root" | "0") {
            return None;
        }
        let (start, count): (u32, u32) = (fields.next()?.trim().parse().ok()?, fields.next()?.trim().parse().ok()?);
        (start > 0).then_some((start, start.saturating_add(count)))
    };
    let mut ranges: Vec<_> = text.lines().filter_map(range).collect();
    ranges.sort_unstable();
    ranges
}

fn first_of(ranges: &[Range], uid: u32) -> u32 {
    let range = ranges.iter().find(|(start, end)| (*start..*end).contains(&uid));
    range.map_or(uid, |(start, _)| *start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_ids_of_a_range_count_as_one() {
        let ranges =
            parse("alice:100000:65536\n# no range\nbob:165536:65536\ncarol:0:4\nx:1:y\n\n1003:4294967290:65536\n");
        assert_eq!(ranges.len(), 3);
        let counted: BTreeSet<u32> = (100_000..165_536).map(|uid| first_of(&ranges, uid)).collect();
        assert_eq!(counted, [100_000].into(), "whatever alice takes on");
        assert_eq!(first_of(&ranges, 165_536), 165_536, "bob's is another");
        for own in [0, 1, 1000, 99_999, 231_072] {
            assert_eq!(first_of(&ranges, own), own);
        }
        assert_eq!(first_of(&ranges, u32::MAX - 1), 4_294_967_290);
    }

    #[test]
    fn accounts_in_a_range_of_roots_are_not_one() {
        let ranges = parse("root:1000000:1000000000\n0:1000000:65536\nrooted:2000000:65536\n");
        assert_eq!(first_of(&ranges, 391_401_103), 391_401_103);
        assert_eq!(first_of(&ranges, 2_000_001), 2_000_000);
    }

    #[test]
    fn an_account_in_a_range_of_anothers_is_itself_and_a_limited_number_of_them_is_kept() {
        let mut known = Known { ranges: parse("alice:100000:65536\n"), ..Known::default() };
        known.note_account(100_007);
        known.note_account(1000);
        assert_eq!((known.counts_as(100_007), known.counts_as(100_008)), (100_007, 100_000));
        assert_eq!(known.accounts.len(), 1, "whoever is in no range is itself anyway");
        (100_000..165_536).for_each(|uid| known.note_account(uid));
        assert_eq!(known.accounts.len(), MAX_ACCOUNTS);
    }

    #[test]
    fn a_file_that_changes_is_read_again() {
        let scratch = tempfile::tempdir().unwrap();
        let (file, start) = (scratch.path().join("subuid"), Instant::now());
        let mut known = Known::default();
        known.look(&file, start);
        assert!(known.ranges.is_empty(), "a machine without has none");
        std::fs::write(&file, "alice:100000:65536\n").unwrap();
        known.look(&file, start + GOOD_FOR / 2);
        assert!(known.ranges.is_empty());
        known.look(&file, start + GOOD_FOR);
        assert_eq!(known.ranges, [(100_000, 165_536)]);
    }
}
