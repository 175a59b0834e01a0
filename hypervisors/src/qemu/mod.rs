//! The QEMU backend.

use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};

use crate::{Availability, Hypervisor, Machine, MachineSpec, ResourceLedger, StartError, Unsupported};

/// Runs machines with QEMU, each a process driven over QMP.
#[derive(Debug)]
pub struct QemuHypervisor {
    cache_dir: PathBuf,
}

impl QemuHypervisor {
    /// A backend that keeps the results of its probes in `cache_dir` (made when needed).
    pub fn new(cache_dir: PathBuf) -> Self {
        Self { cache_dir }
    }
}

impl Hypervisor for QemuHypervisor {
    fn name(&self) -> &'static str {
        "qemu"
    }

    fn probe(&self) -> BoxFuture<'_, Availability> {
        async move {
            Availability {
                reason: Some(format!("being written ({})", self.cache_dir.display())),
                ..Availability::default()
            }
        }
        .boxed()
    }

    fn check(&self, _: &MachineSpec) -> Result<(), Vec<Unsupported>> {
        Ok(())
    }

    fn start<'a>(
        &'a self,
        spec: &'a MachineSpec,
        _: Arc<dyn ResourceLedger>,
    ) -> BoxFuture<'a, Result<Box<dyn Machine>, StartError>> {
        async move { Err(StartError::ProgramMissing { program: spec.binary.clone(), hint: String::new() }) }.boxed()
    }
}
