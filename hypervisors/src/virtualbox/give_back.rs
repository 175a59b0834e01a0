//! Gives machines back: off, out of the registry, and away with the files that VirtualBox made for them. Nothing else is touched.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::time::Instant;

use super::ask;
use super::call::Call;
use super::changes::{self, Changes};
use super::claim::{Borrowing, Claim};
use super::facts::{Facts, State};
use super::identity::{Borrowed, Identity};
use super::problem::{Failure, Problem};
use super::program::VBoxManage;
use super::vm_process;
use crate::error::MachineError;
use crate::machine::GivenBack;

/// How long a machine may take to be off after it was switched off.
pub(super) const OFF_LIMIT: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 60 });

/// First and longest pause between two looks at a machine's state: there is no call that waits for it.
const LOOK_INTERVAL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// How a machine is given back.
pub(super) struct Terms<'a> {
    /// What is known of who let it run.
    pub(super) claim: Claim,
    /// This process has put it on another snapshot, and nobody else has worked on it since: that is undone.
    pub(super) restores: bool,
    /// What this process has changed in it.
    pub(super) changes: Option<&'a Changes>,
    /// What it was like when it was seen off, where nothing was called for it since.
    pub(super) seen_off: Option<Facts>,
}

/// A machine that was seen off.
pub(super) struct Ended {
    /// In which way.
    pub(super) state: State,
    /// What it was like; `None`: it is registered no more.
    pub(super) facts: Option<Facts>,
    /// How many calls there were about it up to that look.
    pub(super) calls: usize,
}

/// Gives back the machine that the ledger names.
pub(super) async fn give_back(
    program: &VBoxManage,
    identity: &Identity,
    terms: Terms<'_>,
) -> Result<GivenBack, Failure> {
    match identity {
        Identity::Made(uuid) => remove(program, uuid, terms.seen_off).await,
        Identity::Importing(directory) => remove_import(program, directory).await,
        Identity::Borrowed(borrowed) => hand_back(program, borrowed, terms).await,
    }
}

/// Gives back what a process that is dead held.
pub(super) async fn after_a_dead_process(program: &VBoxManage, identity: &Identity) -> Result<GivenBack, MachineError> {
    let told_to_run = match identity {
        Identity::Borrowed(borrowed) => borrowed.told_to_run.clone(),
        _ => None,
    };
    let terms = Terms { claim: Claim::OfADeadProcess { told_to_run }, restores: false, changes: None, seen_off: None };
    give_back(program, identity, terms).await.map_err(Failure::of_machine)
}

/// What the machine is like; `None`: there is no such machine.
pub(super) async fn look(program: &VBoxManage, uuid: &str) -> Result<Option<Facts>, Failure> {
    match ask::facts(program, uuid).await {
        Ok(facts) => Ok(Some(facts)),
        Err(failure) if failure.is(Problem::NoMachine) => Ok(None),
        Err(failure) => Err(failure),
    }
}

/// Sees that a machine is off, whatever was said of that before.
pub(super) async fn see_that_it_is_off(program: &VBoxManage, uuid: &str) -> Result<(), Failure> {
    match look(program, uuid).await? {
        Some(facts) if matches!(facts.state(), Some(State::Alive) | None) => switch_off(program, uuid).await,
        _ => Ok(()),
    }
}

/// Switches a machine off and waits until it is.
async fn switch_off(program: &VBoxManage, uuid: &str) -> Result<(), Failure> {
    if let Err(failure) = program.run(&["controlvm", uuid, "poweroff"]).await {
        // It may have ended by itself, which is looked at next.
        tracing::debug!(%failure, uuid, "a machine cannot be switched off");
    }
    if wait_until_off(program, uuid, OFF_LIMIT).await?.is_some() {
        return Ok(());
    }
    if let Some(process) = vm_process::find(uuid) {
        process.kill();
    }
    match wait_until_off(program, uuid, OFF_LIMIT).await? {
        Some(_) => Ok(()),
        None => {
            let command = format!("VBoxManage controlvm {uuid} poweroff");
            let words = format!("the machine was still not off after {} s", 2 * OFF_LIMIT.as_secs());
            Err(Failure::new(&command, Problem::NoAnswer, &words))
        }
    }
}

