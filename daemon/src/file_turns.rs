//! Turns at work on files: each user has a few of the threads for it at once, so that nobody's many or large files keep others waiting.
//!
//! The threads are this process's, and so are the turns. Who waits comes in the order of asking.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Threads that work on the files of one user at the same time.
const OF_EACH_USER: usize = 2;

/// Users who have a turn, or wait for one.
type Users = HashMap<u32, Arc<Semaphore>>;

static USERS: LazyLock<Mutex<Users>> = LazyLock::new(Mutex::default);

/// The right to work on files of a user; ends when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    uid: u32,
    permit: Option<OwnedSemaphorePermit>,
}

/// Waits until there is a turn at the files of this user.
pub(crate) async fn turn(uid: u32) -> Turn {
    let turns = {
        let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(users.entry(uid).or_insert_with(|| Arc::new(Semaphore::new(OF_EACH_USER))))
    };
    // Nobody closes one.
    let permit = turns.acquire_owned().await.ok();
    Turn { uid, permit }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut users = USERS.lock().unwrap_or_else(PoisonError::into_inner);
        self.permit = None;
        // Nothing is kept of users whom nobody works for. One who waits has a share of it.
        let is_idle =
            |turns: &Arc<Semaphore>| Arc::strong_count(turns) == 1 && turns.available_permits() == OF_EACH_USER;
        if users.get(&self.uid).is_some_and(is_idle) {
            users.remove(&self.uid);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_the_files_of_another() {
        // Ids that no other test uses.
        let (alice, bob) = (4_000_000_001, 4_000_000_002);
        let hers: Vec<_> = [turn(alice).await, turn(alice).await].into();
        let mut third = Box::pin(turn(alice));
        assert!((&mut third).now_or_never().is_none(), "she has as many as may be");
        let his = turn(bob).now_or_never().expect("he waits for nobody");
        drop(hers);
        let third = third.await;
        drop((third, his));
        let users = USERS.lock().unwrap();
        assert!(!users.contains_key(&alice) && !users.contains_key(&bob), "nothing is kept");
    }
}
