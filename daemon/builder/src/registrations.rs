//! The machines that a build has registered with its hypervisor. Nothing that they may use goes before they are given back, and the
//! build says so when one is not.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use kiln_hypervisors::ResourceLedger;
use tokio::sync::watch;

use crate::ledger::{Ledger, Resource};

/// How long a machine whose start was given up may take to be given back: less than a clean-up may.
const LIMIT: Duration = Duration::from_secs(110);

/// Passes everything on to the job's ledger, and knows what of it is a registered machine that is held.
#[derive(Debug)]
pub(crate) struct Registrations {
    ledger: Arc<Ledger>,
    held: watch::Sender<Vec<Resource>>,
}

impl Registrations {
    pub(crate) fn new(ledger: Arc<Ledger>) -> Self {
        Self { ledger, held: watch::Sender::new(Vec::new()) }
    }

    /// Waits until every machine is given back.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check), after [`LIMIT`].
    pub(crate) async fn given_back(&self) -> Result<(), String> {
        self.given_back_within(LIMIT).await
    }

    async fn given_back_within(&self, limit: Duration) -> Result<(), String> {
        let mut held = self.held.subscribe();
        let _ = tokio::time::timeout(limit, held.wait_for(Vec::is_empty)).await;
        self.check()
    }

    /// Complains about a machine that is still held.
    ///
    /// # Errors
    ///
    /// Which one, and what to do with it.
    pub(crate) fn check(&self) -> Result<(), String> {
        match self.held.borrow().first() {
            Some(Resource::Registered { hypervisor, id }) => Err(format!(
                "the machine {id} of {hypervisor} could not be given back, and stays with its files (worker.log in the job's directory \
                 says why): see that it is off, and remove it with the tools of {hypervisor}"
            )),
            _ => Ok(()),
        }
    }
}

impl ResourceLedger for Registrations {
    fn acquired(&self, resource: &Resource) -> io::Result<()> {
        self.ledger.note(resource)?;
        if matches!(resource, Resource::Registered { .. }) {
            self.held.send_modify(|held| held.push(resource.clone()));
        }
        Ok(())
    }

    fn released(&self, resource: &Resource) {
        self.ledger.released(resource);
        self.held.send_if_modified(|held| {
            let before = held.len();
            held.retain(|other| other != resource);
            held.len() != before
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_machine_is_waited_for_and_complained_of_when_it_stays() {
        let job = tempfile::tempdir().unwrap();
        let registrations = Arc::new(Registrations::new(Arc::new(Ledger::open(job.path()).unwrap())));
        let machine = Resource::Registered { hypervisor: "virtualbox".to_owned(), id: "1-2".to_owned() };
        registrations.acquired(&Resource::File { path: "/x".into() }).unwrap();
        registrations.given_back().await.unwrap();
        registrations.acquired(&machine).unwrap();
        let complaint = registrations.given_back_within(Duration::from_millis(20)).await.unwrap_err();
        assert!(complaint.starts_with("the machine 1-2 of virtualbox could not be given back"), "{complaint}");
        let waiting = tokio::spawn({
            let registrations = registrations.clone();
            async move { registrations.given_back().await }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        registrations.released(&machine);
        waiting.await.unwrap().unwrap();
    }
}
