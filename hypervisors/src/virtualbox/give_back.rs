//! Gives machines back: off, out of the registry, and away with the files that VirtualBox made for them. Nothing else is touched.

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::time::Instant;

use super::facts::{self, Facts, State};
use super::identity::Identity;
use super::problem::{Failure, Problem};
use super::program::VBoxManage;
use super::settings::FORWARDING;
use super::vm_process::VmProcess;
use crate::error::MachineError;
use crate::machine::GivenBack;

/// How long a machine may take to be off after it was switched off.
pub(super) const OFF_LIMIT: Duration = Duration::from_secs(60);

/// First and longest pause between two looks at a machine's state: there is no call that waits for it.
const LOOK_INTERVAL: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(1));

/// Gives back the machine that the ledger names.
pub(super) async fn give_back(program: &VBoxManage, identity: &Identity) -> Result<GivenBack, MachineError> {
    let outcome = match identity {
        Identity::Made(uuid) => remove(program, uuid).await,
        Identity::Importing(settings) => remove_import(program, settings).await,
        Identity::Borrowed { uuid, snapshot } => hand_back(program, uuid, snapshot.as_deref()).await,
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
    if let Some(process) = VmProcess::find(uuid) {
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

/// Removes an import of ours, when it came so far that it is registered: by its settings file, for its name may be another's, too.
async fn remove_import(program: &VBoxManage, settings: &Path) -> Result<GivenBack, Failure> {
    match find_by_settings(program, settings).await? {
        Some(uuid) => remove(program, &uuid).await,
        None => Ok(GivenBack::WasGone),
    }
}

/// The machine whose settings are in `settings`.
pub(super) async fn find_by_settings(program: &VBoxManage, settings: &Path) -> Result<Option<String>, Failure> {
    let name = settings.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let machines = facts::machines(&program.run(&["list", "vms"]).await?);
    for machine in machines.into_iter().filter(|machine| machine.name == name) {
        let facts = look(program, &machine.uuid).await?;
        if facts.and_then(|facts| facts.settings_file()).as_deref() == Some(settings) {
            return Ok(Some(machine.uuid));
        }
    }
    Ok(None)
}

/// Leaves a machine of others as it was found, as far as that is known.
async fn hand_back(program: &VBoxManage, uuid: &str, snapshot: Option<&str>) -> Result<GivenBack, Failure> {
    let Some(facts) = look(program, uuid).await? else { return Ok(GivenBack::WasGone) };
    if matches!(facts.state(), Some(State::Alive)) {
        switch_off(program, uuid).await?;
    }
    if let Some(snapshot) = snapshot {
        program.run(&["snapshot", uuid, "restore", snapshot]).await?;
    } else if has_forwarding(&facts) {
        program.run(&["modifyvm", uuid, "--natpf1", "delete", FORWARDING]).await?;
    }
    Ok(GivenBack::Removed)
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
