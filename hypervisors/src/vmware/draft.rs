//! A VMX file in the making: settings put into it one by one, with what was refused of them.

use std::fmt::Display;
use std::path::PathBuf;

use kiln_disk_formats::Error;
use kiln_disk_formats::package::vmx::Vmx;

use super::spec::Bus;

/// Why there is no VMX file of a machine.
#[derive(Debug, thiserror::Error)]
pub enum VmxProblem {
    /// It cannot be read, or has a setting that no VMX file can hold.
    #[error(transparent)]
    File(#[from] Error),
    /// More devices than a bus has places.
    #[error("the machine has no place left on its {0} bus")]
    Full(Bus),
    /// A path that cannot be written into it.
    #[error("{} is not UTF-8, which a VMX file needs", .0.display())]
    NotText(PathBuf),
}

/// A VMX file in the making.
#[derive(Debug)]
pub(super) struct Draft {
    vmx: Vmx,
    refused: Option<Error>,
}

impl Draft {
    pub(super) fn of(vmx: Vmx) -> Self {
        Self { vmx, refused: None }
    }

    pub(super) fn vmx(&self) -> &Vmx {
        &self.vmx
    }

    pub(super) fn set(&mut self, key: impl AsRef<str>, value: impl Display) {
        if let Err(error) = self.vmx.set(key.as_ref(), &value.to_string()) {
            self.refused.get_or_insert(error);
        }
    }

    pub(super) fn truth(&mut self, key: impl AsRef<str>, value: bool) {
        self.set(key, if value { "TRUE" } else { "FALSE" });
    }

    /// Keeps the settings for whose key, in lower case, `keep` is true.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&str) -> bool) {
        self.vmx.retain(|key, _| keep(key));
    }

    /// The file, or the first setting that no VMX file can hold.
    pub(super) fn finish(self) -> Result<Vmx, VmxProblem> {
        match self.refused {
            Some(error) => Err(error.into()),
            None => Ok(self.vmx),
        }
    }
}
