//! What is done for jobs that are over while others run: old ones are forgotten, and what some still hold is given back.
//!
//! Nobody waits for it. Each user's jobs are seen to by a task of their own, one at a time, which ends when there is nothing to do: the many
//! or large files of one user delay nothing of another's, and no submission, no ending and no start of the daemon.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use kiln_protocol::JobId;
use tokio::task::JoinSet;

use super::shared::Shared;
use super::{giving_back, wire};
use crate::config::Mode;
use crate::explain::explain;
use crate::job_dir::JobDir;
use crate::journal::FinishedJob;

/// Finished looks at images (info, check, …) that are kept: they say nothing about anything that is still there.
const FINISHED_LOOKS: u32 = 20;

/// Jobs of a user of which something is tried to be given back in one round.
const ATTEMPTS_OF_A_ROUND: usize = 8;

/// After so long without an ending it is looked whether anything is to be done: nothing else tells that time has passed.
const QUIET: Duration = Duration::from_secs(1800);

/// How long a journal that cannot be read is left alone.
const JOURNAL_PAUSE: Duration = Duration::from_secs(5);

/// Jobs of one user of a daemon for all that are kept because they hold something, or because their user has written so.
const MAX_HELD: usize = 200;

/// What there is to do for one user.
#[derive(Debug, Default)]
struct Round {
    /// Finished jobs of an earlier daemon, of which it is not known whether they hold anything.
    unknown: Vec<(JobId, SystemTime)>,
    /// Jobs that are to be forgotten, the oldest first, unless they hold something.
    old: Vec<JobId>,
}

/// Whom there is something to be done for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whom {
    Everybody,
    One(u32),
    Nobody,
}

/// Does it for as long as the daemon runs: at its start, whenever a job is over, and when the configuration changes.
pub(super) async fn run(shared: Arc<Shared>) {
    let (mut endings, mut settings) = (shared.endings.subscribe(), shared.settings.subscribe());
    let mut unknown = unknown(&shared).await;
    let mut rounds = JoinSet::new();
    // Whose rounds go on, by their tasks, and who has to wait with the next one until then.
    let (mut busy, mut waiting) = (HashMap::new(), BTreeSet::new());
    let mut whom = Whom::Everybody;
    loop {
        for (owner, mut round) in to_do(&shared, whom).await {
            if busy.values().any(|other| *other == owner) {
                waiting.insert(owner);
                continue;
            }
            round.unknown = unknown.remove(&owner).unwrap_or_default();
            let shared = Arc::clone(&shared);
            busy.insert(rounds.spawn(async move { go_round(&shared, owner, round).await }).id(), owner);
        }
        // Those of whom nothing else is to be done.
        for (owner, jobs) in std::mem::take(&mut unknown) {
            let (shared, round) = (Arc::clone(&shared), Round { unknown: jobs, old: Vec::new() });
            busy.insert(rounds.spawn(async move { go_round(&shared, owner, round).await }).id(), owner);
            waiting.insert(owner);
        }
        whom = tokio::select! {
            // The senders are where `shared` is.
            _ = endings.changed() => Whom::Everybody,
            _ = settings.changed() => Whom::Everybody,
            () = tokio::time::sleep(QUIET) => Whom::Everybody,
            Some(ended) = rounds.join_next_with_id() => {
                let id = match &ended {
                    Ok((id, ())) => *id,
                    Err(error) => {
                        tracing::error!(%error, "the care for a user's finished jobs broke");
                        error.id()
                    }
                };
                busy.remove(&id).filter(|owner| waiting.remove(owner)).map_or(Whom::Nobody, Whom::One)
            }
        };
    }
}

/// Returns the finished jobs of earlier daemons, by user. Until they are known no job is forgotten: it may be one of those that hold something,
/// and its directory is all that knows of that.
async fn unknown(shared: &Shared) -> HashMap<u32, Vec<(JobId, SystemTime)>> {
    let jobs = loop {
        match shared.journal.finished().await {
            Ok(jobs) => break jobs,
            Err(error) => tracing::error!(error = explain(&error), "what finished jobs still hold is not known yet"),
        }
        // A journal does not tell when it can be read again.
        tokio::time::sleep(JOURNAL_PAUSE).await;
    };
    let mut unknown: HashMap<u32, Vec<_>> = HashMap::new();
    for FinishedJob { id, owner, finished_at } in jobs {
        let Ok(id) = wire::job_id(&id) else { continue };
        let finished = finished_at.parse::<Timestamp>().map_or(SystemTime::UNIX_EPOCH, SystemTime::from);
        unknown.entry(owner).or_default().push((id, finished));
    }
    unknown
}

/// Returns what there is to do, by user.
async fn to_do(shared: &Shared, whom: Whom) -> BTreeMap<u32, Round> {
    let mut rounds: BTreeMap<u32, Round> = BTreeMap::new();
    if whom == Whom::Nobody {
        return rounds;
    }
    let finished_jobs = shared.settings.borrow().finished_jobs;
    match shared.journal.old(finished_jobs, FINISHED_LOOKS).await {
        Ok(jobs) => {
            for FinishedJob { id, owner, .. } in jobs {
                rounds.entry(owner).or_default().old.extend(wire::job_id(&id).ok());
            }
        }
        Err(error) => tracing::warn!(error = explain(&error), "old jobs are not forgotten"),
    }
    for owner in shared.leftovers().owners(SystemTime::now()) {
        rounds.entry(owner).or_default();
    }
    rounds.retain(|owner, _| whom == Whom::Everybody || whom == Whom::One(*owner));
    rounds
}

/// Sees to the finished jobs of one user.
async fn go_round(shared: &Arc<Shared>, owner: u32, round: Round) {
    for (id, finished) in round.unknown {
        if !shared.directory(&id).as_owner(JobDir::still_held).await.is_empty() {
            shared.leftovers().insert(id, owner, finished);
        }
    }
    let too_many = match shared.config.mode {
        Mode::User => BTreeSet::new(),
        Mode::System => shared.leftovers().beyond(owner, MAX_HELD),
    };
    for id in round.old {
        if too_many.contains(&id) {
            tracing::warn!(job = %id, owner, "a job that holds something is forgotten: its user has {MAX_HELD} more of them");
            shared.leftovers().remove(&id);
        }
        if shared.leftovers().contains(&id) {
            continue;
        }
        match shared.journal.forget(id.as_str()).await {
            Ok(true) => {
                shared.directory(&id).in_turn(JobDir::remove).await;
                shared.changes.note(&id);
            }
            Ok(false) => {}
            Err(error) => tracing::warn!(job = %id, error = explain(&error), "an old job is not forgotten"),
        }
    }
    let due = shared.leftovers().due(owner, ATTEMPTS_OF_A_ROUND, SystemTime::now());
    for id in due {
        giving_back::give_back(shared, &id).await;
    }
    let past = shared.leftovers().past(owner, SystemTime::now());
    for id in past {
        let forgotten = shared.directory(&id).as_owner(JobDir::forget_credentials).await;
        shared.leftovers().credentials_went(&id, forgotten.is_ok());
        if let Err(error) = forgotten {
            tracing::warn!(job = %id, error, "credentials that nobody needs are still there, and are tried again");
        }
    }
}
