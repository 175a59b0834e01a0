//! The clean-up stack: what a build acquired, given back in reverse order on success, failure and cancel alike.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use kiln_hypervisors::Resource;

/// How long one clean-up may take before it is given up and reported.
const LIMIT: Duration = Duration::from_secs(120);

type Action = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send>;

/// Names one entry, so that it can be dropped once what it guards has been handed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CleanupId(u64);

struct Entry {
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

    /// Returns the step whose clean-up comes next; nothing when all have run.
    pub(crate) fn next_step(&self) -> Option<&'static str> {
        self.entries.last().map(|entry| entry.step)
    }

    /// Runs the next one: that which was pushed last. The others are to run whatever becomes of it.
    pub(crate) async fn run_next(&mut self) -> Result<(), CleanupFailure> {
        match self.entries.pop() {
            Some(entry) => run(entry, LIMIT).await,
            None => Ok(()),
        }
    }

    /// The files that would be given back, those of the last one first.
    pub(crate) fn files(&self) -> Vec<Resource> {
        self.entries.iter().rev().filter_map(|entry| entry.resource.clone()).collect()
    }
}

async fn run(entry: Entry, limit: Duration) -> Result<(), CleanupFailure> {
    let error = match tokio::time::timeout(limit, (entry.action)()).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) => error,
        Err(_) => format!("gave up after {} s", limit.as_secs_f32()),
    };
    Err(CleanupFailure { what: entry.what, error })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    async fn run_all(stack: &mut CleanupStack) -> Vec<CleanupFailure> {
        let mut failures = Vec::new();
        while stack.next_step().is_some() {
            failures.extend(stack.run_next().await.err());
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
    async fn gives_up_on_a_clean_up_that_hangs() {
        let mut stack = CleanupStack::default();
        stack.push("step", "stop the moon", std::future::pending);
        let entry = stack.entries.pop().unwrap();
        let failure = run(entry, Duration::from_millis(10)).await.unwrap_err();
        assert_eq!(failure, CleanupFailure { what: "stop the moon".into(), error: "gave up after 0.01 s".into() });
    }
}
