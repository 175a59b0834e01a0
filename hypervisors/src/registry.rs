//! From a backend's name to the backend: the one place that knows them all.

use std::path::PathBuf;

use crate::Hypervisor;
use crate::qemu::QemuHypervisor;

/// What backends need to know about their surroundings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where results of probes are kept, for example `~/.cache/kiln`; made when needed.
    pub cache_dir: PathBuf,
}

/// Names of all backends that build images.
pub fn names() -> &'static [&'static str] {
    &["qemu"]
}

/// Makes the backend called `name`; `None` when there is none of that name.
pub fn by_name(name: &str, settings: &Settings) -> Option<Box<dyn Hypervisor>> {
    match name {
        "qemu" => Some(Box::new(QemuHypervisor::new(settings.cache_dir.clone()))),
        _ => None,
    }
}
