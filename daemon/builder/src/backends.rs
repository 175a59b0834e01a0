//! The hypervisors and connections a job uses: the real ones, or a test's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use kiln_communicators::{Connector, GuestConnector};
use kiln_hypervisors::registry::{self, Settings};
use kiln_hypervisors::{Hypervisor, Hypervisors};

use crate::context::Fault;
use crate::error::StepError;

/// What is known of one hypervisor on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HypervisorSummary {
    /// Name, such as `qemu`.
    pub name: String,
    /// Whether machines can be started.
    pub available: bool,
    /// Its version.
    pub version: Option<String>,
    /// Why it cannot be used, or not for everything, and what to do; else how its accelerators fare.
    pub reason: Option<String>,
}

/// The variable of a user's environment that has QEMU run through libvirt: its value is libvirt's URI.
const LIBVIRT: &str = "KILN_LIBVIRT";

/// Looks at every hypervisor there is, as somebody with `environment` would use it. Probe results are kept in `cache_dir`; the first time
/// takes some seconds.
pub async fn hypervisors(cache_dir: &Path, environment: &BTreeMap<String, String>) -> Vec<HypervisorSummary> {
    let backends = Backends::real(cache_dir, environment);
    let mut found = Vec::new();
    for hypervisor in backends.hypervisors.values() {
        let probed = hypervisor.probe().await;
        let available = probed.is_available();
        let accelerators = probed.accelerators.iter().map(|accelerator| {
            let state = if accelerator.usable { "works" } else { "does not work" };
            format!("{} {state}: {}", accelerator.name, accelerator.reason)
        });
        let accelerators: Vec<String> = accelerators.collect();
        let trouble = probed.reason.or(probed.limit).map(|trouble| match probed.hint {
            Some(hint) => format!("{trouble}; to mend it: {hint}"),
            None => trouble,
        });
        let reason = trouble.or_else(|| (!accelerators.is_empty()).then(|| accelerators.join("; ")));
        let name = hypervisor.name().to_owned();
        found.push(HypervisorSummary { name, available, version: probed.version, reason });
    }
    found
}

/// What a job runs on.
#[derive(Clone)]
pub struct Backends {
    /// Hypervisors by name.
    pub hypervisors: Hypervisors,
    /// What connects to guests.
    pub connector: Arc<dyn Connector>,
    /// A step that a test makes fail.
    pub fault: Option<Fault>,
}

impl Backends {
    /// Hypervisors and communicators as they are on this machine, for somebody with `environment`; probe results are kept in `cache_dir`.
    pub fn real(cache_dir: &Path, environment: &BTreeMap<String, String>) -> Self {
        let libvirt = environment.get(LIBVIRT).filter(|uri| !uri.is_empty()).cloned();
        Self {
            hypervisors: registry::all(&Settings { cache_dir: cache_dir.to_owned(), libvirt }),
            connector: Arc::new(GuestConnector),
            fault: None,
        }
    }
    /// The hypervisor called `name`.
    pub(crate) fn hypervisor(&self, name: &str) -> Result<&dyn Hypervisor, StepError> {
        self.hypervisors.get(name).map(|hypervisor| &**hypervisor).ok_or_else(|| {
            let known: Vec<&str> = self.hypervisors.keys().copied().collect();
            StepError::new(format!("there is no hypervisor called {name}; there are: {}", known.join(", ")))
        })
    }
}
