//! Answers that are large: each user has a few on their way at a time, by whatever way was asked. They are held until they are sent.

use std::time::Duration;

use tokio::time::timeout;

use super::error::JobsError;
use crate::caller::Caller;
use crate::turns::{Turn, Turns};

/// Lists of jobs on their way to one user.
const LISTS_OF_EACH_USER: usize = 4;

/// Descriptions of single jobs, each with all its steps, on their way to one user.
const DESCRIPTIONS_OF_EACH_USER: usize = 16;

/// Time for answers before this one to be read; on the bus, where programs wait 25 s, it has to be less.
const PATIENCE: Duration = Duration::from_secs(20);

/// Turns at large answers.
#[derive(Clone, Debug)]
pub(super) struct Answers {
    lists: Turns,
    descriptions: Turns,
}

impl Default for Answers {
    fn default() -> Self {
        Self { lists: Turns::new(LISTS_OF_EACH_USER), descriptions: Turns::new(DESCRIPTIONS_OF_EACH_USER) }
    }
}

impl Answers {
    /// Waits until the caller may have another list. It counts until the turn is dropped.
    pub(super) async fn turn_for_list(&self, caller: &Caller) -> Result<Turn, JobsError> {
        within(&self.lists, caller, LISTS_OF_EACH_USER, "lists of jobs").await
    }

    /// Waits until the caller may have the description of another job.
    pub(super) async fn turn_for_description(&self, caller: &Caller) -> Result<Turn, JobsError> {
        within(&self.descriptions, caller, DESCRIPTIONS_OF_EACH_USER, "descriptions of jobs").await
    }
}

async fn within(turns: &Turns, caller: &Caller, limit: usize, what: &'static str) -> Result<Turn, JobsError> {
    timeout(PATIENCE, turns.turn(caller.counts_as())).await.map_err(|_| JobsError::Busy { limit, what })
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_reads_no_answers_gets_no_more_and_nobody_else_waits() {
        let (answers, alice, bob) = (Answers::default(), Caller::with_uid(1001), Caller::with_uid(1002));
        let mut taken = Vec::new();
        for _ in 0..LISTS_OF_EACH_USER {
            taken.push(answers.turn_for_list(&alice).await.unwrap());
        }
        let next = answers.turn_for_list(&alice);
        assert!(next.now_or_never().is_none(), "she reads those first");
        answers.turn_for_list(&bob).await.unwrap();
        answers.turn_for_description(&alice).await.unwrap();
        drop(taken);
        answers.turn_for_list(&alice).await.unwrap();
    }
}
