//! What one user may have of a daemon that serves several: so many of each, and a pace. Root is not counted.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Who administers the quotas.
pub(crate) const ROOT: u32 = 0;

/// Time over which submissions are counted.
const MINUTE: Duration = Duration::from_secs(60);

/// What each user may have at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Running builds and conversions.
    pub running: usize,
    /// Builds and conversions that wait.
    pub queued: usize,
    /// Running looks at images, which do not wait.
    pub looks: usize,
    /// Connections.
    pub connections: usize,
    /// Streams of events that are followed.
    pub followers: usize,
    /// Submissions in a minute.
    pub submissions: usize,
}

/// A quota, by its key in `kiln.toml`, with what is counted and what makes it less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quota {
    /// See [`Quotas::queued`].
    Queued,
    /// See [`Quotas::looks`].
    Looks,
    /// See [`Quotas::connections`].
    Connections,
    /// See [`Quotas::followers`].
    Followers,
    /// See [`Quotas::submissions`].
    Submissions,
}

/// Reports that a user has used up a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("you have {limit} {}, as many as each user of this daemon may have", .quota.counted())]
pub struct QuotaExceeded {
    /// Which one.
    pub quota: Quota,
    /// How much it allows.
    pub limit: usize,
}

impl Quotas {
    /// No quotas: the daemon of one user.
    pub const NONE: Self = Self {
        running: usize::MAX,
        queued: usize::MAX,
        looks: usize::MAX,
        connections: usize::MAX,
        followers: usize::MAX,
        submissions: usize::MAX,
    };

    /// Those of a daemon for all users that runs so many jobs at once, where `kiln.toml` does not say otherwise.
    #[must_use]
    pub fn usual(max_running_jobs: usize) -> Self {
        Self {
            // One user's builds, which take hours, leave places for those of others.
            running: max_running_jobs.div_ceil(2),
            queued: 100,
            looks: 16,
            connections: 64,
            followers: 32,
            submissions: 120,
        }
    }
}

impl Quota {
    fn counted(self) -> &'static str {
        match self {
            Self::Queued => "jobs waiting",
            Self::Looks => "looks at images running",
            Self::Connections => "connections",
            Self::Followers => "streams of events open",
            Self::Submissions => "submissions in a minute",
        }
    }

    /// Its key in the table `[quotas]`.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Looks => "looks",
            Self::Connections => "connections",
            Self::Followers => "followers",
            Self::Submissions => "submissions",
        }
    }
}

impl QuotaExceeded {
    /// Refuses this user when there are so many already.
    ///
    /// # Errors
    ///
    /// There are.
    pub(crate) fn unless_below(quota: Quota, limit: usize, owner: u32, now: usize) -> Result<(), Self> {
        if owner == ROOT || now < limit { Ok(()) } else { Err(Self { quota, limit }) }
    }

    /// Returns what to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        let less = match self.quota {
            Quota::Queued => "wait for some to begin, or cancel some (`kiln jobs` shows them)",
            Quota::Looks => "wait for one to end",
            Quota::Connections | Quota::Followers => {
                "close some: `kiln attach`, `kiln logs -f` and builds that are watched"
            }
            Quota::Submissions => "try again in a minute",
        };
        format!("{less}; root can raise `{}` in [quotas] of kiln.toml", self.quota.key())
    }
}

/// What users have at this moment of something that each may have so much of. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Shares {
    quota: Quota,
    limit: Arc<AtomicUsize>,
    taken: Arc<Mutex<HashMap<u32, usize>>>,
}

/// One of them; given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    owner: u32,
    number: usize,
    taken: Arc<Mutex<HashMap<u32, usize>>>,
}

impl Shares {
    pub(crate) fn new(quota: Quota, limit: usize) -> Self {
        Self { quota, limit: Arc::new(AtomicUsize::new(limit)), taken: Arc::default() }
    }

    /// From now on each user may have so many; who has more keeps them.
    pub(crate) fn resize(&self, limit: usize) {
        self.limit.store(limit, Ordering::Relaxed);
    }

    /// Takes one for this user.
    ///
    /// # Errors
    ///
    /// The user has as many as may be.
    pub(crate) fn take(&self, owner: u32) -> Result<Share, QuotaExceeded> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.get(&owner).copied().unwrap_or_default();
        QuotaExceeded::unless_below(self.quota, self.limit.load(Ordering::Relaxed), owner, count)?;
        taken.insert(owner, count + 1);
        Ok(Share { owner, number: count + 1, taken: Arc::clone(&self.taken) })
    }
}

impl Share {
    /// Returns how many the user had with this one when it was taken.
    pub(crate) fn number(&self) -> usize {
        self.number
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.owner) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.owner);
            }
        }
    }
}

/// The pace at which users submit.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// Since when, and how many since then.
    counted: HashMap<u32, (Instant, usize)>,
}

impl Pace {
    /// Counts a submission of this user.
    ///
    /// # Errors
    ///
    /// There were as many as may be in this minute.
    pub(crate) fn count(&mut self, owner: u32, limit: usize, now: Instant) -> Result<(), QuotaExceeded> {
        // Nothing is kept of those who have not submitted anything for a minute.
        self.counted.retain(|_, (since, _)| now.saturating_duration_since(*since) < MINUTE);
        let (_, count) = self.counted.entry(owner).or_insert((now, 0));
        QuotaExceeded::unless_below(Quota::Submissions, limit, owner, *count)?;
        *count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_user_has_a_share_and_gives_it_back() {
        let shares = Shares::new(Quota::Connections, 2);
        let (first, second) = (shares.take(1000).unwrap(), shares.take(1000).unwrap());
        assert_eq!((first.number(), second.number()), (1, 2));
        let full = shares.take(1000).unwrap_err();
        assert_eq!(full.to_string(), "you have 2 connections, as many as each user of this daemon may have");
        assert!(full.hint().ends_with("root can raise `connections` in [quotas] of kiln.toml"), "{}", full.hint());
        shares.take(1001).unwrap();
        drop(first);
        shares.take(1000).unwrap();
        shares.resize(1);
        shares.take(1000).unwrap_err();
        shares.resize(3);
        shares.take(1000).unwrap();
        let roots: Vec<_> = (0..9).map(|_| shares.take(ROOT).unwrap()).collect();
        drop(roots);
        assert_eq!(shares.taken.lock().unwrap().len(), 1, "nothing is kept of who has none");
    }

    #[test]
    fn submissions_are_counted_in_the_minute() {
        let (mut pace, start) = (Pace::default(), Instant::now());
        for _ in 0..3 {
            pace.count(1000, 3, start).unwrap();
        }
        assert_eq!(pace.count(1000, 3, start + MINUTE / 2).unwrap_err().quota, Quota::Submissions);
        pace.count(1001, 3, start).unwrap();
        pace.count(1000, 3, start + MINUTE).unwrap();
        assert_eq!(pace.counted.len(), 1, "nothing is kept of who was quiet");
    }
}
