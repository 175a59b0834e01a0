//! Writes a VMX bundle: the machine's file, a monolithicSparse VMDK per disk and the NVRAM, ready to start in Workstation.

use std::path::{Path, PathBuf};

use super::document::Vmx;
use super::of_machine::nvram;
use crate::error::Result;
use crate::machine::MachineDescription;
use crate::output_options::VmdkOptions;
use crate::package::file_names::{disk_file_names, nvram_file_name, raw_disk_file_names};
use crate::vmdk::sparse_writer::SparseVmdkWriter;
use crate::writing::output_file::{FinishedFile, OutputFile};
use crate::writing::pass::batch::{Batch, BatchWriter};
use crate::writing::pass::collector::PassReport;
use crate::writing::writer::{OutputWriter, WriterContext};

/// Returns all files of a bundle, the VMX first.
pub(crate) fn vmx_file_names(path: &Path, machine: &MachineDescription, disks: usize) -> Vec<PathBuf> {
    let mut files = vec![path.to_path_buf()];
    files.extend(raw_disk_file_names(machine, disks).iter().map(|name| path.with_file_name(name)));
    files.extend(nvram(machine).map(|_| path.with_file_name(nvram_file_name(machine))));
    files
}

/// Writes one bundle.
pub(crate) struct VmxWriter {
    text: OutputFile,
    disks: Vec<SparseVmdkWriter>,
    nvram: Option<OutputFile>,
    present: usize,
}

impl VmxWriter {
    pub(crate) fn create(
        path: &Path,
        sizes: &[u64],
        machine: &MachineDescription,
        context: &WriterContext<'_>,
    ) -> Result<Self> {
        let names = disk_file_names(machine, sizes.len())?;
        let vmx = Vmx::of_machine(machine, &names)?;
        let mut disks = Vec::new();
        for (index, (name, size)) in names.iter().zip(sizes).enumerate() {
            let controller = machine.disks.get(index).map(|disk| disk.controller).unwrap_or_default();
            let options = VmdkOptions { adapter: controller.vmdk_adapter(), ..VmdkOptions::default() };
            disks.push(SparseVmdkWriter::create(&path.with_file_name(name), *size, &options, context)?);
        }
        let mut text = context.create(path, false)?;
        text.append(vmx.to_string().as_bytes())?;
        let nvram = nvram(machine).map(|bytes| {
            let mut file = context.create(&path.with_file_name(nvram_file_name(machine)), false)?;
            file.append(&bytes)?;
            Ok(file)
        });
        Ok(Self { text, disks, nvram: nvram.transpose()?, present: 0 })
    }
}

impl BatchWriter for VmxWriter {
    fn write(&mut self, batch: &Batch) -> Result<()> {
        self.disks[self.present].write(batch)
    }
}

impl OutputWriter for VmxWriter {
    fn begin_disk(&mut self, index: usize) -> Result<()> {
        self.present = index;
        Ok(())
    }

    fn end_disk(&mut self, pass: &PassReport) -> Result<()> {
        self.disks[self.present].end_disk(pass)
    }

    fn finish(self: Box<Self>) -> Result<Vec<FinishedFile>> {
        let mut files = vec![self.text.finish()?];
        for disk in self.disks {
            files.extend(Box::new(disk).finish()?);
        }
        if let Some(nvram) = self.nvram {
            files.push(nvram.finish()?);
        }
        Ok(files)
    }
}
