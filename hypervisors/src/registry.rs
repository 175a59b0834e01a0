//! Every hypervisor there is: the one place that knows them all.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use crate::machine::Hypervisor;
use crate::qemu::QemuHypervisor;
use crate::virtualbox::VirtualBoxHypervisor;
use crate::vmware::VmwareHypervisor;

/// What backends need to know about their surroundings.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where results of probes are kept, for example `~/.cache/kiln`; made when needed.
    pub cache_dir: PathBuf,
    /// The libvirt that is to run QEMU, as `qemu:///session`; `None`: QEMU is run without libvirt.
    pub libvirt: Option<String>,
}

/// Hypervisors by name.
pub type Hypervisors = BTreeMap<&'static str, Arc<dyn Hypervisor>>;

/// The variables by which the programs of hypervisors are found, and by which those find the machines that they keep. None is secret.
pub const ENVIRONMENT: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
    "VBOX_USER_HOME",
    "VBOX_IPC_SOCKETID",
    "LIBVIRT_DEFAULT_URI",
];

/// Where the programs of hypervisors are installed that have one service for all programs of a user.
const WITH_SERVICES: &[&[&str]] = &[crate::virtualbox::INSTALLED];

/// Whether a hypervisor is installed on this machine that has one service for all programs of a user, which the first of them starts: that
/// service must not end with the job whose program that was.
pub fn has_service_of_its_users() -> bool {
    is_any_installed(WITH_SERVICES)
}

fn is_any_installed(programs: &[&[&str]]) -> bool {
    programs.concat().iter().any(|path| std::fs::metadata(path).is_ok())
}

/// Makes a backend.
type Make = fn(&Settings) -> Arc<dyn Hypervisor>;

/// One line for each backend that builds images.
const BACKENDS: &[Make] = &[
    |settings| {
        let qemu = QemuHypervisor::new(settings.cache_dir.clone());
        Arc::new(match settings.libvirt.clone() {
            Some(uri) => qemu.through_libvirt(uri),
            None => qemu,
        })
    },
    |_| Arc::new(VirtualBoxHypervisor::new()),
    |_| Arc::new(VmwareHypervisor::default()),
];

/// Makes them all. Takes no time: nothing is probed or started.
pub fn all(settings: &Settings) -> Hypervisors {
    by_name(BACKENDS.iter().map(|make| make(settings)))
}

/// Puts `hypervisors` under their names; of two with one name the last stays.
pub fn by_name(hypervisors: impl IntoIterator<Item = Arc<dyn Hypervisor>>) -> Hypervisors {
    hypervisors.into_iter().map(|hypervisor| (hypervisor.name(), hypervisor)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hypervisor_is_installed_where_one_of_its_programs_is() {
        assert!(is_any_installed(&[&["/nonexistent/a"], &["/nonexistent/b", "/dev/null"]]));
        assert!(!is_any_installed(&[&["/nonexistent/a", "/nonexistent/b"]]));
        assert!(WITH_SERVICES.concat().contains(&"/usr/bin/VBoxManage"));
    }

    #[test]
    fn every_backend_has_a_name_of_its_own() {
        let all = all(&Settings { cache_dir: PathBuf::from("/nonexistent"), libvirt: None });
        assert_eq!(all.len(), BACKENDS.len());
        assert_eq!(all.keys().copied().collect::<Vec<_>>(), ["qemu", "virtualbox", "vmware"]);
    }
}
