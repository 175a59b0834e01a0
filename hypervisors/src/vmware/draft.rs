//! A VMX file in the making: settings put into it one by one, with what was refused of them.

use std::collections::BTreeMap;
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
    /// An entry of the template's puts another disk, or nothing, in the place of one that the machine has.
    #[error(
        "{place} holds the machine's own disk {file}, in whose place there would be {}",
        .instead.as_deref().unwrap_or("none")
    )]
    Replaced {
        /// As `scsi0:0`.
        place: String,
        /// The disk's file.
        file: String,
        /// The other disk's.
        instead: Option<String>,
    },
    /// An entry of the template's adds a disk to a machine that is done.
    #[error("{place} would hold the disk {file}, which the machine did not have while it ran")]
    Added {
        /// As `scsi0:0`.
        place: String,
        /// The disk's file.
        file: String,
    },
    /// Entries of the template's put a disk of the machine's in two places.
    #[error("the machine's own disk {file} would be in two places, {} and {}", .places[0], .places[1])]
    Twice {
        /// The disk's file.
        file: String,
        /// As `scsi0:0`.
        places: [String; 2],
    },
    /// Entries of the template's move a disk to a bus that the machine does not have.
    #[error("the machine's own disk {file} would be at {place}, but {controller}.present is not TRUE")]
    NoController {
        /// As `sata0:0`.
        place: String,
        /// The disk's file.
        file: String,
        /// As `sata0`.
        controller: String,
    },
    /// A path that cannot be written into it.
    #[error("{} is not UTF-8, which a VMX file needs", .0.display())]
    NotText(PathBuf),
}

impl VmxProblem {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Self::File(error) => error.hint(),
            Self::Full(_) => Some("use another disk_adapter_type or cdrom_adapter_type, or fewer disks"),
            Self::Replaced { .. } => Some(
                "leave the entry out; disk_additional_size makes further disks, and other places take disks that are there",
            ),
            Self::Added { .. } => Some("put the entry into vmx_data, or make the disk with disk_additional_size"),
            Self::Twice { .. } => Some("set present to FALSE where it was"),
            Self::NoController { .. } => Some("set present of the controller to TRUE, too"),
            Self::NotText(_) => None,
        }
    }
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

    /// Puts `entries` over what is there.
    pub(super) fn put_over(&mut self, entries: &BTreeMap<String, String>) {
        for (key, value) in entries {
            self.set(key, value);
        }
    }

    /// The file, or the first setting that no VMX file can hold.
    pub(super) fn finish(self) -> Result<Vmx, VmxProblem> {
        match self.refused {
            Some(error) => Err(error.into()),
            None => Ok(self.vmx),
        }
    }
}
