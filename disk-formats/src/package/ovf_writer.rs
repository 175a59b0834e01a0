//! Writes an OVF package as separate files: descriptor, manifest, and a stream-optimized VMDK per disk.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use super::manifest::manifest;
use super::ovf::{PackagedDisk, envelope};
use crate::digest::Sha256Digest;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::machine::MachineDescription;
use crate::vmdk::stream_writer::StreamVmdk;
use crate::writing::file_digest::{DigestAlgorithm, FileHasher};
use crate::writing::output_file::{FinishedFile, OutputFile};
use crate::writing::pass::batch::{Batch, BatchWriter};
use crate::writing::pass::collector::PassReport;
use crate::writing::writer::{OutputWriter, WriterContext};

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
    let names = raw_disk_file_names(machine, disks);
    let mut seen = HashSet::new();
    for name in &names {
        let bad = name.is_empty()
            || matches!(name.as_str(), "." | "..")
            || name.chars().any(|c| matches!(c, '/' | '\\' | '"' | '(' | ')') || c.is_control());
        if bad {
            let rule = "names of files in a package must be plain, without directories, quotes or brackets";
            return Err(invalid(rule));
        }
        if !seen.insert(name) {
            return Err(invalid("two disks have the same file name"));
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

/// Makes a machine's name usable in file names.
pub(crate) fn plain_name(name: &str) -> String {
    let plain: String =
        name.chars().map(|c| if c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | ' ') { c } else { '_' }).collect();
    match plain.trim_matches([' ', '.']) {
        "" => "machine".to_owned(),
        plain => plain.to_owned(),
    }
}

/// Returns all files of an OVF package, descriptor first.
pub(crate) fn ovf_file_names(path: &Path, machine: &MachineDescription, disks: usize) -> Vec<PathBuf> {
    let mut files = vec![path.to_path_buf(), path.with_extension("mf")];
    files.extend(raw_disk_file_names(machine, disks).iter().map(|name| path.with_file_name(name)));
    files
}

/// Writes one OVF package.
pub(crate) struct OvfWriter {
    machine: MachineDescription,
    descriptor: OutputFile,
    manifest: OutputFile,
    /// The disks that are not complete yet, the present one first.
    disks: Vec<(OutputFile, StreamVmdk)>,
    /// Files with their digests for the manifest; `None` where the file's own SHA-256 will do.
    finished: Vec<(OutputFile, PackagedDisk, Option<String>)>,
}

impl OvfWriter {
    pub(crate) fn create(
        path: &Path,
        sizes: &[u64],
        machine: &MachineDescription,
        context: &mut WriterContext<'_>,
    ) -> Result<Self> {
        let names = disk_file_names(machine, sizes.len())?;
        let mut disks = Vec::new();
        for (index, (name, size)) in names.iter().zip(sizes).enumerate() {
            let controller = machine.disks.get(index).map(|disk| disk.controller).unwrap_or_default();
            let vmdk = StreamVmdk::new(name, *size, &machine.disk_options(controller), context)?;
            disks.push((context.create(&path.with_file_name(name), false)?, vmdk));
        }
        Ok(Self {
            machine: machine.clone(),
            descriptor: context.create(path, false)?,
            manifest: context.create(&path.with_extension("mf"), false)?,
            disks,
            finished: Vec::new(),
        })
    }
}

impl BatchWriter for OvfWriter {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        match self.disks.first_mut() {
            Some((file, vmdk)) => vmdk.write(file, batch),
            None => Ok(()),
        }
    }
}

impl OutputWriter for OvfWriter {
    fn begin_disk(&mut self, _index: usize) -> Result<()> {
        if let Some((file, _)) = self.disks.first_mut() {
            let has_digest = file.is_hashed() && self.machine.manifest == DigestAlgorithm::Sha256;
            if !has_digest {
                file.begin_part(self.machine.manifest);
            }
        }
        Ok(())
    }

    fn end_disk(&mut self, _pass: &PassReport) -> Result<()> {
        let (mut file, mut vmdk) = self.disks.remove(0);
        vmdk.end(&mut file)?;
        let digest = Some(file.end_part()).filter(|digest| !digest.is_empty());
        let disk = PackagedDisk {
            file: file_name(file.path()),
            size: vmdk.length(),
            capacity: vmdk.capacity(),
            populated: vmdk.populated(),
        };
        self.finished.push((file, disk, digest));
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<FinishedFile>> {
        let disks: Vec<PackagedDisk> = self.finished.iter().map(|(_, disk, _)| disk.clone()).collect();
        let text = envelope(&self.machine, &disks);
        self.descriptor.append(text.as_bytes())?;
        let algorithm = self.machine.manifest;
        let mut lines = vec![(file_name(self.descriptor.path()), FileHasher::of(algorithm, text.as_bytes()))];
        let mut files = Vec::new();
        for (file, disk, digest) in self.finished {
            let mut file = file.finish()?;
            let digest = match (digest, file.report.sha256) {
                (Some(digest), _) => digest,
                (None, sha256) => sha256.map(|sha256| sha256.to_string()).unwrap_or_default(),
            };
            if algorithm == DigestAlgorithm::Sha256 {
                file.report.sha256 = Sha256Digest::from_hex(&digest);
            }
            lines.push((disk.file, digest));
            files.push(file);
        }
        let lines = lines.iter().map(|(name, digest)| (name.as_str(), digest.as_str()));
        self.manifest.append(manifest(algorithm, lines).as_bytes())?;
        files.splice(0..0, [self.descriptor.finish()?, self.manifest.finish()?]);
        Ok(files)
    }
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::MachineDisk;

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
}
