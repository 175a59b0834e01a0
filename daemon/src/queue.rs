//! Decides which job starts when: users take turns, each with its jobs in order of submission, up to a limit. Plain data, no locks, no clock.

use std::collections::{HashMap, VecDeque};

use kiln_protocol::JobId;

use crate::quotas::ROOT;

/// Where a job waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Number of jobs that start before it, as far as is known now.
    pub ahead: usize,
    /// Jobs that hold the places for which it waits, in the order in which they began.
    pub holders: Vec<Held>,
}

/// A job, and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The job.
    pub job: JobId,
    /// User id.
    pub owner: u32,
}

/// How many jobs there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Running ones that count against the limit.
    pub running: usize,
    /// Running ones that do not.
    pub free: usize,
    /// Waiting ones.
    pub waiting: usize,
}

/// The waiting and the running jobs.
#[derive(Debug)]
pub struct Queue {
    limit: usize,
    /// Jobs of one user that may run at once, besides free ones.
    limit_each: usize,
    /// The users that have jobs waiting, in the order in which it is their turn; none is empty.
    turns: VecDeque<(u32, VecDeque<JobId>)>,
    /// Running jobs that count against the limit, in the order in which they began.
    running: Vec<Held>,
    /// Running jobs that are too small to count, and whose they are.
    running_free: HashMap<JobId, u32>,
}

