//! The hypervisors and connections a job uses: the real ones, or a test's.

use std::path::Path;
use std::sync::Arc;

use kiln_communicators::{Connector, GuestConnector};
use kiln_hypervisors::Hypervisor;
use kiln_hypervisors::qemu::QemuHypervisor;

use crate::context::Fault;

/// What is known of one hypervisor on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HypervisorSummary {
    /// Name, such as `qemu`.
    pub name: String,
    /// Whether machines can be started.
    pub available: bool,
    /// Its version.
    pub version: Option<String>,
    /// Why it cannot be used, or how its accelerators fare.
    pub reason: Option<String>,
}

/// Looks at every hypervisor there is. Probe results are kept in `cache_dir`; the first time takes some seconds.
pub async fn hypervisors(cache_dir: &Path) -> Vec<HypervisorSummary> {
    let backends = Backends::real(cache_dir);
    let mut found = Vec::new();
    for hypervisor in [&backends.qemu] {
        let probed = hypervisor.probe().await;
        let available = probed.is_available();
        let accelerators = probed.accelerators.iter().map(|accelerator| {
            let state = if accelerator.usable { "works" } else { "does not work" };
            format!("{} {state}: {}", accelerator.name, accelerator.reason)
        });
        let accelerators: Vec<String> = accelerators.collect();
        let reason = probed.reason.or_else(|| (!accelerators.is_empty()).then(|| accelerators.join("; ")));
        let name = hypervisor.name().to_owned();
        found.push(HypervisorSummary { name, available, version: probed.version, reason });
    }
    found
}

/// What a job runs on.
#[derive(Clone)]
pub struct Backends {
    /// QEMU.
    pub qemu: Arc<dyn Hypervisor>,
    /// What connects to guests.
    pub connector: Arc<dyn Connector>,
    /// A step that a test makes fail.
    pub fault: Option<Fault>,
}

impl Backends {
    /// Hypervisors and communicators as they are on this machine; probe results are kept in `cache_dir`.
    pub fn real(cache_dir: &Path) -> Self {
        Self {
            qemu: Arc::new(QemuHypervisor::new(cache_dir.to_owned())),
            connector: Arc::new(GuestConnector),
            fault: None,
        }
    }
}
