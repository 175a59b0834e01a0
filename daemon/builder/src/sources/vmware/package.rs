//! A machine that is made of an OVF or OVA: read by Kiln's own reader, written for VMware by its own writer. No ovftool is needed.

use std::path::{Path, PathBuf};

use kiln_disk_formats::package::vmx::{Vmx, fit};
use kiln_disk_formats::package::{MachineDescription, PackagedMachine, VendorGuestWords, plain_name};
use kiln_disk_formats::{
    ConvertOptions, DiskReader, OpenPolicy, Output, OutputKind, convert_disks, open, packaged_machine,
};

use super::places;
use crate::blocking::blocking;
use crate::context::BuildContext;
use crate::error::StepError;
use crate::export;
use crate::plan::{VmwareOrigin, VmwarePlan};

/// A package, and what of it VMware gets.
pub(super) struct Package {
    source: PathBuf,
    read: PackagedMachine,
    /// What VMware has in place of what the machine wants, in words.
    pub(super) replaced: Vec<String>,
}

/// Whether a path is that of a package.
pub(crate) fn is_package(path: &str) -> bool {
    let end = Path::new(path).extension().unwrap_or_default();
    ["ovf", "ova"].iter().any(|known| end.eq_ignore_ascii_case(known))
}

impl Package {
    /// Reads the package that the machine of `plan` is made of; `None`: it is made of something else.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub(super) fn of(plan: &VmwarePlan) -> Result<Option<Self>, StepError> {
        let VmwareOrigin::Package { source, guest_os, hardware_version } = &plan.origin else { return Ok(None) };
        Self::read(source, &plan.vm_name, guest_os.as_deref(), *hardware_version).map(Some)
    }

    /// Reads the package `source` for a machine called `name`.
    ///
    /// # Errors
    ///
    /// It is none, or VMware has not what its machine needs.
    fn read(source: &Path, name: &str, guest_os: Option<&str>, hardware_version: u32) -> Result<Self, StepError> {
        let mut read = packaged_machine(source, &policy(source))?.ok_or_else(|| {
            StepError::new(format!("{} describes no machine", source.display()))
                .with_hint("name an OVF or OVA, or a VMX file")
        })?;
        let machine = &mut read.description;
        name.clone_into(&mut machine.name);
        machine.hardware_version = machine.hardware_version.min(u8::try_from(hardware_version).unwrap_or(u8::MAX));
        if let Some(word) = guest_os {
            machine.guest_words =
                VendorGuestWords { workstation: Some(word.to_owned()), ..VendorGuestWords::default() };
        }
        for nic in &mut machine.nics {
            // Each machine that is made of the package has one of its own: they may meet on one network.
            nic.mac = None;
        }
        let replaced = fit(machine);
        let base = plain_name(name);
        for (disk, number) in machine.disks.iter_mut().zip(1..) {
            // Not as an exported OVF names its own, which come to lie beside them.
            disk.file = Some(format!("{base}-{number}.vmdk"));
        }
        if let Some(nvram) = &mut machine.nvram {
            nvram.file = Some(format!("{base}.nvram"));
        }
        Ok(Self { source: source.to_owned(), read, replaced })
    }

    /// What it has that no description holds, in words.
    pub(super) fn left_out(&self) -> &[String] {
        &self.read.left_out
    }

    /// The file of its machine.
    pub(super) fn vmx(&self) -> Result<Vmx, StepError> {
        let files: Vec<String> = self.machine().disks.iter().filter_map(|disk| disk.file.clone()).collect();
        Ok(Vmx::of_machine(self.machine(), &files)?)
    }

    /// Opens its disks, in order.
    pub(super) fn disks(&self) -> Result<Vec<Box<dyn DiskReader>>, StepError> {
        let names = self.read.disks.iter();
        let several = self.read.disks.len() > 1;
        let disk = |name: &String| {
            let mut policy = policy(&self.source);
            policy.archived_disk = several.then(|| name.clone());
            Ok(open(&self.source, None, &policy)?)
        };
        names.map(disk).collect()
    }

    fn machine(&self) -> &MachineDescription {
        &self.read.description
    }

    /// Writes the machine's file and its disks into the machine's directory.
    pub(super) async fn import(self, plan: &VmwarePlan, context: &BuildContext) -> Result<(), StepError> {
        context.say(format!("Importing {}...", self.source.display()));
        for what in self.left_out() {
            context.error(format!("Warning: not carried over: {what}"));
        }
        let (to, reporter) = (places::imported_vmx(plan), context.clone());
        blocking("the import", move |abandoned| {
            let readers = self.disks()?;
            let readers: Vec<&dyn DiskReader> = readers.iter().map(|reader| &**reader).collect();
            let output = Output::new(to, OutputKind::vmx(self.read.description));
            let mut options = ConvertOptions::default();
            options.file_digests = false;
            options.content_digest = false;
            convert_disks(&readers, &[output], &options, &export::report(&reporter, "import the disks", abandoned))?;
            Ok(())
        })
        .await
    }
}

/// A descriptor's files lie beside it.
fn policy(source: &Path) -> OpenPolicy {
    let directory = source.parent().filter(|directory| !directory.as_os_str().is_empty());
    OpenPolicy::allow_below(vec![directory.unwrap_or(Path::new(".")).to_owned()])
}
