//! The disks that a machine has before the template's own entries are put over its file: these must not put others in their place, for
//! then the guest would write to a stranger's disk, and what is exported would not be what was built.

use kiln_disk_formats::package::vmx::Vmx;

use super::draft::VmxProblem;

/// Disks and their places.
#[derive(Debug)]
pub(super) struct OwnDisks(Vec<(String, String)>);

impl OwnDisks {
    /// The disks of `vmx`.
    pub(super) fn of(vmx: &Vmx) -> Result<Self, VmxProblem> {
        Ok(Self(vmx.disks()?.into_iter().map(|(place, file)| (place, file.to_owned())).collect()))
    }

    /// Looks whether `vmx` still has them where they were; one of which `may_go` is true may have been taken out.
    pub(super) fn check(&self, vmx: &Vmx, may_go: impl Fn(&str) -> bool) -> Result<(), VmxProblem> {
        let now = vmx.disks()?;
        for (place, file) in &self.0 {
            let found = now.iter().find(|(other, _)| other == place).map(|(_, file)| *file);
            if found != Some(file) && !(found.is_none() && may_go(file)) {
                let instead = found.map(str::to_owned);
                return Err(VmxProblem::Replaced { place: place.clone(), file: file.clone(), instead });
            }
        }
        Ok(())
    }

    /// Looks whether `vmx` has others beside them.
    pub(super) fn check_no_others(&self, vmx: &Vmx) -> Result<(), VmxProblem> {
        let mut now = vmx.disks()?.into_iter();
        match now.find(|(place, _)| !self.0.iter().any(|(own, _)| own == place)) {
            Some((place, file)) => Err(VmxProblem::Added { place, file: file.to_owned() }),
            None => Ok(()),
        }
    }
}
