//! Who hears what is new on a bus of many users: programs that have called, each about the jobs that its user sees. To all it would tell everybody
//! who builds, and when.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Programs of one user that hear of jobs. Of more, those that have called last.
const MAX_OF_USER: usize = 32;

/// The programs that hear. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Listeners(Arc<Mutex<HashMap<String, Listener>>>);

#[derive(Debug)]
struct Listener {
    user: u32,
    sees_everything: bool,
    /// Grows with each call of any.
    number: u64,
}

impl Listeners {
    /// A program has called, by its unique name, which hears about jobs of its user from now on; true when it is new.
    pub(super) fn add(&self, program: &str, user: u32) -> bool {
        let mut all = self.lock();
        let number = all.values().map(|listener| listener.number + 1).max().unwrap_or_default();
        if let Some(known) = all.get_mut(program) {
            known.number = number;
            return false;
        }
        let own = all.iter().filter(|(_, listener)| listener.user == user);
        let (count, oldest) = (own.clone().count(), own.min_by_key(|(_, listener)| listener.number));
        if count >= MAX_OF_USER
            && let Some(oldest) = oldest.map(|(program, _)| program.clone())
        {
            all.remove(&oldest);
        }
        all.insert(program.to_owned(), Listener { user, sees_everything: false, number });
        true
    }

    /// A program hears about the jobs of all users from now on, or about those of its own alone; of these it never ceases to hear.
    pub(super) fn sees_everything(&self, program: &str, sees_everything: bool) {
        if let Some(listener) = self.lock().get_mut(program) {
            listener.sees_everything = sees_everything;
        }
    }

    /// A program has left the bus.
    pub(super) fn remove(&self, program: &str) {
        self.lock().remove(program);
    }

    /// Returns who hears about jobs of this user.
    pub(super) fn of(&self, owner: u32) -> Vec<String> {
        let all = self.lock();
        let hears = all.iter().filter(|(_, listener)| listener.user == owner || listener.sees_everything);
        hears.map(|(program, _)| program.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Listener>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_hears_of_its_users_jobs_and_of_no_others() {
        let listeners = Listeners::default();
        assert!(listeners.add(":1.1", 1001) && listeners.add(":1.2", 1002) && listeners.add(":1.3", 1003));
        assert!(!listeners.add(":1.1", 1001));
        listeners.sees_everything(":1.3", true);
        let heard = |owner| {
            let mut programs = listeners.of(owner);
            programs.sort();
            programs
        };
        assert_eq!(heard(1001), [":1.1", ":1.3"]);
        assert_eq!(heard(1002), [":1.2", ":1.3"]);
        // Whose right has ended keeps its own place.
        listeners.sees_everything(":1.3", false);
        assert_eq!((heard(1002), heard(1003)), (vec![":1.2".to_owned()], vec![":1.3".to_owned()]));
        listeners.sees_everything(":1.3", true);
        listeners.remove(":1.3");
        assert_eq!(heard(1001), [":1.1"]);
        assert!(heard(1004).is_empty());
        // Nobody makes kilnd write to more of one's programs, or takes a place of another user.
        for number in 0..100 {
            listeners.add(&format!(":2.{number}"), 1002);
            // One that calls again and again is never the one that has called last but 31.
            assert!(!listeners.add(":1.2", 1002), "{number}");
        }
        let his = heard(1002);
        assert!(his.len() == MAX_OF_USER && his.contains(&":2.99".to_owned()), "{his:?}");
        assert_eq!(heard(1001), [":1.1"]);
    }

    /// Other threads tell what is new while a program's right is looked at again.
    #[test]
    fn a_program_hears_of_its_own_jobs_at_every_moment() {
        let listeners = Listeners::default();
        listeners.add(":1.1", 1001);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..20_000 {
                    listeners.sees_everything(":1.1", round % 2 == 0);
                }
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                assert_eq!(listeners.of(1001), [":1.1"]);
            }
        });
    }
}
