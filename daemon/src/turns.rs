//! Turns: each user has a few of something at a time, so that nobody's many or large files, pictures or lists keep others waiting, or the
//! memory.
//!
//! Who waits comes in the order of asking, and only one's own things are waited for.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Threads that work on the files of one user at the same time.
const FILES_OF_EACH_USER: usize = 2;

/// Users who have a turn, or wait for one.
type Users = HashMap<u32, Arc<Semaphore>>;

/// Turns at the files of users. The threads are this process's, and so are the turns.
static FILES: LazyLock<Turns> = LazyLock::new(|| Turns::new(FILES_OF_EACH_USER));

/// Turns at something. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    of_each_user: usize,
    users: Arc<Mutex<Users>>,
}

/// The right to have, or to work on, one of them; ends when dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    uid: u32,
    permit: Option<OwnedSemaphorePermit>,
    turns: Turns,
}

/// Bytes for a user, whose turn lasts until nobody holds them any more: an answer is held until it is sent.
#[derive(Debug)]
pub struct InTurn {
    bytes: Vec<u8>,
    _turn: Turn,
}

/// Waits until there is a turn at the files of this user.
pub(crate) async fn at_files_of(uid: u32) -> Turn {
    FILES.turn(uid).await
}

impl Turns {
    /// So many for each user at the same time.
    pub(crate) fn new(of_each_user: usize) -> Self {
        Self { of_each_user, users: Arc::default() }
    }

    /// Waits until this user has a turn.
    pub(crate) async fn turn(&self, uid: u32) -> Turn {
        let semaphore = {
            let mut users = self.users.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(users.entry(uid).or_insert_with(|| Arc::new(Semaphore::new(self.of_each_user))))
        };
        // Nobody closes one.
        let permit = semaphore.acquire_owned().await.ok();
        Turn { uid, permit, turns: self.clone() }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut users = self.turns.users.lock().unwrap_or_else(PoisonError::into_inner);
        self.permit = None;
        // Nothing is kept of users whom nobody works for. One who waits has a share of it.
        let is_idle = |semaphore: &Arc<Semaphore>| {
            Arc::strong_count(semaphore) == 1 && semaphore.available_permits() == self.turns.of_each_user
        };
        if users.get(&self.uid).is_some_and(is_idle) {
            users.remove(&self.uid);
        }
    }
}

impl InTurn {
    pub(crate) fn new(bytes: Vec<u8>, turn: Turn) -> Self {
        Self { bytes, _turn: turn }
    }

    /// The same bytes; the last part of them that is dropped ends the turn.
    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for InTurn {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn nobody_waits_for_the_turns_of_another() {
        let (alice, bob) = (1001, 1002);
        let turns = Turns::new(2);
        let hers: Vec<_> = [turns.turn(alice).await, turns.turn(alice).await].into();
        let mut third = Box::pin(turns.turn(alice));
        assert!((&mut third).now_or_never().is_none(), "she has as many as may be");
        let his = turns.turn(bob).now_or_never().expect("he waits for nobody");
        drop(hers);
        let third = third.await;
        drop((third, his));
        assert!(turns.users.lock().unwrap().is_empty(), "nothing is kept");
    }

    #[tokio::test]
    async fn a_turn_lasts_as_long_as_any_part_of_the_bytes() {
        let turns = Turns::new(1);
        let mut bytes = InTurn::new(b"abcdef".to_vec(), turns.turn(1001).await).into_bytes();
        let sent = bytes.split_to(3);
        drop(bytes);
        assert!(turns.turn(1001).now_or_never().is_none(), "{sent:?} is still on its way");
        drop(sent);
        assert!(turns.turn(1001).now_or_never().is_some());
    }
}
