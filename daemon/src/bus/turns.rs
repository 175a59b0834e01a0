//! Turns of calls: so many at once in all, of each user and of each program; and a few for every user when others have taken all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::failure::{Failure, TOO_MUCH};

/// Calls that are carried out at once.
const MAX_CALLS: usize = 64;

/// Of these, of one program and of all programs of one user.
const MAX_CALLS_OF_PROGRAM: usize = 16;
const MAX_CALLS_OF_USER: usize = 24;

/// Calls that each user may have on top of these.
const KEPT_FOR_EACH_USER: usize = 2;

/// Calls of programs whose users the bus is being asked for. It answers at once, and for each program once.
const MAX_CALLS_OF_UNKNOWN: usize = 256;

/// Calls in progress. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls(Arc<Mutex<Counts>>);

#[derive(Debug, Default)]
struct Counts {
    /// Of programs whose users are not known yet.
    unknown: usize,
    /// Of all others.
    known: usize,
    of_program: HashMap<String, usize>,
    of_user: HashMap<u32, usize>,
}

/// A call's place among those that are carried out; given back when dropped.
#[derive(Debug)]
pub(super) struct Turn {
    calls: Calls,
    program: String,
    user: Option<u32>,
}

impl Calls {
    /// Lets a program, by its unique name, have one more call: for now to find out whose it is.
    pub(super) fn of_program(&self, program: &str) -> Result<Turn, Failure> {
        let mut counts = self.lock();
        let own = counts.of_program.get(program).copied().unwrap_or_default();
        if own >= MAX_CALLS_OF_PROGRAM || counts.unknown >= MAX_CALLS_OF_UNKNOWN {
            return Err(too_many());
        }
        counts.unknown += 1;
        counts.of_program.insert(program.to_owned(), own + 1);
        drop(counts);
        Ok(Turn { calls: self.clone(), program: program.to_owned(), user: None })
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn {
    /// Counts the call as one of this user, whose program it is.
    pub(super) fn of_user(&mut self, user: u32) -> Result<(), Failure> {
        let mut counts = self.calls.lock();
        let own = counts.of_user.get(&user).copied().unwrap_or_default();
        if own >= MAX_CALLS_OF_USER || (counts.known >= MAX_CALLS && own >= KEPT_FOR_EACH_USER) {
            return Err(too_many());
        }
        counts.unknown -= 1;
        counts.known += 1;
        counts.of_user.insert(user, own + 1);
        self.user = Some(user);
        Ok(())
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut counts = self.calls.lock();
        less(&mut counts.of_program, &self.program);
        match &self.user {
            None => counts.unknown -= 1,
            Some(user) => {
                counts.known -= 1;
                less(&mut counts.of_user, user);
            }
        }
    }
}

/// Counts one less. Nothing is kept of who has none.
fn less<K: std::hash::Hash + Eq>(counts: &mut HashMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

fn too_many() -> Failure {
    Failure::new(TOO_MUCH, "too many calls at once: wait for the answers to those before")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has a user call from programs of its own until it is refused; returns the calls.
    fn all_of(calls: &Calls, user: u32) -> Vec<Turn> {
        let one = |number: u32| {
            let mut turn = calls.of_program(&format!(":{user}.{number}")).ok()?;
            turn.of_user(user).ok().map(|()| turn)
        };
        (0..).map_while(one).collect()
    }

    #[test]
    fn one_user_with_many_programs_leaves_the_bus_to_the_others() {
        let calls = Calls::default();
        let hers = all_of(&calls, 1001);
        assert_eq!(hers.len(), MAX_CALLS_OF_USER);
        assert_eq!(all_of(&calls, 1002).len(), MAX_CALLS_OF_USER, "nobody is in his way");
        let theirs = [all_of(&calls, 1002), all_of(&calls, 1003)];
        assert_eq!(theirs[0].len() + theirs[1].len(), MAX_CALLS - MAX_CALLS_OF_USER);
        for late in [0, 1004] {
            assert_eq!(all_of(&calls, late).len(), KEPT_FOR_EACH_USER, "all are taken, but not these");
        }
        drop((hers, theirs));
        let counts = calls.lock();
        assert_eq!((counts.known, counts.unknown), (0, 0));
        assert!(counts.of_program.is_empty() && counts.of_user.is_empty(), "nothing is kept");
    }

    #[test]
    fn one_program_has_its_share_of_its_users() {
        let calls = Calls::default();
        let mut turns: Vec<_> = (0..MAX_CALLS_OF_PROGRAM).map(|_| calls.of_program(":1.1").unwrap()).collect();
        assert_eq!(calls.of_program(":1.1").unwrap_err().name, TOO_MUCH);
        calls.of_program(":1.2").unwrap();
        turns.pop();
        calls.of_program(":1.1").unwrap();
    }
}