/// Waits until a machine is off, and tells how it was seen then; `None`: it is not.
pub(super) async fn wait_until_off(
    program: &VBoxManage,
    uuid: &str,
    limit: Duration,
) -> Result<Option<Ended>, Failure> {
    let deadline = Instant::now() + limit;
    let mut pause = LOOK_INTERVAL.0;
    loop {
        let calls = program.calls() + 1;
        let facts = look(program, uuid).await?;
        // One that is not there was removed by somebody.
        match facts.as_ref().map_or(Some(State::Off), Facts::state) {
            Some(State::Alive) | None if Instant::now() >= deadline => return Ok(None),
            Some(State::Alive) | None => {}
            Some(state) => return Ok(Some(Ended { state, facts, calls })),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_INTERVAL.1);
    }
}

/// Removes a machine of ours. One that was seen off is not looked at again, unless VirtualBox says no: somebody may have started it.
async fn remove(program: &VBoxManage, uuid: &str, seen_off: Option<Facts>) -> Result<GivenBack, Failure> {
    let unregister = ["unregistervm".to_owned(), uuid.to_owned()];
    if let Some(facts) = seen_off
        && program.run_once(&unregister).await.is_ok()
    {
        remove_its_files(&facts);
        return Ok(GivenBack::Removed);
    }
    let Some(facts) = look(program, uuid).await? else { return Ok(GivenBack::WasGone) };
    if matches!(facts.state(), Some(State::Alive) | None) && facts.get("VMState").is_some() {
        switch_off(program, uuid).await?;
    }
    match program.run(&unregister).await {
        Ok(_) => {}
        Err(failure) if failure.is(Problem::NoMachine) => return Ok(GivenBack::WasGone),
        Err(failure) => return Err(failure),
    }
    remove_its_files(&facts);
    Ok(GivenBack::Removed)
}

/// Removes an import of ours, when it came so far that it is registered: by where its settings are, for its name may be another's, too.
async fn remove_import(program: &VBoxManage, directory: &Path) -> Result<GivenBack, Failure> {
    match find_in(program, directory).await? {
        Some(uuid) => remove(program, &uuid, None).await,
        None => Ok(GivenBack::WasGone),
    }
}

/// The machine whose settings are in `directory`.
pub(super) async fn find_in(program: &VBoxManage, directory: &Path) -> Result<Option<String>, Failure> {
    let machines = ask::machines(program).await?;
    let mut failed = None;
    for machine in machines {
        match look(program, &machine.uuid).await {
            Ok(facts) => {
                // In it, and never the file itself: earlier versions noted a file in the user's folder, which may be the user's own.
                let is_in = |settings: &PathBuf| settings.starts_with(directory) && settings != directory;
                if facts.and_then(|facts| facts.settings_file()).as_ref().is_some_and(is_in) {
                    return Ok(Some(machine.uuid));
                }
            }
            // Of a machine of others that is no reason to give up.
            Err(failure) => failed = Some(failure),
        }
    }
    failed.map_or(Ok(None), Err)
}

