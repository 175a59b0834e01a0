//! What is done with a machine whose guest is off: media out, the template's commands, a snapshot, an export.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::sync::Mutex;

use super::ask;
use super::call::{Call, words};
use super::facts::Facts;
use super::give_back;
use super::holdings::Holdings;
use super::note;
use super::problem::{Failure, Problem};
use super::program::shown;
use super::settings::FORWARDING;
use super::spec::{Export, Notes, TakeSnapshot, VirtualBoxSpec};
use super::storage;
use crate::error::MachineError;
use crate::ledger::{Resource, ResourceLedger};
use crate::spec::{MachineSpec, Origin};

/// What is left to do, in order: a call that is done is not done again.
pub(super) struct Retirement {
    puts_media_back: bool,
    /// Of a machine of others that somebody else gets to see, our settings go before.
    puts_settings_back: bool,
    efi: bool,
    /// It goes to where VirtualBox keeps its user's machines.
    moves: bool,
    nvram: Option<PathBuf>,
    notes: Option<Notes>,
    calls: Mutex<Vec<Call>>,
    snapshot: Mutex<Option<TakeSnapshot>>,
    export: Mutex<Option<Export>>,
    /// What the machine was like when others than VirtualBox began to read its disks.
    noted: Mutex<Option<Facts>>,
}

impl Retirement {
    /// The retirement of the machine `uuid`. `forwarded`: it has our forwarding, and somebody else gets to see the machine.
    pub(super) fn of(spec: &MachineSpec, part: &VirtualBoxSpec, uuid: &str, forwarded: bool) -> Self {
        let mut calls = Vec::new();
        // One that was there before gets back what was in its drives.
        if part.after.remove_media && spec.origin == Origin::New {
            if spec.floppy.is_some() {
                calls.push(storage::remove_floppy(uuid));
            }
            calls.extend(storage::remove_discs(&part.drives, uuid));
        }
        calls.extend(part.after.commands.iter().cloned());
        let is_theirs = matches!(spec.origin, Origin::Existing { .. }) && !part.in_default_folder;
        let goes_on = part.in_default_folder || part.hardware.is_none() || part.after.export.is_some();
        if goes_on && forwarded && !is_theirs {
            calls.push(words(&format!("modifyvm {uuid} --natpf1 delete {FORWARDING}")));
        }
        if goes_on && part.serial {
            calls.push(words(&format!("modifyvm {uuid} --uart1 off")));
        }
        Self {
            puts_media_back: part.after.remove_media && spec.origin != Origin::New,
            puts_settings_back: is_theirs,
            efi: part.hardware.as_ref().is_some_and(|hardware| hardware.efi),
            moves: part.in_default_folder && matches!(spec.origin, Origin::Import { .. }),
            nvram: part.after.nvram.clone(),
            notes: part.after.notes.clone(),
            calls: Mutex::new(calls),
            snapshot: Mutex::new(part.after.snapshot.clone()),
            export: Mutex::new(part.after.export.clone()),
            noted: Mutex::new(None),
        }
    }

    pub(super) async fn run(
        &self,
        holdings: &Holdings,
        uuid: &str,
        ledger: &Arc<dyn ResourceLedger>,
    ) -> Result<(), MachineError> {
        if self.puts_media_back {
            holdings.put_media_back(uuid).await.map_err(Failure::of_machine)?;
        }
        if self.puts_settings_back {
            holdings.put_settings_back(uuid).await.map_err(Failure::of_machine)?;
        }
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
        if let Some(place) = &self.nvram {
            copy_nvram(holdings, uuid, self.efi, place).await?;
        }
        let mut snapshot = self.snapshot.lock().await;
        if let Some(wanted) = &*snapshot {
            take_snapshot(holdings, uuid, wanted).await?;
        }
        *snapshot = None;
        if self.moves {
            holdings.move_home(uuid).await?;
        }
        let mut export = self.export.lock().await;
        // After all that changes the machine, or the places of its disks.
        let noted = match &self.notes {
            Some(notes) => note::note(holdings, uuid, notes).await?,
            None => None,
        };
        if let Some(wanted) = export.as_ref().filter(|_| noted.is_none()) {
            run_export(holdings, uuid, wanted, ledger).await?;
        }
        *export = None;
        *self.noted.lock().await = noted;
        Ok(())
    }

    /// Sees that the machine is as it was when it was noted: off, and not run since.
    pub(super) async fn holds(&self, holdings: &Holdings, uuid: &str) -> Result<(), MachineError> {
        let noted = self.noted.lock().await;
        let Some(noted) = &*noted else { return Ok(()) };
        let now = give_back::look(&holdings.program, uuid).await.map_err(Failure::of_machine)?.unwrap_or_default();
        if (now.state(), now.changed_at()) == (noted.state(), noted.changed_at()) {
            return Ok(());
        }
        Err(MachineError::Refused {
            command: format!("reading the disks of the machine {uuid}"),
            message: format!(
                "somebody has started it or changed it meanwhile (its state is {}): build again, and leave it off until then",
                now.get("VMState").unwrap_or("unknown")
            ),
        })
    }
}

/// What VirtualBox's versions call the file in which the firmware keeps what it keeps between starts.
const NVRAM_FACTS: [&str; 2] = ["NvramFile", "BIOS NVRAM File"];

/// A machine that was never started has none; of one with UEFI that runs nowhere else it must not be lost.
async fn copy_nvram(holdings: &Holdings, uuid: &str, efi: bool, place: &Path) -> Result<(), MachineError> {
    let facts = give_back::look(&holdings.program, uuid).await.map_err(Failure::of_machine)?.unwrap_or_default();
    let Some(file) = NVRAM_FACTS.into_iter().find_map(|name| facts.get(name)).map(PathBuf::from) else {
        let is_uefi = efi || facts.get("firmware").is_some_and(|firmware| firmware.starts_with("EFI"));
        if is_uefi && holdings.was_told_to_run() {
            let command = shown(&["showvminfo", uuid, "--machinereadable"]);
            let problem = format!("it does not tell where the UEFI's settings are ({})", NVRAM_FACTS.join(" or "));
            return Err(MachineError::Unexpected { command, problem });
        }
        return Ok(());
    };
    match tokio::fs::copy(&file, place).await {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(MachineError::Refused {
            command: format!("copying {} to {}", file.display(), place.display()),
            message: error.to_string(),
        }),
        _ => Ok(()),
    }
}

/// Takes a snapshot. With `replace`, one of that name goes that was taken right where the machine stands: others are their owner's.
async fn take_snapshot(holdings: &Holdings, uuid: &str, wanted: &TakeSnapshot) -> Result<(), MachineError> {
    let program = &holdings.program;
    let mut stood_there = false;
    if wanted.replace {
        let before = ask::snapshots(&holdings.program, uuid).await.map_err(Failure::of_machine)?;
        let old = before.current().map_or_else(Vec::new, |parent| before.children(parent, &wanted.name));
        for old in old {
            stood_there |= holdings.stood_on().as_ref() == Some(&old.uuid);
            program.run_long(&["snapshot", uuid, "delete", &old.uuid]).await.map_err(Failure::of_machine)?;
        }
    }
    program.run_long(&["snapshot", uuid, "take", &wanted.name]).await.map_err(Failure::of_machine)?;
    if stood_there
        && let Some(new) = ask::snapshots(&holdings.program, uuid).await.map_err(Failure::of_machine)?.current
    {
        holdings.stands_on_instead(new).map_err(|error| MachineError::Refused {
            command: format!("noting the new snapshot of the machine {uuid}"),
            message: error.to_string(),
        })?;
    }
    Ok(())
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
