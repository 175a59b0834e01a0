//! A directory in the guest that a provisioner's files go to: made, filled, and removed where that is wanted.

use std::path::Path;

use kiln_communicators::{NoProgress, quote_guest_path};

use super::context::ProvisionContext;
use super::guest_command;
use crate::error::StepError;

/// What to do about a directory that cannot be made or removed.
const HINT: &str =
    "the guest's user must be allowed to: name a directory of that user's, or see that sudo needs no password";

/// How the guest's shell makes directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GuestSystem {
    Unix,
    Windows,
}

impl GuestSystem {
    /// What `guest_os_type` says.
    pub(super) fn named(name: &str) -> Self {
        if name == "windows" { Self::Windows } else { Self::Unix }
    }
}

/// A directory of the guest.
pub(super) struct Staging<'a> {
    pub(super) context: &'a ProvisionContext,
    pub(super) directory: String,
    pub(super) system: GuestSystem,
    /// Made and removed by root, for everybody to write.
    pub(super) sudo: bool,
}

impl Staging<'_> {
    /// A path in it.
    pub(super) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.directory)
    }

    /// Makes the directory itself.
    pub(super) async fn make(&self) -> Result<(), StepError> {
        self.make_directory(&self.directory).await
    }

    /// Makes a directory, and those above it.
    pub(super) async fn make_directory(&self, path: &str) -> Result<(), StepError> {
        let quoted = quote_guest_path(path);
        let command = match (self.system, self.sudo) {
            (GuestSystem::Windows, _) => format!(
                "powershell.exe -Command \"New-Item -ItemType directory -Force -ErrorAction SilentlyContinue -Path {quoted}\""
            ),
            (GuestSystem::Unix, true) => format!("sudo mkdir -p {quoted} && sudo chmod 0777 {quoted}"),
            (GuestSystem::Unix, false) => format!("mkdir -p {quoted}"),
        };
        guest_command::must(self.context, &command, &format!("make the directory {path}"), HINT).await
    }

    /// Uploads a file; returns its path in the guest.
    pub(super) async fn upload(&self, source: &str, name: &str) -> Result<String, StepError> {
        let path = self.path(name);
        self.context.communicator.upload_file(Path::new(source), &path, None, &NoProgress).await?;
        Ok(path)
    }

    /// Uploads a text as a file; returns its path in the guest.
    pub(super) async fn write(&self, text: &str, name: &str) -> Result<String, StepError> {
        let path = self.path(name);
        self.context.communicator.upload_bytes(text.as_bytes(), &path, 0o644).await?;
        Ok(path)
    }

    /// Uploads what is in a directory; returns the path of its copy in the guest.
    pub(super) async fn upload_directory(&self, source: &str, name: &str) -> Result<String, StepError> {
        let path = self.path(name);
        self.make_directory(&path).await?;
        let contents = format!("{}/", source.trim_end_matches('/'));
        self.context.communicator.upload_directory(Path::new(&contents), &path, &NoProgress).await?;
        Ok(path)
    }

    /// Removes the directory with all that is in it.
    pub(super) async fn remove(&self) -> Result<(), StepError> {
        let quoted = quote_guest_path(&self.directory);
        let command = match (self.system, self.sudo) {
            (GuestSystem::Windows, _) => format!("powershell.exe -Command \"rm {quoted} -recurse -force\""),
            (GuestSystem::Unix, true) => format!("sudo rm -rf {quoted}"),
            (GuestSystem::Unix, false) => format!("rm -rf {quoted}"),
        };
        guest_command::must(self.context, &command, &format!("remove the directory {}", self.directory), HINT).await
    }
}

/// The last part of a path of this machine.
pub(super) fn base_name(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    trimmed.rsplit('/').next().unwrap_or(trimmed)
}
