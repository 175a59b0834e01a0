//! The UEFI firmwares of this host, found by the descriptors that distributions, administrators and users have put where QEMU says.

mod descriptor;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use descriptor::Descriptor;
pub use descriptor::FlashImage;

use super::architecture::Architecture;

/// Where descriptors are, the least important place first: a file in a later one takes the place of those of its name.
const DIRECTORIES: [&str; 2] = ["/usr/share/qemu/firmware", "/etc/qemu/firmware"];

/// More descriptors than this in one directory are not read; distributions have a dozen.
const MAX_DESCRIPTORS: usize = 1000;

/// What is asked of a firmware.
#[derive(Debug, Clone, Copy)]
pub struct FirmwareWish<'a> {
    /// What the guest's code is for.
    pub architecture: Architecture,
    /// The machine type, as `q35`.
    pub machine: &'a str,
    /// Only what is signed may boot, by keys that are there from the start.
    pub secure_boot: bool,
}

/// A firmware with the template of its variables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UefiFirmware {
    /// The file that tells of it.
    pub descriptor: PathBuf,
    /// The code; guests only read it.
    pub code: FlashImage,
    /// What a new machine's variables are a copy of.
    pub vars: FlashImage,
    /// Its flash has to be kept from the guest's operating system.
    pub requires_smm: bool,
    /// Its code can refuse to boot what is not signed.
    pub secure_boot: bool,
    /// Its variables have keys from the start; without keys, everything boots.
    pub enrolled_keys: bool,
}

/// All descriptors that count, the first one first.
#[derive(Debug, Default)]
pub struct UefiFirmwares {
    descriptors: Vec<Descriptor>,
    /// What could not be read, and why.
    unreadable: Vec<String>,
}

impl UefiFirmwares {
    /// Those of this host and user.
    pub fn of_this_host() -> Self {
        let mut directories: Vec<PathBuf> = DIRECTORIES.iter().map(PathBuf::from).collect();
        directories.extend(user_directory());
        Self::in_directories(&directories)
    }

    /// Those in `directories`, of which a later one is more important. Names are the order of descriptors; an empty file hides those of
    /// its name.
    pub fn in_directories(directories: &[PathBuf]) -> Self {
        let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
        for directory in directories {
            let Ok(entries) = std::fs::read_dir(directory) else { continue };
            let paths = entries.take(MAX_DESCRIPTORS).filter_map(|entry| Some(entry.ok()?.path()));
            for path in paths.filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
                files.insert(path.file_name().unwrap_or_default().to_owned(), path);
            }
        }
        let mut all = Self::default();
        for path in files.into_values() {
            if std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() == 0) {
                continue;
            }
            match Descriptor::read(&path) {
                Ok(descriptor) => all.descriptors.extend(descriptor),
                Err(problem) => all.unreadable.push(format!("{} was passed over: {problem}", path.display())),
            }
        }
        all
    }

    /// The first firmware that does what is asked, and no more: one that enforces signatures is taken only where that is asked.
    pub fn find(&self, wish: FirmwareWish<'_>) -> Option<UefiFirmware> {
        let first = |right: &dyn Fn(&Descriptor) -> bool| {
            let fits = |one: &&Descriptor| right(one) && one.is_for(wish.architecture, wish.machine) && one.is_whole();
            self.descriptors.iter().find(fits).map(found)
        };
        if wish.secure_boot {
            return first(&|one| one.has("secure-boot") && one.has("enrolled-keys"));
        }
        let plain = first(&|one| !one.has("secure-boot") && !one.has("requires-smm"));
        plain.or_else(|| first(&|one| !one.has("enrolled-keys") && !one.has("requires-smm")))
    }

    /// The firmware whose code is the file at `code`, which goes with only one kind of variables.
    pub fn of_code(&self, code: &Path) -> Option<UefiFirmware> {
        let whole = || self.descriptors.iter().filter(|one| one.is_whole());
        // One file may have several names, each with variables of its own.
        let named = whole().find(|one| one.code.path == code);
        named.or_else(|| whole().find(|one| is_same_file(&one.code.path, code))).map(found)
    }

    /// Descriptors that could not be read, a sentence each.
    pub fn unreadable(&self) -> &[String] {
        &self.unreadable
    }
}

fn found(descriptor: &Descriptor) -> UefiFirmware {
    UefiFirmware {
        descriptor: descriptor.path.clone(),
        code: descriptor.code.clone(),
        vars: descriptor.vars.clone(),
        requires_smm: descriptor.has("requires-smm"),
        secure_boot: descriptor.has("secure-boot"),
        enrolled_keys: descriptor.has("enrolled-keys"),
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    real(one) == real(other)
}

fn user_directory() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let configuration = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")))?;
    Some(configuration.join("qemu/firmware"))
}

#[cfg(test)]
mod tests;
