//! The names of a package's files: of disks and NVRAM, checked together with the rest of a description.

use std::borrow::Cow;
use std::collections::HashSet;

use super::made_nvram::{ENDING, made_name};
use super::nvram::translate;
use super::places::Places;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::machine::{MachineDescription, NvramMaker};
use crate::writing::file_digest::DigestAlgorithm;

/// Checks a description and returns the file names of its disks.
pub(crate) fn disk_file_names(machine: &MachineDescription, disks: usize) -> Result<Vec<String>> {
    let invalid = |rule: &'static str| Error::new(ErrorKind::InvalidInput, Operation::Describe, rule);
    if machine.cpus == 0 || machine.memory_mib < 4 {
        return Err(invalid("a machine needs at least one processor and 4 MiB of memory"));
    }
    if !matches!(machine.manifest, DigestAlgorithm::Sha1 | DigestAlgorithm::Sha256 | DigestAlgorithm::Sha512) {
        return Err(invalid("a manifest has sha256, sha1 or sha512"));
    }
    if machine.disks.len() > disks {
        return Err(invalid("the machine has more disks than were given"));
    }
    Places::of(machine, disks)?;
    let names = raw_disk_file_names(machine, disks);
    let nvram: Vec<String> = nvram_files(machine).into_iter().map(|file| file.name).collect();
    let mut seen = HashSet::new();
    for name in names.iter().chain(&nvram) {
        let bad = name.is_empty()
            || matches!(name.as_str(), "." | "..")
            || name.chars().any(|c| matches!(c, '/' | '\\' | '"' | '(' | ')') || c.is_control());
        if bad {
            let rule = "names of files in a package must be plain, without directories, quotes or brackets";
            return Err(invalid(rule));
        }
        if !seen.insert(name) {
            return Err(invalid("two disks, or a disk and an NVRAM, have the same file name"));
        }
    }
    Ok(names)
}

/// Returns the names without checking them.
pub(crate) fn raw_disk_file_names(machine: &MachineDescription, disks: usize) -> Vec<String> {
    let default = |number: usize| format!("{}-disk{number}.vmdk", plain_name(&machine.name));
    (0..disks)
        .map(|index| machine.disks.get(index).and_then(|disk| disk.file.clone()).unwrap_or_else(|| default(index + 1)))
        .collect()
}

/// Returns the name of the file in which a package keeps the NVRAM.
pub(crate) fn nvram_file_name(machine: &MachineDescription) -> String {
    let given = machine.nvram.as_ref().and_then(|nvram| nvram.file.clone());
    given.unwrap_or_else(|| format!("{}{ENDING}", plain_name(&machine.name)))
}

/// An NVRAM in a package.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NvramFile<'a> {
    /// Who reads it.
    pub(crate) maker: NvramMaker,
    /// Its name in the package.
    pub(crate) name: String,
    /// Its content.
    pub(crate) bytes: Cow<'a, [u8]>,
}

/// Returns the NVRAMs of an OVF package, VirtualBox's first, which wants it before anything else: the machine's own as it is, and what of it
/// travels for the makers who cannot read that.
pub(crate) fn nvram_files(machine: &MachineDescription) -> Vec<NvramFile<'_>> {
    [NvramMaker::VirtualBox, NvramMaker::VMware].into_iter().filter_map(|maker| nvram_file(machine, maker)).collect()
}

/// Returns the NVRAM that a maker reads.
pub(crate) fn nvram_file(machine: &MachineDescription, maker: NvramMaker) -> Option<NvramFile<'_>> {
    let own = machine.nvram.as_ref()?;
    if own.maker == maker {
        let name = nvram_file_name(machine);
        return Some(NvramFile { maker, name, bytes: Cow::Borrowed(&own.bytes) });
    }
    let bytes = Cow::Owned(translate(machine, maker)?.bytes?);
    Some(NvramFile { maker, name: made_name(maker, &nvram_file_name(machine)), bytes })
}

/// Makes a machine's name usable in the names of a package's files.
#[must_use]
pub fn plain_name(name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ') { c } else { '_' }).collect();
    match plain.trim_matches([' ', '.']) {
        "" => "machine".to_owned(),
        plain => plain.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::{MachineDisk, Nvram, NvramMaker};

    fn named(name: &str) -> MachineDescription {
        let disk = MachineDisk { file: Some(name.to_owned()), ..MachineDisk::default() };
        MachineDescription { disks: vec![disk], ..MachineDescription::default() }
    }

    #[test]
    fn names_that_leave_the_package_are_refused() {
        for name in ["../a.vmdk", "/a", "a\\b", "", "..", "a\"b", "a)b"] {
            assert!(disk_file_names(&named(name), 1).is_err(), "{name:?}");
        }
        assert_eq!(disk_file_names(&named("a.vmdk"), 2).unwrap(), ["a.vmdk", "machine-disk2.vmdk"]);
    }

    #[test]
    fn default_names_come_from_the_machines_name() {
        assert_eq!(plain_name("web/1 (test)"), "web_1 _test_");
        assert_eq!(plain_name(".."), "machine");
    }

    #[test]
    fn an_nvram_has_a_name_of_its_own() {
        let nvram = Nvram { maker: NvramMaker::VMware, bytes: vec![1].into(), file: None };
        let machine = MachineDescription { name: "a".to_owned(), nvram: Some(nvram), ..named("a.nvram") };
        assert!(disk_file_names(&machine, 1).is_err());
        let machine = MachineDescription { disks: Vec::new(), ..machine };
        assert_eq!(disk_file_names(&machine, 1).unwrap(), ["a-disk1.vmdk"]);
        let files = nvram_files(&machine);
        assert_eq!(files.len(), 1);
        assert_eq!((files[0].name.as_str(), &*files[0].bytes), ("a.nvram", &[1][..]));
    }
}
