//! Writes an OVA, an OVF package in one tar archive, without a temporary copy of its disks.
//!
//! Importers want the descriptor first, but it names the disks' sizes. So room for descriptor and manifest is kept in front,
//! both of a length that is known beforehand (numbers are padded with blanks behind the document), the disks stream in at
//! their final places, and at the end the two texts and the disks' tar headers are filled in.

use std::path::Path;

use super::file_names::{disk_file_names, nvram_files, plain_name};
use super::manifest::manifest;
use super::ovf::{PackagedDisk, envelope};
use super::places::Places;
use super::tar;
use crate::error::Result;
use crate::machine::MachineDescription;
use crate::vmdk::stream_writer::StreamVmdk;
use crate::writing::file_digest::FileHasher;
use crate::writing::output_file::{FinishedFile, OutputFile};
use crate::writing::pass::batch::{Batch, BatchWriter};
use crate::writing::pass::collector::PassReport;
use crate::writing::writer::{OutputWriter, WriterContext};

/// Writes one OVA.
pub(crate) struct OvaWriter {
    machine: MachineDescription,
    places: Places,
    file: OutputFile,
    /// Length in bytes kept for the descriptor.
    descriptor_room: usize,
    /// Offsets of the two texts' tar headers.
    descriptor_at: u64,
    manifest_at: u64,
    names: Vec<String>,
    /// The disks that are not complete yet, the present one first.
    disks: Vec<StreamVmdk>,
    /// Offset of the present disk's tar header.
    disk_at: u64,
    finished: Vec<(PackagedDisk, String)>,
}

impl OvaWriter {
    pub(crate) fn create(
        path: &Path,
        sizes: &[u64],
        machine: &MachineDescription,
        context: &mut WriterContext<'_>,
    ) -> Result<Self> {
        let names = disk_file_names(machine, sizes.len())?;
        let mut disks = Vec::new();
        for (index, (name, size)) in names.iter().zip(sizes).enumerate() {
            // Fails now rather than after the disk was written.
            tar::header(name, 0)?;
            let controller = machine.disks.get(index).map(|disk| disk.controller).unwrap_or_default();
            disks.push(StreamVmdk::new(name, *size, &machine.disk_options(controller), context)?);
        }
        let longest: Vec<PackagedDisk> = names
            .iter()
            .map(|name| PackagedDisk { file: name.clone(), size: u64::MAX, capacity: u64::MAX, populated: u64::MAX })
            .collect();
        let places = Places::of(machine, sizes.len())?;
        let descriptor_room = envelope(machine, &places, &longest).len();
        let mut writer = Self {
            machine: machine.clone(),
            places,
            file: context.create(path, true)?,
            descriptor_room,
            descriptor_at: 0,
            manifest_at: 0,
            names,
            disks,
            disk_at: 0,
            finished: Vec::new(),
        };
        tar::header(&writer.text_name("ovf"), 0)?;
        writer.keep_room(descriptor_room as u64);
        let no_digest = "0".repeat(machine.manifest.digits());
        writer.manifest_at = writer.file.position();
        let manifest_room = writer.manifest(&no_digest, &vec![no_digest.clone(); sizes.len()]).len();
        writer.keep_room(manifest_room as u64);
        // VirtualBox wants it before it wants the disks, and reads an archive in one go.
        for nvram in nvram_files(machine) {
            writer.file.append(&tar::header(&nvram.name, nvram.bytes.len() as u64)?)?;
            writer.file.append(&nvram.bytes)?;
            writer.file.align(tar::BLOCK);
        }
        Ok(writer)
    }

    fn text_name(&self, extension: &str) -> String {
        format!("{}.{extension}", plain_name(&self.machine.name))
    }

    fn keep_room(&mut self, length: u64) {
        self.file.skip_to(self.file.position() + tar::BLOCK + length);
        self.file.align(tar::BLOCK);
    }

    fn manifest(&self, descriptor: &str, disks: &[String]) -> String {
        let descriptor_name = self.text_name("ovf");
        let disk_lines = self.names.iter().map(String::as_str).zip(disks.iter().map(String::as_str));
        let nvrams = nvram_files(&self.machine).into_iter();
        let nvrams: Vec<(String, String)> =
            nvrams.map(|file| (file.name, FileHasher::of(self.machine.manifest, &file.bytes))).collect();
        let nvram_lines = nvrams.iter().map(|(name, digest)| (name.as_str(), digest.as_str()));
        let lines = std::iter::once((descriptor_name.as_str(), descriptor)).chain(nvram_lines).chain(disk_lines);
        manifest(self.machine.manifest, lines)
    }

    fn fill_in(&mut self, at: u64, name: &str, text: &str) -> Result<()> {
        self.file.correct(at, &tar::header(name, text.len() as u64)?)?;
        self.file.correct(at + tar::BLOCK, text.as_bytes())
    }
}

impl BatchWriter for OvaWriter {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        match self.disks.first_mut() {
            Some(vmdk) => vmdk.write(&mut self.file, batch),
            None => Ok(()),
        }
    }
}

impl OutputWriter for OvaWriter {
    fn begin_disk(&mut self, _index: usize) -> Result<()> {
        self.disk_at = self.file.position();
        self.file.skip_to(self.disk_at + tar::BLOCK);
        self.file.begin_part(self.machine.manifest);
        Ok(())
    }

    fn end_disk(&mut self, _pass: &PassReport) -> Result<()> {
        let mut vmdk = self.disks.remove(0);
        vmdk.end(&mut self.file)?;
        let digest = self.file.end_part();
        let disk = PackagedDisk {
            file: self.names[self.finished.len()].clone(),
            size: vmdk.length(),
            capacity: vmdk.capacity(),
            populated: vmdk.populated(),
        };
        self.file.align(tar::BLOCK);
        self.file.correct(self.disk_at, &tar::header(&disk.file, disk.size)?)?;
        self.finished.push((disk, digest));
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Vec<FinishedFile>> {
        let disks: Vec<PackagedDisk> = self.finished.iter().map(|(disk, _)| disk.clone()).collect();
        let mut descriptor = envelope(&self.machine, &self.places, &disks);
        // Blanks behind the last element are legal XML.
        descriptor.extend(std::iter::repeat_n('\n', self.descriptor_room.saturating_sub(descriptor.len())));
        let digests: Vec<String> = self.finished.iter().map(|(_, digest)| digest.clone()).collect();
        let manifest = self.manifest(&FileHasher::of(self.machine.manifest, descriptor.as_bytes()), &digests);
        self.fill_in(self.descriptor_at, &self.text_name("ovf"), &descriptor)?;
        self.fill_in(self.manifest_at, &self.text_name("mf"), &manifest)?;
        self.file.append(&tar::END)?;
        Ok(vec![self.file.finish()?])
    }
}
