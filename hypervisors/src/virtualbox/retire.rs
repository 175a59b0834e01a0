//! What is done with a machine whose guest is off: media out, the template's commands, a snapshot, an export.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::call::{Call, words};
use super::facts::Snapshots;
use super::give_back;
use super::holdings::Holdings;
use super::problem::{Failure, Problem};
use super::program::shown;
use super::settings::FORWARDING;
use super::spec::{Export, TakeSnapshot, VirtualBoxSpec};
use super::storage;
use crate::error::MachineError;
use crate::ledger::{Resource, ResourceLedger};

/// What is left to do, in order: a call that is done is not done again.
pub(super) struct Retirement {
    removes_media: bool,
    nvram: Option<PathBuf>,
    calls: Mutex<Vec<Call>>,
    snapshot: Mutex<Option<TakeSnapshot>>,
    export: Mutex<Option<Export>>,
}

impl Retirement {
    /// The retirement of the machine `uuid`. `forwarded`: it has our forwarding, and somebody else gets to see the machine.
    pub(super) fn of(part: &VirtualBoxSpec, uuid: &str, floppy: bool, forwarded: bool) -> Self {
        let mut calls = Vec::new();
        if part.after.remove_media {
            if floppy {
                calls.push(storage::remove_floppy(uuid));
            }
            calls.extend(storage::remove_discs(&part.drives, uuid));
        }
        calls.extend(part.after.commands.iter().cloned());
        let goes_on = part.in_default_folder || part.hardware.is_none() || part.after.export.is_some();
        if goes_on && forwarded {
            calls.push(words(&format!("modifyvm {uuid} --natpf1 delete {FORWARDING}")));
        }
        if goes_on && part.serial {
            calls.push(words(&format!("modifyvm {uuid} --uart1 off")));
        }
        Self {
            removes_media: part.after.remove_media,
            nvram: part.after.nvram.clone(),
            calls: Mutex::new(calls),
            snapshot: Mutex::new(part.after.snapshot.clone()),
            export: Mutex::new(part.after.export.clone()),
        }
    }

    pub(super) async fn run(
        &self,
        holdings: &Holdings,
        uuid: &str,
        ledger: &Arc<dyn ResourceLedger>,
    ) -> Result<(), MachineError> {
        let mut calls = self.calls.lock().await;
        while let Some(next) = calls.first() {
            // The template's own may move whole disks.
            match holdings.program.run_long(next).await {
                Ok(_) => {}
                // The template's own commands may have removed it.
                Err(failure) if next.iter().any(|word| word == FORWARDING) && !failure.is(Problem::Locked) => {
                    tracing::debug!(%failure, "the forwarding is gone already");
                }
                Err(failure) => return Err(failure.of_machine()),
            }
            calls.remove(0);
        }
        if self.removes_media {
            holdings.undone();
        }
        if let Some(place) = &self.nvram {
            copy_nvram(holdings, uuid, place).await?;
        }
        let mut snapshot = self.snapshot.lock().await;
        if let Some(wanted) = &*snapshot {
            take_snapshot(holdings, uuid, wanted).await.map_err(Failure::of_machine)?;
        }
        *snapshot = None;
        let mut export = self.export.lock().await;
        if let Some(wanted) = &*export {
            run_export(holdings, uuid, wanted, ledger).await?;
        }
        *export = None;
        Ok(())
    }
}

/// A machine that was never started has none.
async fn copy_nvram(holdings: &Holdings, uuid: &str, place: &Path) -> Result<(), MachineError> {
    let facts = give_back::look(&holdings.program, uuid).await.map_err(Failure::of_machine)?;
    let Some(file) = facts.and_then(|facts| facts.get("NvramFile").map(PathBuf::from)) else { return Ok(()) };
    match tokio::fs::copy(&file, place).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(MachineError::Refused {
            command: format!("copying {} to {}", file.display(), place.display()),
            message: error.to_string(),
        }),
        _ => Ok(()),
    }
}

async fn take_snapshot(holdings: &Holdings, uuid: &str, wanted: &TakeSnapshot) -> Result<(), Failure> {
    let program = &holdings.program;
    if wanted.replace {
        let before = snapshots(holdings, uuid).await?;
        for old in before.named(&wanted.name) {
            program.run_long(&["snapshot", uuid, "delete", &old.uuid]).await?;
        }
    }
    program.run_long(&["snapshot", uuid, "take", &wanted.name]).await.map(drop)
}

/// The snapshots of a machine; one without any has an empty list.
pub(super) async fn snapshots(holdings: &Holdings, uuid: &str) -> Result<Snapshots, Failure> {
    match holdings.program.run(&["snapshot", uuid, "list", "--machinereadable"]).await {
        Ok(text) => Ok(Snapshots::read(&text)),
        Err(failure) if failure.is(Problem::NoSnapshot) => Ok(Snapshots::default()),
        Err(failure) => Err(failure),
    }
}

/// Exports into a directory of its own, which goes with everything in it when that fails.
async fn run_export(
    holdings: &Holdings,
    uuid: &str,
    wanted: &Export,
    ledger: &Arc<dyn ResourceLedger>,
) -> Result<(), MachineError> {
    let directory = OwnDirectory::make(&wanted.directory, ledger.clone())?;
    let file = wanted.directory.join(&wanted.file_name).display().to_string();
    let mut call = vec!["export".to_owned(), uuid.to_owned(), "--output".to_owned(), file];
    call.extend(wanted.options.iter().cloned());
    holdings.program.run_long_into(&wanted.directory, &call).await.map_err(Failure::of_machine)?;
    if !wanted.directory.join(&wanted.file_name).exists() {
        let problem = format!("it made no {}", wanted.file_name);
        return Err(MachineError::Unexpected { command: shown(&call), problem });
    }
    directory.hand_over();
    Ok(())
}

/// A directory that is removed unless somebody else takes it.
struct OwnDirectory<'a> {
    path: &'a Path,
    ledger: Arc<dyn ResourceLedger>,
    handed_over: bool,
}

impl<'a> OwnDirectory<'a> {
    fn make(path: &'a Path, ledger: Arc<dyn ResourceLedger>) -> Result<Self, MachineError> {
        let failed = |error: std::io::Error| MachineError::Refused {
            command: format!("making the directory {}", path.display()),
            message: error.to_string(),
        };
        ledger.acquired(&Resource::Directory { path: path.to_owned() }).map_err(failed)?;
        let directory = Self { path, ledger, handed_over: false };
        std::fs::create_dir(path).map_err(failed)?;
        Ok(directory)
    }

    /// It stays in the ledger: whoever takes the files out of it releases it.
    fn hand_over(mut self) {
        self.handed_over = true;
    }
}

impl Drop for OwnDirectory<'_> {
    fn drop(&mut self) {
        if self.handed_over {
            return;
        }
        match std::fs::remove_dir_all(self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(%error, path = %self.path.display(), "an unfinished export cannot be removed");
            }
            _ => self.ledger.released(&Resource::Directory { path: self.path.to_owned() }),
        }
    }
}
