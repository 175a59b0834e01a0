//! A domain as the process that is a machine: QEMU is libvirt's child, so its end is seen by its pidfd, and only then is the domain off the
//! ledger.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use tokio::sync::watch;

use super::connection::{self, CallError, Connection, Created, DomainId};
use crate::ledger::{Resource, ResourceLedger};
use crate::process::{ExitState, Stranger};
use crate::qemu::guest_process::GuestProcess;

/// How long libvirt may take to destroy a domain before its process is killed. It gives QEMU fifteen seconds itself.
const DESTROY_LIMIT: Duration = Duration::from_secs(20);

/// A domain's place in the ledger: noted before it comes to be, given back when it is gone.
pub(super) struct Registration {
    resource: Resource,
    ledger: Arc<dyn ResourceLedger>,
}

impl Registration {
    /// Notes the domain.
    pub(super) fn note(id: &DomainId, ledger: Arc<dyn ResourceLedger>) -> std::io::Result<Self> {
        let resource =
            Resource::Registered { hypervisor: crate::qemu::machine_spec::NAME.to_owned(), id: id.to_string() };
        ledger.acquired(&resource)?;
        Ok(Self { resource, ledger })
    }

    /// Takes it off the ledger. Where this is not called, a sweep looks for the domain.
    fn release(self) {
        self.ledger.released(&self.resource);
    }
}

/// A domain whose process is not known yet. Dropping it destroys it.
pub(super) struct Unclaimed {
    parts: Option<(DomainId, Created, Registration)>,
    /// How long the daemon may take to answer.
    limit: Duration,
}

impl Unclaimed {
    /// Starts the paused domain `id`.
    pub(super) async fn create(
        connection: Connection,
        id: DomainId,
        xml: String,
        registration: Registration,
        limit: Duration,
    ) -> Result<Self, CallError> {
        let create = move || match connection::create(connection, &xml) {
            Ok(created) => Ok(Self { parts: Some((id, created, registration)), limit }),
            Err(error) => {
                registration.release();
                Err(error)
            }
        };
        connection::on_thread("virDomainCreateXML", limit, create).await
    }

    /// The domain as `process`.
    pub(super) fn claim(mut self, process: Stranger) -> Option<DomainProcess> {
        let (id, created, registration) = self.parts.take()?;
        Some(DomainProcess::new(id, process, created, registration, self.limit))
    }

    /// Destroys it and waits until it is gone.
    pub(super) async fn give_up(mut self) {
        if let Some((id, created, registration)) = self.parts.take() {
            forget(id, Arc::new(created), registration, self.limit).await;
        }
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        let Some((id, created, registration)) = self.parts.take() else { return };
        // On a thread, because a drop cannot wait.
        let end = move || match connection::forget(&id, &created) {
            Ok(()) => registration.release(),
            Err(error) => tracing::warn!(?error, "a machine that nobody wants goes with its connection to libvirt"),
        };
        let _ = std::thread::Builder::new().name("libvirt".to_owned()).spawn(end);
    }
}

/// Sees to it that libvirt has a domain no more, and takes it off the ledger then.
async fn forget(id: DomainId, created: Arc<Created>, registration: Registration, limit: Duration) {
    let forgotten = connection::on_thread("virDomainDestroy", limit, move || connection::forget(&id, &created)).await;
    match forgotten {
        Ok(()) => registration.release(),
        Err(error) => tracing::warn!(?error, "libvirt may still have a machine that has ended; a sweep asks again"),
    }
}

/// A domain's QEMU.
pub(super) struct DomainProcess {
    process: Arc<Stranger>,
    created: Arc<Created>,
    ended: watch::Receiver<Option<ExitState>>,
    /// The thread that destroys it, which is started once.
    destroying: Mutex<bool>,
    /// How long libvirt may take to destroy it.
    destroy_limit: Duration,
}

impl DomainProcess {
    /// Watches over `process`, which libvirt has started as `created`.
    fn new(id: DomainId, process: Stranger, created: Created, registration: Registration, limit: Duration) -> Self {
        let (process, created) = (Arc::new(process), Arc::new(created));
        let (sender, ended) = watch::channel(None);
        let (watched, domain) = (process.clone(), created.clone());
        tokio::spawn(async move {
            watched.ended().await;
            forget(id, domain, registration, limit).await;
            let _ = sender.send(Some(ExitState::Unseen));
        });
        Self { process, created, ended, destroying: Mutex::new(false), destroy_limit: DESTROY_LIMIT.min(limit) }
    }
}

impl GuestProcess for DomainProcess {
    fn pid(&self) -> u32 {
        self.process.pid()
    }

    fn kill(&self) {
        let mut destroying = self.destroying.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::replace(&mut *destroying, true) {
            return;
        }
        let (process, created, limit) = (self.process.clone(), self.created.clone(), self.destroy_limit);
        // On threads, because a drop cannot wait, and libvirt may never answer. Where it does not end it, it is ended as any process of ours.
        let end = move || {
            let (sender, done) = std::sync::mpsc::channel();
            let destroy = move || drop(sender.send(created.destroy()));
            let started = std::thread::Builder::new().name("libvirt".to_owned()).spawn(destroy).is_ok();
            if !started || !matches!(done.recv_timeout(limit), Ok(Ok(()))) {
                tracing::debug!("libvirt does not destroy a domain");
                process.kill();
            }
        };
        if std::thread::Builder::new().name("libvirt".to_owned()).spawn(end).is_err() {
            self.process.kill();
        }
    }

    fn ended(&self) -> BoxFuture<'_, ExitState> {
        let mut ended = self.ended.clone();
        async move {
            let state = ended.wait_for(Option::is_some).await.ok().and_then(|state| *state);
            // The watching task only goes without an answer when the runtime shuts down.
            state.unwrap_or(ExitState::Unseen)
        }
        .boxed()
    }

    fn stderr_tail(&self) -> String {
        // libvirt has it, in a log of its own.
        String::new()
    }
}

impl Drop for DomainProcess {
    fn drop(&mut self) {
        self.kill();
    }
}
