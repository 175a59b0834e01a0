//! The clean-up stack: what a build acquired, given back in reverse order on success, failure and cancel alike.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use kiln_hypervisors::Resource;

/// How long one clean-up may take before it is given up and reported.
const LIMIT: Duration = Duration::from_secs(120);

type Action = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send>;

/// Names one entry, so that it can be dropped once what it guards has been handed on. A later one is greater.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct CleanupId(u64);

/// A clean-up that nothing else knows of any more.
pub(crate) struct Entry {
    id: CleanupId,
    step: &'static str,
    what: String,
    /// What it gives back, where that may as well stay.
    resource: Option<Resource>,
    action: Action,
}

/// The clean-ups of one build.
#[derive(Default)]
pub(crate) struct CleanupStack {
    entries: Vec<Entry>,
    next: u64,
}

/// A clean-up that did not work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CleanupFailure {
    /// What was to be cleaned.
    pub what: String,
    /// Why it was not.
    pub error: String,
}

impl CleanupStack {
    /// Pushes a clean-up; `what` completes the sentence "cannot …".
    pub(crate) fn push<F, Fut>(&mut self, step: &'static str, what: impl Into<String>, action: F) -> CleanupId
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), String>> + Send + 'static,
    {
        self.next += 1;
        let id = CleanupId(self.next);
        let action: Action = Box::new(move || Box::pin(action()));
        self.entries.push(Entry { id, step, what: what.into(), resource: None, action });
        id
    }

    /// Says what files the clean-up `id` gives back, which stay when it is [abandoned](Self::abandon).
    pub(crate) fn gives_back(&mut self, id: CleanupId, resource: Resource) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
            entry.resource = Some(resource);
        }
    }

    /// Drops the clean-up `id` without running it: what it guarded is meant to stay.
    pub(crate) fn disarm(&mut self, id: CleanupId) {
        self.entries.retain(|entry| entry.id != id);
    }

    /// The one that was pushed last, whether it is still here or not; the least of all before the first.
    pub(crate) fn newest(&self) -> CleanupId {
        CleanupId(self.next)
    }

    /// Returns the step whose clean-up comes next; nothing when there is none.
    pub(crate) fn next_step(&self) -> Option<&'static str> {
        self.entries.last().map(|entry| entry.step)
    }

    /// Whether there is one that was pushed after `id`.
    pub(crate) fn has_after(&self, id: CleanupId) -> bool {
        self.entries.last().is_some_and(|entry| entry.id > id)
    }

    /// The step of the one that is to run next of those pushed after `after`, up to `newest`.
    pub(crate) fn step_of_next(&self, after: CleanupId, newest: CleanupId) -> Option<&'static str> {
        self.place_of_next(after, newest).map(|at| self.entries[at].step)
    }

    /// Takes it out.
    pub(crate) fn take_next(&mut self, after: CleanupId, newest: CleanupId) -> Option<Entry> {
        self.place_of_next(after, newest).map(|at| self.entries.remove(at))
    }

    /// That which was pushed last.
    fn place_of_next(&self, after: CleanupId, newest: CleanupId) -> Option<usize> {
        self.entries.iter().rposition(|entry| entry.id <= newest).filter(|&at| self.entries[at].id > after)
    }

    /// The files that would be given back, those of the last one first.
    pub(crate) fn files(&self) -> Vec<Resource> {
        self.entries.iter().rev().filter_map(|entry| entry.resource.clone()).collect()
    }
}

impl Entry {
    /// Runs it. The others are to run whatever becomes of it.
    pub(crate) async fn run(self) -> Result<(), CleanupFailure> {
        self.run_within(LIMIT).await
    }

    async fn run_within(self, limit: Duration) -> Result<(), CleanupFailure> {
        let error = match tokio::time::timeout(limit, (self.action)()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(error)) => error,
            Err(_) => format!("gave up after {} s", limit.as_secs_f32()),
        };
        Err(CleanupFailure { what: self.what, error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    async fn run_all(stack: &mut CleanupStack) -> Vec<CleanupFailure> {
        let mut failures = Vec::new();
        while let Some(entry) = stack.take_next(CleanupId::default(), stack.newest()) {
            failures.extend(entry.run().await.err());
        }
        failures
    }

    #[tokio::test]
    async fn runs_in_reverse_and_goes_on_after_a_failure() {
        let log = Arc::new(Mutex::new(Vec::new()));
        let mut stack = CleanupStack::default();
        for name in ["a", "b", "c", "d"] {
            let log = log.clone();
            let id = stack.push("step", name, move || async move {
                log.lock().unwrap().push(name);
                if name == "b" { Err("stuck".to_owned()) } else { Ok(()) }
            });
            if name == "c" {
                stack.disarm(id);
            }
        }
        let failures = run_all(&mut stack).await;
        assert_eq!(*log.lock().unwrap(), ["d", "b", "a"]);
        assert_eq!(failures, [CleanupFailure { what: "b".into(), error: "stuck".into() }]);
    }

    #[tokio::test]
    async fn those_of_before_stay_and_those_that_come_meanwhile_do() {
        let mut stack = CleanupStack::default();
        let push = |stack: &mut CleanupStack, name: &'static str| stack.push(name, name, || async { Ok(()) });
        push(&mut stack, "before");
        let (before, first) = (stack.newest(), push(&mut stack, "first"));
        push(&mut stack, "second");
        let newest = stack.newest();
        assert!(stack.has_after(before));
        assert_eq!(stack.take_next(before, newest).unwrap().step, "second");
        push(&mut stack, "meanwhile");
        let taken = stack.take_next(before, newest).unwrap();
        assert_eq!((taken.id, taken.step), (first, "first"));
        assert!(stack.take_next(before, newest).is_none());
        let left: Vec<_> = stack.entries.iter().map(|entry| entry.step).collect();
        assert_eq!(left, ["before", "meanwhile"]);
        assert!(stack.has_after(newest) && !stack.has_after(stack.newest()));
    }

    #[tokio::test]
    async fn gives_up_on_a_clean_up_that_hangs() {
        let mut stack = CleanupStack::default();
        stack.push("step", "stop the moon", std::future::pending);
        let entry = stack.entries.pop().unwrap();
        let failure = entry.run_within(Duration::from_millis(10)).await.unwrap_err();
        assert_eq!(failure, CleanupFailure { what: "stop the moon".into(), error: "gave up after 0.01 s".into() });
    }
}
