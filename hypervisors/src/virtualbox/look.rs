//! What can be told of a machine that cannot come to anything, before anything is made.

use super::ask;
use super::display;
use super::explain;
use super::facts::{Facts, Snapshot, Snapshots};
use super::known::Known;
use super::networks;
use super::problem::Problem;
use super::program::VBoxManage;
use super::registered::Registered;
use super::spec::{TakeSnapshot, VirtualBoxSpec};
use crate::error::StartError;
use crate::spec::{MachineSpec, Origin};

/// Asks VirtualBox for everything that the machine's names have to fit: before hours are spent on what the machine is made of.
pub(super) async fn first(
    spec: &MachineSpec,
    part: &VirtualBoxSpec,
    program: &VBoxManage,
    known: &Known,
) -> Result<(), StartError> {
    let Origin::Existing { machine, snapshot } = &spec.origin else {
        names(spec, &ask::machines(program).await?)?;
        display::refuse_unserved(part.remote_display.as_ref(), program).await?;
        networks::refuse_unknown(&part.commands, program).await?;
        return if spec.origin == Origin::New { os_type(part, program).await } else { Ok(()) };
    };
    let (uuid, facts) = theirs(spec, machine, program).await?;
    known.keep_machine(machine, &uuid);
    display::refuse_unserved(part.remote_display.as_ref(), program).await?;
    networks::refuse_unknown(&part.commands, program).await?;
    let snapshots = Snapshots::of(&facts);
    let from = match snapshot {
        None => None,
        Some(name) => Some(only(&snapshots, name, "attach_snapshot")?),
    };
    part.after.snapshot.as_ref().map_or(Ok(()), |target| check_target(&snapshots, from, target))
}

/// The machine of others to work on: its UUID, and what it is like. One call, where VirtualBox finds it by what the template calls it.
async fn theirs(spec: &MachineSpec, machine: &str, program: &VBoxManage) -> Result<(String, Facts), StartError> {
    // A name that looks like an option would be one.
    if !machine.starts_with('-') {
        match ask::facts(program, machine).await {
            Ok(facts) => match facts.get("UUID") {
                Some(uuid) if uuid == machine || facts.get("name") == Some(machine) => {
                    return Ok((uuid.to_owned(), facts));
                }
                _ => {}
            },
            Err(failure) if failure.is(Problem::NoMachine) => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    let registered = ask::machines(program).await?;
    names(spec, &registered)?;
    let uuid = find(machine, &registered).map_or(machine, |found| &found.uuid);
    Ok((uuid.to_owned(), ask::facts(program, uuid).await?))
}

/// The machine of this name or UUID.
pub(super) fn find<'r>(machine: &str, registered: &'r [Registered]) -> Option<&'r Registered> {
    registered.iter().find(|one| one.uuid == machine || one.name == machine)
}

/// The system of the guest, where the list of those that there are can be had.
async fn os_type(part: &VirtualBoxSpec, program: &VBoxManage) -> Result<(), StartError> {
    let Some(hardware) = &part.hardware else { return Ok(()) };
    let wanted = hardware.os_type.as_str();
    let there = explain::systems(&program.run(&["list", "ostypes"]).await?);
    let is_it = |name: &String| name.eq_ignore_ascii_case(wanted);
    if wanted.is_empty() || there.is_empty() || there.iter().any(|(id, words)| is_it(id) || is_it(words)) {
        return Ok(());
    }
    let ids: Vec<&str> = there.iter().map(|(id, _)| id.as_str()).collect();
    let problem = format!("there is no guest system called {wanted}; there are: {}", ids.join(", "));
    refused("VBoxManage list ostypes", problem, Problem::OsType)
}

/// The machine's own name, and that of the one it is made of.
pub(super) fn names(spec: &MachineSpec, known: &[Registered]) -> Result<(), StartError> {
    let names = || {
        let names: Vec<&str> = known.iter().map(|machine| machine.name.as_str()).collect();
        if names.is_empty() { "none is registered".to_owned() } else { format!("registered are: {}", names.join(", ")) }
    };
    let has = |name: &str| known.iter().any(|machine| machine.name == name || machine.uuid == name);
    match &spec.origin {
        Origin::Existing { machine, .. } | Origin::Clone { machine, .. } if !has(machine) => {
            let problem = format!("there is no machine called {machine}; {}", names());
            refused("VBoxManage list vms", problem, Problem::NoMachine)
        }
        Origin::Existing { .. } => Ok(()),
        _ if has(&spec.name) => {
            let problem = format!("a machine called {} is there already; {}", spec.name, names());
            refused("VBoxManage list vms", problem, Problem::InUse)
        }
        _ => Ok(()),
    }
}

/// The package to import.
pub(super) fn package(spec: &MachineSpec) -> Result<(), StartError> {
    if let Origin::Import { package } = &spec.origin {
        std::fs::metadata(package).map_err(|source| StartError::Prepare { path: package.clone(), source })?;
    }
    Ok(())
}

fn refused(command: &str, problem: String, kind: Problem) -> Result<(), StartError> {
    Err(StartError::Refused { command: command.to_owned(), problem, hint: kind.hint().map(ToOwned::to_owned) })
}

/// The one snapshot called `name`.
pub(super) fn only<'s>(snapshots: &'s Snapshots, name: &str, option: &str) -> Result<&'s Snapshot, StartError> {
    let found = snapshots.named(name);
    let problem = match found[..] {
        [one] => return Ok(one),
        [] => format!("the machine has no snapshot called {name}; {}", snapshots.listed()),
        _ => format!("the machine has {} snapshots called {name}", found.len()),
    };
    Err(StartError::Refused {
        command: option.to_owned(),
        problem,
        hint: Some("name one of the machine's snapshots; where two have one name, by its UUID".to_owned()),
    })
}

/// Refuses a target that is there already right on the snapshot that the build starts from, unless it may be replaced; of that name elsewhere
/// in the tree, only the one that the template names to start from.
pub(super) fn check_target(
    snapshots: &Snapshots,
    from: Option<&Snapshot>,
    target: &TakeSnapshot,
) -> Result<(), StartError> {
    let refused = |problem: String, hint: &str| {
        let command = "target_snapshot".to_owned();
        Err(StartError::Refused { command, problem, hint: Some(hint.to_owned()) })
    };
    if let Some(from) = from.filter(|from| from.name == target.name || from.uuid == target.name) {
        let problem = format!("it is the snapshot {} from which the build starts", from.name);
        return refused(problem, "set target_snapshot to another name");
    }
    let there = from.or_else(|| snapshots.current()).map(|parent| (parent, snapshots.children(parent, &target.name)));
    match there {
        Some((parent, children)) if !children.is_empty() && !target.replace => {
            let problem = format!(
                "the machine has a snapshot called {} already, on {}; {}",
                target.name,
                parent.name,
                snapshots.listed()
            );
            refused(problem, "set target_snapshot to another name, or force_delete_snapshot = true")
        }
        _ => Ok(()),
    }
}
