//! Gives machines back: off, out of the registry, and away with the files that VirtualBox made for them. Nothing else is touched.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::claim::{Borrowing, Claim};
use super::facts::{self, Facts, Registered, State};
use super::identity::Identity;
use super::problem::{Failure, Problem};
use super::program::VBoxManage;
use super::settings::FORWARDING;
use super::vm_process;
use crate::error::MachineError;
use crate::machine::GivenBack;

/// How long a machine may take to be off after it was switched off.
pub(super) const OFF_LIMIT: Duration = Duration::from_secs(if cfg!(test) { 5 } else { 60 });

/// First and longest pause between two looks at a machine's state: there is no call that waits for it.
const LOOK_INTERVAL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Gives back the machine that the ledger names. `claim`: what is known of who let it run.
pub(super) async fn give_back(
    program: &VBoxManage,
    identity: &Identity,
    claim: Claim,
) -> Result<GivenBack, MachineError> {
    let outcome = match identity {
        Identity::Made(uuid) => remove(program, uuid).await,
        Identity::Importing(settings) => remove_import(program, settings).await,
        Identity::Borrowed { uuid, snapshot } => hand_back(program, uuid, snapshot.as_deref(), claim).await,
    };
    outcome.map_err(Failure::of_machine)
}

/// What the machine is like; `None`: there is no such machine.
pub(super) async fn look(program: &VBoxManage, uuid: &str) -> Result<Option<Facts>, Failure> {
    match program.run(&["showvminfo", uuid, "--machinereadable"]).await {
        Ok(text) => Ok(Some(Facts::read(&text))),
        Err(failure) if failure.is(Problem::NoMachine) => Ok(None),
        Err(failure) => Err(failure),
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

/// Waits until a machine is off, and tells in which way; `None`: it is not.
pub(super) async fn wait_until_off(
    program: &VBoxManage,
    uuid: &str,
    limit: Duration,
) -> Result<Option<State>, Failure> {
    let deadline = Instant::now() + limit;
    let mut pause = LOOK_INTERVAL.0;
    loop {
        let state = match look(program, uuid).await? {
            Some(facts) => facts.state(),
            // Somebody has removed it.
            None => Some(State::Off),
        };
        match state {
            Some(State::Alive) | None if Instant::now() >= deadline => return Ok(None),
            Some(State::Alive) | None => {}
            Some(off) => return Ok(Some(off)),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LOOK_INTERVAL.1);
    }
}

/// Removes a machine of ours.
async fn remove(program: &VBoxManage, uuid: &str) -> Result<GivenBack, Failure> {
    let Some(facts) = look(program, uuid).await? else { return Ok(GivenBack::WasGone) };
    if matches!(facts.state(), Some(State::Alive) | None) && facts.get("VMState").is_some() {
        switch_off(program, uuid).await?;
    }
    match program.run(&["unregistervm", uuid]).await {
        Ok(_) => {}
        Err(failure) if failure.is(Problem::NoMachine) => return Ok(GivenBack::WasGone),
        Err(failure) => return Err(failure),
    }
    if let Some(settings) = facts.settings_file() {
        remove_files(&settings, &facts);
    }
    Ok(GivenBack::Removed)
}

/// Removes an import of ours, when it came so far that it is registered: by where its settings are, for its name may be another's, too.
async fn remove_import(program: &VBoxManage, place: &Path) -> Result<GivenBack, Failure> {
    match find_in(program, place, &[]).await? {
        Some(uuid) => remove(program, &uuid).await,
        None => Ok(GivenBack::WasGone),
    }
}

/// The machine whose settings are `place`, or in that directory; it is none of those that are `known`.
pub(super) async fn find_in(
    program: &VBoxManage,
    place: &Path,
    known: &[Registered],
) -> Result<Option<String>, Failure> {
    let machines = facts::machines(&program.run(&["list", "vms"]).await?);
    let mut failed = None;
    for machine in machines.into_iter().filter(|machine| !known.contains(machine)) {
        match look(program, &machine.uuid).await {
            Ok(facts) => {
                if facts.and_then(|facts| facts.settings_file()).is_some_and(|settings| settings.starts_with(place)) {
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
async fn hand_back(
    program: &VBoxManage,
    uuid: &str,
    snapshot: Option<&str>,
    claim: Claim,
) -> Result<GivenBack, Failure> {
    let left_alone = |why: &str| {
        let words = format!("the machine is not ours and is left as it is: {why}");
        Err(Failure::new(&format!("giving back the machine {uuid}"), Problem::Other, &words))
    };
    let _borrowing = match claim {
        Claim::OfADeadProcess => match Borrowing::take(uuid) {
            Ok(borrowing) => Some(borrowing),
            Err(error) => return left_alone(&format!("another build works on it ({error})")),
        },
        _ => None,
    };
    let Some(facts) = look(program, uuid).await? else { return Ok(GivenBack::WasGone) };
    if matches!(facts.state(), Some(State::Alive)) {
        let runs = vm_process::find(uuid).map(|process| process.pid());
        if !claim.covers(runs) {
            let runs = runs.map_or_else(String::new, |pid| format!(" (process {pid})"));
            return left_alone(&format!("somebody else runs it{runs}; when it is off, what is ours in it can go"));
        }
        if claim != Claim::OfADeadProcess {
            switch_off(program, uuid).await?;
        } else if wait_until_off(program, uuid, OFF_LIMIT).await?.is_none() {
            return left_alone("VirtualBox does not say that it is off");
        }
    }
    if let Some(snapshot) = snapshot
        && claim != Claim::OfADeadProcess
    {
        program.run_long(&["snapshot", uuid, "restore", snapshot]).await?;
        return Ok(GivenBack::Removed);
    }
    if has_forwarding(&facts) {
        program.run(&["modifyvm", uuid, "--natpf1", "delete", FORWARDING]).await?;
    }
    let Some(snapshot) = snapshot else { return Ok(GivenBack::Removed) };
    // Nobody knows what its owner has done with it since.
    Ok(GivenBack::LeftOn { snapshot: snapshot_name(program, uuid, snapshot).await })
}

/// A snapshot as people know it.
async fn snapshot_name(program: &VBoxManage, uuid: &str, snapshot: &str) -> String {
    let listed = program.run(&["snapshot", uuid, "list", "--machinereadable"]).await.unwrap_or_default();
    let snapshots = facts::Snapshots::read(&listed);
    snapshots.named(snapshot).first().map_or_else(|| snapshot.to_owned(), |found| found.name.clone())
}

/// Whether the machine has our forwarding.
pub(super) fn has_forwarding(facts: &Facts) -> bool {
    let start = format!("{FORWARDING},");
    facts.all().any(|(name, value)| name.starts_with("Forwarding(") && value.starts_with(&start))
}

/// Removes what VirtualBox made for a machine: settings, logs, snapshots, and disks that lie beside them. The directory goes when
/// nothing else is in it.
fn remove_files(settings: &Path, facts: &Facts) {
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
