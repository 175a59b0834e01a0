//! Writes an OVF package as separate files: descriptor, manifest, and a stream-optimized VMDK per disk.

use std::path::{Path, PathBuf};

use super::file_names::{disk_file_names, nvram_files, raw_disk_file_names};
use super::manifest::manifest;
use super::ovf::{PackagedDisk, envelope};
use super::places::Places;
use crate::digest::Sha256Digest;
use crate::error::Result;
use crate::machine::MachineDescription;
use crate::vmdk::stream_writer::StreamVmdk;
use crate::writing::file_digest::{DigestAlgorithm, FileHasher};
use crate::writing::output_file::{FinishedFile, OutputFile};
use crate::writing::pass::batch::{Batch, BatchWriter};
use crate::writing::pass::collector::PassReport;
use crate::writing::writer::{OutputWriter, WriterContext};

/// Returns all files of an OVF package, descriptor first.
pub(crate) fn ovf_file_names(path: &Path, machine: &MachineDescription, disks: usize) -> Vec<PathBuf> {
    let mut files = vec![path.to_path_buf(), path.with_extension("mf")];
    files.extend(raw_disk_file_names(machine, disks).iter().map(|name| path.with_file_name(name)));
    files.extend(nvram_files(machine).into_iter().map(|file| path.with_file_name(file.name)));
    files
}

/// Writes one OVF package.
pub(crate) struct OvfWriter {
    machine: MachineDescription,
    places: Places,
    descriptor: OutputFile,
    manifest: OutputFile,
    /// The disks that are not complete yet, the present one first.
    disks: Vec<(OutputFile, StreamVmdk)>,
    /// Files with their digests for the manifest; `None` where the file's own SHA-256 will do.
    finished: Vec<(OutputFile, PackagedDisk, Option<String>)>,
    nvrams: Vec<OutputFile>,
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
        let mut nvrams = Vec::new();
        for nvram in nvram_files(machine) {
            let mut file = context.create(&path.with_file_name(nvram.name), false)?;
            file.append(&nvram.bytes)?;
            nvrams.push(file);
        }
        Ok(Self {
            machine: machine.clone(),
            places: Places::of(machine, sizes.len())?,
            descriptor: context.create(path, false)?,
            manifest: context.create(&path.with_extension("mf"), false)?,
            disks,
            finished: Vec::new(),
            nvrams,
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
        let text = envelope(&self.machine, &self.places, &disks);
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
        for (file, nvram) in self.nvrams.into_iter().zip(nvram_files(&self.machine)) {
            lines.push((nvram.name, FileHasher::of(algorithm, &nvram.bytes)));
            files.push(file.finish()?);
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