impl Queue {
    /// Makes an empty queue that lets `limit` jobs run at once (at least one), and as many of each user.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let limit = limit.max(1);
        Self { limit, limit_each: limit, turns: VecDeque::new(), running: Vec::new(), running_free: HashMap::new() }
    }

    /// Lets `limit` jobs run at once from now on, and `limit_each` of each user (at least one). Those above it that run already run on.
    pub fn resize(&mut self, limit: usize, limit_each: usize) {
        (self.limit, self.limit_each) = (limit.max(1), limit_each.max(1));
    }

    /// Returns how many jobs may run at once.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Adds a job behind the others of its user. A user who had none waiting comes last.
    pub fn push(&mut self, id: JobId, owner: u32) {
        match self.turns.iter_mut().find(|(user, _)| *user == owner) {
            Some((_, jobs)) => jobs.push_back(id),
            None => self.turns.push_back((owner, VecDeque::from([id]))),
        }
    }

    /// Notes a job that runs already, as found after a restart.
    pub fn adopt(&mut self, job: JobId, owner: u32) {
        self.running.push(Held { job, owner });
    }

    /// Notes a job that may run whatever the limit says.
    pub fn run_free(&mut self, id: JobId, owner: u32) {
        self.running_free.insert(id, owner);
    }

    /// Moves the next job to the running ones and returns it, when there is room: the first of the user whose turn it is, and who may run
    /// one more.
    pub fn start_next(&mut self) -> Option<JobId> {
        if self.running.len() >= self.limit {
            return None;
        }
        let may_run = |owner| owner == ROOT || self.running_of(owner) < self.limit_each;
        let turn = (0..self.turns.len()).find(|&turn| may_run(self.turns[turn].0))?;
        let (owner, mut jobs) = self.turns.remove(turn)?;
        let job = jobs.pop_front()?;
        if !jobs.is_empty() {
            self.turns.push_back((owner, jobs));
        }
        self.running.push(Held { job: job.clone(), owner });
        Some(job)
    }

    /// Takes a waiting job out; false when it does not wait.
    pub fn withdraw(&mut self, id: &JobId) -> bool {
        let before = self.waiting();
        for (_, jobs) in &mut self.turns {
            jobs.retain(|waiting| waiting != id);
        }
        let withdrawn = self.waiting() < before;
        self.turns.retain(|(_, jobs)| !jobs.is_empty());
        withdrawn
    }

    /// Notes that a running job is over.
    pub fn finish(&mut self, id: &JobId) {
        self.running.retain(|running| running.job != *id);
        self.running_free.remove(id);
    }

    /// Returns where a job waits; nothing when it does not.
    #[must_use]
    pub fn place(&self, id: &JobId) -> Option<Place> {
        let among_its_own = |jobs: &VecDeque<JobId>| jobs.iter().position(|waiting| waiting == id);
        let (turn, own) =
            self.turns.iter().enumerate().find_map(|(turn, (_, jobs))| Some((turn, among_its_own(jobs)?)))?;
        // One of each other user before each of its own, and one more of those whose turn comes first.
        let others = self.turns.iter().enumerate().filter(|(other, _)| *other != turn);
        let before = others.map(|(other, (_, jobs))| jobs.len().min(own + usize::from(other < turn)));
        Some(Place { ahead: own + before.sum::<usize>(), holders: self.running.clone() })
    }

    /// Returns the number of waiting jobs.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.turns.iter().map(|(_, jobs)| jobs.len()).sum()
    }

    /// Returns the number of running jobs.
    #[must_use]
    pub fn running(&self) -> usize {
        self.running.len() + self.running_free.len()
    }

    /// Counts the jobs of this user.
    #[must_use]
    pub fn tally(&self, owner: u32) -> Tally {
        Tally {
            running: self.running_of(owner),
            free: self.running_free.values().filter(|user| **user == owner).count(),
            waiting: self.turns.iter().find(|(user, _)| *user == owner).map_or(0, |(_, jobs)| jobs.len()),
        }
    }

    fn running_of(&self, owner: u32) -> usize {
        self.running.iter().filter(|running| running.owner == owner).count()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const A: u32 = 1000;
    const B: u32 = 1001;
    const C: u32 = 1002;

    fn id(number: u64) -> JobId {
        JobId::from_random_bits(number)
    }

    fn held(number: u64, owner: u32) -> Held {
        Held { job: id(number), owner }
    }

    #[test]
    fn jobs_start_in_order_as_others_finish() {
        let mut queue = Queue::new(2);
        (1..=4).for_each(|number| queue.push(id(number), A));
        assert_eq!(queue.start_next(), Some(id(1)));
        assert_eq!(queue.start_next(), Some(id(2)));
        assert_eq!(queue.start_next(), None);
        let holders = vec![held(1, A), held(2, A)];
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
        queue.run_free(id(1), A);
        queue.push(id(2), A);
        assert_eq!(queue.start_next(), Some(id(2)));
        queue.finish(&id(2));
        queue.adopt(id(3), A);
        queue.push(id(4), A);
        assert_eq!(queue.start_next(), None);
    }

    #[test]
    fn users_take_turns_whoever_has_most_waiting() {
        let mut queue = Queue::new(1);
        (1..=4).for_each(|number| queue.push(id(number), A));
        queue.push(id(5), B);
        queue.push(id(6), C);
        queue.push(id(7), B);
        let ahead: Vec<_> = (1..=7).map(|number| queue.place(&id(number)).unwrap().ahead).collect();
        let started: Vec<_> = (0..7)
            .map(|_| {
                let next = queue.start_next().unwrap();
                queue.finish(&next);
                (1..=7).find(|number| id(*number) == next).unwrap()
            })
            .collect();
        assert_eq!(started, [1, 5, 6, 2, 7, 3, 4]);
        let foretold: Vec<_> = (1..=7).map(|number| started.iter().position(|one| *one == number).unwrap()).collect();
        assert_eq!(ahead, foretold);
    }

    #[test]
    fn who_has_reached_his_own_limit_lets_the_next_one_pass() {
        let mut queue = Queue::new(3);
        queue.resize(3, 2);
        (1..=3).for_each(|number| queue.push(id(number), A));
        assert_eq!([queue.start_next(), queue.start_next(), queue.start_next()], [Some(id(1)), Some(id(2)), None]);
        queue.push(id(4), B);
        assert_eq!(queue.start_next(), Some(id(4)));
        queue.run_free(id(5), A);
        assert_eq!(queue.tally(A), Tally { running: 2, free: 1, waiting: 1 });
        assert_eq!(queue.tally(C), Tally::default());
        queue.finish(&id(4));
        assert_eq!(queue.start_next(), None, "there is room, but not for this user");
        queue.finish(&id(1));
        assert_eq!(queue.start_next(), Some(id(3)));
    }

    proptest! {
        #[test]
        fn a_place_foretells_the_order_of_starts(owners in prop::collection::vec(0u32..4, 1..40)) {
            let mut queue = Queue::new(1);
            for (number, owner) in owners.iter().enumerate() {
                queue.push(id(number as u64), *owner);
            }
            let mut ahead: Vec<_> = (0..owners.len()).map(|n| queue.place(&id(n as u64)).unwrap().ahead).collect();
            for turn in 0..owners.len() {
                let next = queue.start_next().unwrap();
                queue.finish(&next);
                let number = (0..owners.len()).find(|n| id(*n as u64) == next).unwrap();
                prop_assert_eq!(ahead[number], turn);
                ahead[number] = usize::MAX;
            }
        }


        #[test]
        fn never_more_than_the_limit_and_never_out_of_order(
            limit in 1usize..4,
            actions in prop::collection::vec(0u8..4, 1..200),
        ) {
            let mut queue = Queue::new(limit);
            let (mut pushed, mut last_started, mut running) = (0, 0, Vec::new());
            for action in actions {
                match action {
                    0 | 1 => { pushed += 1; queue.push(id(pushed), A); }
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

    #[test]
    fn root_is_held_to_the_limit_of_all_alone() {
        let mut queue = Queue::new(3);
        queue.resize(3, 1);
        let [first, second, third, fourth, fifth] = [1, 2, 3, 4, 5].map(JobId::from_random_bits);
        for job in [&first, &second, &third, &fourth] {
            queue.push(job.clone(), ROOT);
        }
        queue.push(fifth, 1000);
        let started = std::iter::from_fn(|| queue.start_next()).count();
        assert_eq!((started, queue.tally(ROOT).running, queue.tally(1000).running), (3, 2, 1));
    }
}
