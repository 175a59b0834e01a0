//! Decides which job starts when: in order of submission, up to a limit. Plain data, no locks, no clock.

use std::collections::{HashSet, VecDeque};

use kiln_protocol::JobId;

/// Where a job waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of jobs that start before it.
    pub ahead: usize,
    /// Jobs that hold the places for which it waits, in the order in which they began.
    pub holders: Vec<JobId>,
}

/// The waiting and the running jobs.
#[derive(Debug)]
pub struct Queue {
    limit: usize,
    waiting: VecDeque<JobId>,
    /// Running jobs that count against the limit, in the order in which they began.
    running: Vec<JobId>,
    /// Running jobs that are too small to count.
    running_free: HashSet<JobId>,
}

impl Queue {
    /// Makes an empty queue that lets `limit` jobs run at once (at least one).
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        Self { limit, waiting: VecDeque::new(), running: Vec::new(), running_free: HashSet::new() }
    }

    /// Lets `limit` jobs run at once from now on (at least one). Those above it that run already run on.
    pub fn resize(&mut self, limit: usize) {
        self.limit = limit.max(1);
    }

    /// Returns how many jobs may run at once.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Adds a job at the end.
    pub fn push(&mut self, id: JobId) {
        self.waiting.push_back(id);
    }

    /// Notes a job that runs already, as found after a restart.
    pub fn adopt(&mut self, id: JobId) {
        self.running.push(id);
    }

    /// Notes a job that may run whatever the limit says.
    pub fn run_free(&mut self, id: JobId) {
        self.running_free.insert(id);
    }

    /// Moves the first waiting job to the running ones and returns it, when there is room.
    pub fn start_next(&mut self) -> Option<JobId> {
        if self.running.len() >= self.limit {
            return None;
        }
        let id = self.waiting.pop_front()?;
        self.running.push(id.clone());
        Some(id)
    }

    /// Takes a waiting job out; false when it does not wait.
    pub fn withdraw(&mut self, id: &JobId) -> bool {
        let before = self.waiting.len();
        self.waiting.retain(|waiting| waiting != id);
        self.waiting.len() < before
    }

    /// Notes that a running job is over.
    pub fn finish(&mut self, id: &JobId) {
        self.running.retain(|running| running != id);
        self.running_free.remove(id);
    }

    /// Returns where a job waits; nothing when it does not.
    #[must_use]
    pub fn place(&self, id: &JobId) -> Option<Place> {
        let ahead = self.waiting.iter().position(|waiting| waiting == id)?;
        Some(Place { ahead, holders: self.running.clone() })
    }

    /// Returns the number of waiting jobs.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Returns the number of running jobs.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len() + self.running_free.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u64) -> JobId {
        JobId::from_random_bits(number)
    }

    #[test]
    fn jobs_start_in_order_as_others_finish() {
        let mut queue = Queue::new(2);
        (1..=4).for_each(|number| queue.push(id(number)));
        assert_eq!(queue.start_next(), Some(id(1)));
        assert_eq!(queue.start_next(), Some(id(2)));
        assert_eq!(queue.start_next(), None);
        let holders = vec![id(1), id(2)];
        assert_eq!(queue.place(&id(3)), Some(Place { ahead: 0, holders: holders.clone() }));
        assert_eq!(queue.place(&id(4)), Some(Place { ahead: 1, holders }));
        assert_eq!(queue.place(&id(1)), None, "it runs");
        queue.finish(&id(2));
        assert_eq!(queue.start_next(), Some(id(3)));
        assert!(queue.withdraw(&id(4)) && !queue.withdraw(&id(4)) && !queue.withdraw(&id(3)));
        queue.finish(&id(1));
        assert_eq!(queue.start_next(), None);
        assert_eq!((queue.running(), queue.waiting()), (1, 0));
    }

    #[test]
    fn adopted_jobs_count_and_free_ones_do_not() {
        let mut queue = Queue::new(1);
        queue.run_free(id(1));
        queue.push(id(2));
        assert_eq!(queue.start_next(), Some(id(2)));
        queue.finish(&id(2));
        queue.adopt(id(3));
        queue.push(id(4));
        assert_eq!(queue.start_next(), None);
    }

    proptest! {
        #[test]
        fn never_more_than_the_limit_and_never_out_of_order(
            limit in 1usize..4,
            actions in prop::collection::vec(0u8..4, 1..200),
        ) {
            let mut queue = Queue::new(limit);
            let (mut pushed, mut last_started, mut running) = (0, 0, Vec::new());
            for action in actions {
                match action {
                    0 | 1 => { pushed += 1; queue.push(id(pushed)); }
                    2 => if let Some(done) = running.pop() { queue.finish(&id(done)); },
                    _ => { if pushed > last_started + 1 { queue.withdraw(&id(pushed)); } }
                }
                while let Some(started) = queue.start_next() {
                    let number = (last_started + 1..=pushed).find(|number| id(*number) == started);
                    prop_assert!(number.is_some(), "in order, and once");
                    last_started = number.unwrap();
                    running.push(last_started);
                }
                prop_assert_eq!(queue.running(), running.len());
                prop_assert!(running.len() <= limit);
                prop_assert!(queue.waiting() == 0 || running.len() == limit, "no idle place while jobs wait");
            }
        }
    }
}
