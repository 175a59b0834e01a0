//! Where VirtualBox's own programs and libraries are: what is in `PATH` is mostly a script that starts them.

use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, accessat};

/// The library with the virtual machine monitor, which every installation has beside its programs.
const MONITOR: &str = "VBoxVMM.so";

/// The program that runs a machine without a window.
const HEADLESS: &str = "VBoxHeadless";

/// What a starter script, and the settings that Oracle's reads, set to the folder.
const FOLDER: &str = "INSTALL_DIR=";

/// Oracle's settings.
const SETTINGS: &str = "/etc/vbox/vbox.cfg";

/// Longest starter that is read, in bytes.
const MOST_READ: u64 = 64 << 10;

/// By this name a monitor knows KVM that was built to run guests on it, without VirtualBox's driver.
const KVM: &[u8] = b"/dev/kvm";

/// The mode bit of a program that runs as its owner, whoever starts it.
const SET_USER: u32 = 0o4000;

/// An installation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Installation(PathBuf);

/// The program that opens the driver: where VirtualBox is hardened it runs as root, and the driver lets nobody else in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Headless {
    pub(super) path: PathBuf,
    /// It runs as root.
    pub(super) as_root: bool,
    /// This user may start it.
    pub(super) may_start: bool,
    /// The group that it belongs to.
    pub(super) group: u32,
}

impl Installation {
    /// The one whose `VBoxManage` is `program`; `None`: it cannot be told.
    pub(super) fn of(program: &Path) -> Option<Self> {
        let program = program.canonicalize().ok()?;
        let beside = program.parent().map(Path::to_owned);
        let script = start_of(&program).filter(|text| text.starts_with("#!"));
        let settings =
            script.as_ref().filter(|text| text.contains(SETTINGS)).and_then(|_| start_of(Path::new(SETTINGS)));
        let named = script.iter().chain(&settings).flat_map(|text| folders(text));
        beside.into_iter().chain(named).find(|folder| folder.join(MONITOR).is_file()).map(Self)
    }

    /// Whether its monitor was built to run guests on KVM where its own driver is not.
    pub(super) fn knows_kvm(&self) -> bool {
        std::fs::read(self.0.join(MONITOR)).is_ok_and(|bytes| bytes.windows(KVM.len()).any(|part| part == KVM))
    }

    /// The program that opens the driver.
    pub(super) fn headless(&self) -> Option<Headless> {
        let path = self.0.join(HEADLESS);
        let found = path.metadata().ok()?;
        Some(Headless {
            as_root: found.uid() == 0 && found.mode() & SET_USER != 0,
            may_start: may(&path, Access::EXEC_OK),
            group: found.gid(),
            path,
        })
    }
}

/// Whether this user may do that with the file, as the groups of this process are.
pub(super) fn may(path: &Path, access: Access) -> bool {
    accessat(CWD, path, access, AtFlags::EACCESS).is_ok()
}

/// The folders that a starter names.
fn folders(text: &str) -> Vec<PathBuf> {
    let folder = |line: &str| {
        let value = line.trim().strip_prefix(FOLDER)?.trim_matches(['"', '\'']);
        value.starts_with('/').then(|| PathBuf::from(value))
    };
    text.lines().filter_map(folder).collect()
}

/// The beginning of a text file; `None`: it is none.
fn start_of(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.take(MOST_READ).read_to_end(&mut bytes).ok()?;
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_found_beside_the_program_and_by_its_starter() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let (own, starter, link) = (root.join("lib"), root.join("VBox.sh"), root.join("VBoxManage"));
        std::fs::create_dir(&own).unwrap();
        let starts = format!("#!/bin/sh\nINSTALL_DIR=\"{}\"\nINSTALL_DIR=\"$X\"\n", own.display());
        std::fs::write(&starter, starts).unwrap();
        std::os::unix::fs::symlink("VBox.sh", &link).unwrap();
        assert_eq!(Installation::of(&link), None, "there is nothing in it");
        std::fs::write(own.join("VBoxManage"), b"\x7fELF\xff").unwrap();
        std::fs::write(own.join(MONITOR), b"\x7fELF /dev/vboxdrv\0").unwrap();
        let found = Installation(own.clone());
        for program in [&link, &starter, &own.join("VBoxManage")] {
            assert_eq!(Installation::of(program).as_ref(), Some(&found), "{}", program.display());
        }
        assert_eq!(Installation::of(&root.join("nothing")), None);
        assert!(!found.knows_kvm() && found.headless().is_none());
        std::fs::write(own.join(MONITOR), b"\x7fELF /dev/kvm\0").unwrap();
        assert!(found.knows_kvm());
    }
}