/// Leaves a machine of others as it was found, as far as that is known. One that somebody else runs is left alone.
async fn hand_back(program: &VBoxManage, borrowed: &Borrowed, terms: Terms<'_>) -> Result<GivenBack, Failure> {
    let uuid = &borrowed.uuid;
    let left_alone = |why: &str| {
        let words = format!("the machine is not ours and is left as it is: {why}");
        Err(Failure::new(&format!("giving back the machine {uuid}"), Problem::UsedByOthers, &words))
    };
    let _borrowing = match terms.claim {
        Claim::OfADeadProcess { .. } => match Borrowing::take(uuid).await {
            Ok(borrowing) => Some(borrowing),
            Err(error) => return left_alone(&format!("another build works on it ({error})")),
        },
        _ => None,
    };
    let Some(mut facts) = look(program, uuid).await? else { return Ok(GivenBack::WasGone) };
    if matches!(facts.state(), Some(State::Alive)) {
        let runs = vm_process::find(uuid).map(|process| vm_process::what_runs(&process));
        if !terms.claim.covers(runs) {
            let runs = runs.map_or_else(String::new, |runs| format!(" (process {})", runs.pid));
            return left_alone(&format!("somebody else runs it{runs}; when it is off, what is ours in it can go"));
        }
        if runs.is_some() || !matches!(terms.claim, Claim::OfADeadProcess { .. }) {
            switch_off(program, uuid).await?;
        } else if wait_until_off(program, uuid, OFF_LIMIT).await?.is_none() {
            return left_alone("VirtualBox does not say that it is off");
        }
        match look(program, uuid).await? {
            Some(now) => facts = now,
            None => return Ok(GivenBack::WasGone),
        }
    }
    if let (true, Some(snapshot)) = (terms.restores, &borrowed.snapshot) {
        match program.run_long(&["snapshot", uuid, "restore", snapshot]).await {
            Ok(_) => return Ok(GivenBack::HandedBack),
            Err(failure) if failure.is(Problem::NoSnapshot) => {
                tracing::warn!(%failure, "the machine stays as it is: the snapshot on which it stood is gone");
            }
            Err(failure) => return Err(failure),
        }
    }
    for call in undo(borrowed, &terms, &facts) {
        program.run(&call).await?;
    }
    match &borrowed.snapshot {
        None => Ok(GivenBack::HandedBack),
        // Nobody knows what its owner has done with it since.
        Some(snapshot) => Ok(GivenBack::LeftOn { snapshot: snapshot_name(program, uuid, snapshot).await }),
    }
}

/// What takes everything of ours out of a machine of others.
fn undo(borrowed: &Borrowed, terms: &Terms<'_>, now: &Facts) -> Vec<Call> {
    let uuid = &borrowed.uuid;
    if let Some(changes) = terms.changes {
        return [changes.undo_media(uuid, now), changes.undo_settings(uuid, now)].concat();
    }
    let mut calls = borrowed.work.as_ref().map_or_else(Vec::new, |work| changes::take_out(uuid, work, now));
    if !matches!(terms.claim, Claim::OfADeadProcess { .. }) {
        return calls;
    }
    if changes::has_forwarding(now) {
        calls.push(changes::delete_forwarding(uuid));
    }
    calls.extend(borrowed.display.and_then(|port| changes::close_display(uuid, port, now)));
    calls
}

/// A snapshot as people know it.
pub(super) async fn snapshot_name(program: &VBoxManage, uuid: &str, snapshot: &str) -> String {
    let snapshots = ask::snapshots(program, uuid).await.unwrap_or_default();
    snapshots.named(snapshot).first().map_or_else(|| snapshot.to_owned(), |found| found.name.clone())
}

/// Removes what VirtualBox made for a machine: settings, logs, snapshots, and disks that lie beside them. The directory goes when
/// nothing else is in it.
fn remove_its_files(facts: &Facts) {
    let Some(settings) = facts.settings_file() else { return };
    let Some(directory) = settings.parent() else { return };
    let disks = facts.attached().into_iter().map(|attached| attached.path);
    for disk in disks.filter(|path| path.parent() == Some(directory) && path.extension().is_none_or(|end| end != "iso"))
    {
        gone(&disk, std::fs::remove_file(&disk));
    }
    for end in ["vbox", "vbox-prev", "vbox-tmp", "nvram", "tpm"] {
        let file = settings.with_extension(end);
        gone(&file, std::fs::remove_file(&file));
    }
    for name in ["VRDEAutoGeneratedCert.pem", "VRDEAutoGeneratedPrivateKey.pem"] {
        let file = directory.join(name);
        gone(&file, std::fs::remove_file(&file));
    }
    for name in ["Logs", "Snapshots"] {
        let path = directory.join(name);
        gone(&path, std::fs::remove_dir_all(&path));
    }
    if let Err(error) = std::fs::remove_dir(directory)
        && !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty)
    {
        tracing::warn!(%error, path = %directory.display(), "a machine's directory cannot be removed");
    }
}

fn gone(path: &Path, removed: io::Result<()>) {
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, path = %path.display(), "a file of a machine cannot be removed");
    }
}
