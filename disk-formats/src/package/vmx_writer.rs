//! Writes a VMX bundle: the machine's file and a monolithicSparse VMDK per disk, ready to start in Workstation.

use std::path::{Path, PathBuf};

use super::ovf_writer::{disk_file_names, raw_disk_file_names};
use super::vmx::vmx;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::machine::{MachineDescription, NicModel};
use crate::output_options::VmdkOptions;
use crate::vmdk::sparse_writer::SparseVmdkWriter;
use crate::writing::output_file::{FinishedFile, OutputFile};
use crate::writing::pass::batch::{Batch, BatchWriter};
use crate::writing::pass::collector::PassReport;
use crate::writing::writer::{OutputWriter, WriterContext};

/// Returns all files of a bundle, the VMX first.
pub(crate) fn vmx_file_names(path: &Path, machine: &MachineDescription, disks: usize) -> Vec<PathBuf> {
    let mut files = vec![path.to_path_buf()];
    files.extend(raw_disk_file_names(machine, disks).iter().map(|name| path.with_file_name(name)));
    files
}

/// Writes one bundle.
pub(crate) struct VmxWriter {
    text: OutputFile,
    disks: Vec<SparseVmdkWriter>,
    present: usize,
}

impl VmxWriter {
    pub(crate) fn create(
        path: &Path,
        sizes: &[u64],
        machine: &MachineDescription,
        context: &WriterContext<'_>,
    ) -> Result<Self> {
        if machine.nics.iter().any(|nic| nic.model == NicModel::Virtio) {
            let error = Error::new(ErrorKind::InvalidInput, Operation::Describe, "VMware has no virtio network card");
            return Err(error.with_hint("choose vmxnet3, its own paravirtual card, or e1000"));
        }
        let names = disk_file_names(machine, sizes.len())?;
        let mut disks = Vec::new();
        for (index, (name, size)) in names.iter().zip(sizes).enumerate() {
            let controller = machine.disks.get(index).map(|disk| disk.controller).unwrap_or_default();
            let options = VmdkOptions { adapter: controller.vmdk_adapter(), ..VmdkOptions::default() };
            disks.push(SparseVmdkWriter::create(&path.with_file_name(name), *size, &options, context)?);
        }
        let mut text = context.create(path, false)?;
        text.append(vmx(machine, &names).as_bytes())?;
        Ok(Self { text, disks, present: 0 })
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
        Ok(files)
    }
}
